"""What the plans hoped for, against what studies measured; the only place where these numbers stand."""

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

    score: `psnr` or `psnr30` in dB, `ssim`, or TIME of a pass. least, most: how much better, in the score's unit; None
    where the plan is not known to state a number. source: where it is stated.
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

# The rows that are a version, by the names they have in studies and comparisons; names of one place belong together.
ROWS: Mapping[str, tuple[str, ...]] = {
    "v0": ("glf-cr-v0", "v0", "glf-cr-compact-v0"),
    "v1": ("glf-cr-v1", "grid-v1", "glf-cr-compact-v1"),
    "v2": ("glf-cr-v2", "grid-v1+v2", "glf-cr-compact-v2"),
    "v3": ("glf-cr-v3", "grid-v1+v2+v3", "glf-cr-compact-v3"),
    "v4": ("glf-cr-v4", "grid-v1+v2+v3+v4", "glf-cr-compact-v4"),
}
_NOTE = (
    "Differences are paired, positive where the newer version is better, with their 95 % bootstrap interval over "
    "scenes, covers and seeds of clouds. A hope is met where the whole interval lies at or above its least number, not "
    "met where it lies below, and open in between. The hope is about networks of full size on SEN12MS-CR; the studies "
    "measure the same steps at the size, training and data that their records name."
)


@dataclass(frozen=True)
class Plan:
    """The hopes of one plan.

    title: of its table. rows: what a version is called in studies and comparisons, in one order of sizes for all.
    measured: columns of the table: a head, and the end of the score's name; the verdict goes by the first.
    note: what the differences are.
    """

    title: str
    hopes: tuple[Hope, ...]
    rows: Mapping[str, tuple[str, ...]]
    measured: Mapping[str, str]
    note: str

    def is_of(self, studies: Sequence[StudySource]) -> bool:
        """Whether a study has a row that is one of the versions."""
        names = {name for found in self.rows.values() for name in found}
        return any(row["row"] in names for study in studies for row in study.scores["results"])


GLF_CR = Plan(
    "What the plan hoped for", HOPES, ROWS, {"Measured, whole scene": "", "Measured, in cloud": "_cloud"}, _NOTE
)

_LATENTS = (8, 16, 32)
_SAR_SOURCE = "plan of SAR compression: a gain over the step before; at which rate is not said"
SAR_COMPRESSION = Plan(
    "What the plan of SAR compression hoped for",
    tuple(
        Hope(f"{new}-{latent}", f"{old}-{latent}", "psnr30", least, most, _SAR_SOURCE)
        for new, old, least, most in (("B", "A", 2.0, 3.0), ("C", "B", 1.0, 2.0))
        for latent in _LATENTS
    ),
    {name: (name,) for name in (f"{variant}-{latent}" for variant in "ABC" for latent in _LATENTS)},
    {
        "Measured at 0.2 bpp": "_at_0.2",
        "Measured at 0.1 bpp": "_at_0.1",
        "Measured at 0.5 bpp": "_at_0.5",
        "Measured, float32 latents": "",
    },
    "A is plain, B has residual blocks (hoped: +2 to +3 dB), C has CBAM besides (+1 to +2 dB); the number is that of "
    "latent channels. At a rate both rows have equal true bytes: each one's curve over the steps of its quantised "
    "latent is interpolated there, and a rate that a band does not reach is not measured. With float32 latents both "
    "have equal latents, of many more bytes. Differences are paired by band, positive where the newer version is "
    "better, with a 95 % bootstrap interval over bands; bands of one scene are not independent. A hope is met where "
    "the whole interval at 0.2 bpp lies at or above its least number, not met where it lies below, open in between.",
)

