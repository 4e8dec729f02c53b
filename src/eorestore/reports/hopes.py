"""What the plan of GLF-CR v1-v4 hoped for, against what studies measured; the only place where these numbers stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eorestore.experiments.bootstrap import Interval
from eorestore.reports.costs import NOT_MEASURED, SIDE, at_size, cost_of
from eorestore.reports.pairs import row_difference
from eorestore.reports.score_cells import difference, heading
from eorestore.reports.sources import StudySource
from eorestore.reports.table import Table

Profiles = Sequence[Mapping[str, Any]]  # of one comparison
TIME = "milliseconds"
_PLAN = "plan of v1-v4: a total over GLF-CR, on SEN12MS-CR at full size"
_SILENT = "plan of v1-v4: none for this step"


@dataclass(frozen=True)
class Hope:
    """A gain of one version over another.

    score: `psnr` in dB, `ssim`, or TIME of a pass. least, most: how much better, in the score's unit; None where the
    plan is not known to state a number. source: where it is stated.
    """

    version: str
    over: str
    score: str
    least: float | None = None
    most: float | None = None
    source: str = _SILENT


HOPES: tuple[Hope, ...] = (
    *(
        Hope(version, over, score)
        for version, over in (("v1", "v0"), ("v2", "v1"), ("v3", "v2"), ("v4", "v3"))
        for score in ("psnr", "ssim", TIME)
    ),
    Hope("v4", "v0", "psnr", 5.0, 7.0, _PLAN),
    Hope("v4", "v0", "ssim"),
    Hope("v4", "v0", TIME),
)

# The rows that are a version, by the names they have in the studies.
ROWS: Mapping[str, tuple[str, ...]] = {
    "v0": ("glf-cr-v0", "v0"),
    "v1": ("glf-cr-v1", "grid-v1"),
    "v2": ("glf-cr-v2", "grid-v1+v2"),
    "v3": ("glf-cr-v3", "grid-v1+v2+v3"),
    "v4": ("glf-cr-v4", "grid-v1+v2+v3+v4"),
}
NOTE = (
    "Differences are paired, positive where the newer version is better, with their 95 % bootstrap interval over "
    "scenes, covers and seeds of clouds. A hope is met where the whole interval lies at or above its least number, not "
    "met where it lies below, and open in between. The hope is about networks of full size on SEN12MS-CR; the studies "
    "measure the same steps at the size, training and data that their records name."
)


def verdict(least: float | None, measured: Interval | None) -> str:
    """`met`, `not met`, `open`, `no number hoped for` or `not measured`."""
    if measured is None:
        return NOT_MEASURED
    if least is None:
        return "no number hoped for"
    if measured.low >= least:
        return "met"
    return "not met" if measured.high < least else "open"


def hope_table(studies: Sequence[StudySource], *, profiles: Sequence[Profiles] = ()) -> Table:
    """Every hope against what each study measured of it; one line says `not measured` where none did.

    The verdict goes by whole scenes, which is how the plan counts. profiles: those of every comparison; only models
    of one comparison, which took turns, are set against each other.
    """
    columns = (
        "Gain",
        "Hoped for",
        "Measured, whole scene",
        "Measured, in cloud",
        "Verdict",
        "Study",
        "Source",
    )
    return Table(columns, tuple(row for hope in HOPES for row in _rows(hope, studies, profiles)))


def _rows(hope: Hope, studies: Sequence[StudySource], profiles: Sequence[Profiles]) -> Iterable[tuple[str, ...]]:
    gain = f"{hope.version} over {hope.over}: {_unit(hope.score)}"
    if hope.score == TIME:
        times = [text for found in profiles if (text := _time(hope, found))] or [NOT_MEASURED]
        for text in times:
            word = NOT_MEASURED if text == NOT_MEASURED else "no number hoped for"
            yield gain, _hoped(hope), text, "", word, "", hope.source
        return
    found = []
    for study in studies:
        new, old = (
            next((row for row in ROWS[version] if study.done(row)), None) for version in (hope.version, hope.over)
        )
        if new is None or old is None:
            continue
        whole, cloud = (
            row_difference(study, new, over=old, score=score) for score in (hope.score, f"{hope.score}_cloud")
        )
        cells = [NOT_MEASURED if item is None else difference(vars(item), hope.score) for item in (whole, cloud)]
        found.append((gain, _hoped(hope), *cells, verdict(hope.least, whole), study.name, hope.source))
    yield from found or [(gain, _hoped(hope), NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, "", hope.source)]


def _hoped(hope: Hope) -> str:
    if hope.least is None:
        return "no number stated"
    return f"+{hope.least:g}" if hope.most is None else f"+{hope.least:g} to +{hope.most:g}"


def _unit(score: str) -> str:
    return f"ms at {SIDE} pixels" if score == TIME else heading(score)


def _time(hope: Hope, profiles: Profiles) -> str | None:
    """The extra milliseconds of a pass and the ratio, with the size; None where one of the two was not timed."""
    found = []
    for version in (hope.version, hope.over):
        named = (cost_of(profiles, row) for row in ROWS[version])
        found.append(next((profile for profile in named if at_size(profile) is not None), None))
    new, old = (at_size(profile) for profile in found)
    if found[0] is None or new is None or old is None:
        return None
    extra, ratio = new["milliseconds"] - old["milliseconds"], new["milliseconds"] / old["milliseconds"]
    return f"{extra:+.1f} ms, {ratio:.2f} times ({found[0]['parameters'] / 1e6:.2f} M parameters)"