_FUSION_SOURCE = "plan of expert fusion: a gain of the phase, which no run of it measured"
EXPERT_FUSION = Plan(
    "What the plan of expert fusion hoped for",
    tuple(
        Hope("all phases", f"without {phase}", "psnr", least, least, _FUSION_SOURCE)
        for phase, least in (
            ("frequency bands", 0.15),
            ("cross-band attention", 0.20),
            ("cross-expert attention", 0.20),
            ("hierarchical fusion", 0.25),
            ("gates", 0.30),
            ("edges", 0.10),
            ("refinement", None),
        )
    ),
    {
        "all phases": ("all",),
        "without frequency bands": ("no-frequency",),
        "without cross-band attention": ("no-cross-band",),
        "without cross-expert attention": ("no-cross-expert",),
        "without hierarchical fusion": ("no-hierarchical",),
        "without gates": ("no-gates",),
        "without edges": ("no-edges",),
        "without refinement": ("no-refine",),
    },
    {"Measured": ""},
    "Each phase is left out of the whole. Differences are paired by picture, positive where the phase helps, with a "
    "95 % bootstrap interval over pictures and seeds. A hope is met where the whole interval lies at or above its "
    "number, not met where it lies below, open in between.",
)

PLANS = (GLF_CR, SAR_COMPRESSION, EXPERT_FUSION)


def verdict(least: float | None, measured: Interval | None) -> str:
    """`met`, `not met`, `open`, `no number hoped for` or `not measured`."""
    if measured is None:
        return NOT_MEASURED
    if least is None:
        return "no number hoped for"
    if measured.low >= least:
        return "met"
    return "not met" if measured.high < least else "open"


def hope_table(studies: Sequence[StudySource], *, plan: Plan = GLF_CR, profiles: Sequence[Profiles] = ()) -> Table:
    """Every hope against what each study measured of it; one line says `not measured` where none did.

    A study with a final split counts by that. profiles: those of every comparison; only models of one comparison,
    which took turns, are set against each other.
    """
    columns = ("Gain", "Hoped for", *plan.measured, "Verdict", "Study", "Source")
    judged = [study.final or study for study in studies]
    return Table(columns, tuple(row for hope in plan.hopes for row in _rows(hope, plan, judged, profiles)))


def _rows(
    hope: Hope, plan: Plan, studies: Sequence[StudySource], profiles: Sequence[Profiles]
) -> Iterable[tuple[str, ...]]:
    gain = f"{hope.version} over {hope.over}: {_unit(hope.score)}"
    silent = [""] * (len(plan.measured) - 1)
    if hope.score == TIME:
        times = [text for found in profiles if (text := _time(hope, plan, found))] or [NOT_MEASURED]
        for text in times:
            word = NOT_MEASURED if text == NOT_MEASURED else "no number hoped for"
            yield gain, _hoped(hope), text, *silent, word, "", hope.source
        return
    found = []
    for study in studies:
        pair = next((names for names in _pairs(hope, plan) if all(study.done(row) for row in names)), None)
        if pair is None:
            continue
        new, old = pair
        gains = [row_difference(study, new, over=old, score=f"{hope.score}{end}") for end in plan.measured.values()]
        cells = [NOT_MEASURED if item is None else difference(vars(item), hope.score) for item in gains]
        found.append((gain, _hoped(hope), *cells, verdict(hope.least, gains[0]), study.name, hope.source))
    nothing = [NOT_MEASURED] * (len(plan.measured) + 1)
    yield from found or [(gain, _hoped(hope), *nothing, "", hope.source)]


def _pairs(hope: Hope, plan: Plan) -> Iterable[tuple[str, str]]:
    """The names of both versions, those of one size together."""
    return zip(plan.rows[hope.version], plan.rows[hope.over], strict=True)


def _hoped(hope: Hope) -> str:
    if hope.least is None:
        return "no number stated"
    return f"+{hope.least:g}" if hope.most is None else f"+{hope.least:g} to +{hope.most:g}"


def _unit(score: str) -> str:
    return f"ms at {SIDE} pixels" if score == TIME else heading(score)


def _time(hope: Hope, plan: Plan, profiles: Profiles) -> str | None:
    """The extra milliseconds of a pass and the ratio, with the size; None where one of the two was not timed.

    By the ratios to the first model, which were taken in turns: the milliseconds of two models were not.
    """
    for names in _pairs(hope, plan):
        profile, other = (cost_of(profiles, row) for row in names)
        new, old = at_size(profile), at_size(other)
        if profile is not None and new is not None and old is not None:
            break
    else:
        return None
    ratio = new["ratio"] / old["ratio"]
    extra = (ratio - 1) * old["milliseconds"]
    return f"{extra:+.1f} ms, {ratio:.2f} times ({profile['parameters'] / 1e6:.2f} M parameters)"
