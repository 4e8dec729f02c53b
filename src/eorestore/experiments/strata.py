"""Parts of the restored pixels that are judged apart: by cover, thickness, distance, texture, land cover.

Knows cases, no model and no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.experiments.cases import UNKNOWN_CLASS, Case
from eorestore.layers.sobel import inner
from eorestore.metrics.edges import sobel_magnitude

COVER_STEP = 20  # per cent of a scene
THICK = 0.5  # opacity from which a cloud counts as thick
DISTANCES = (0, 8, 32)  # lower bounds in pixels
TEXTURED = 0.2  # share of the scene's pixels with the strongest gradients
LEAST_PIXELS = 50  # a stratum of fewer has no score
TEXTURE_METRICS = ("psnr", "gradient_correlation", "edge_correlation")


@dataclass(frozen=True)
class Stratum:
    """Pixels of one case, all under cloud. kind: name in KINDS. pixels: bool (y, x)."""

    kind: str
    name: str
    pixels: NDArray[np.bool_]


def check_strata(names: Iterable[str], *, simulated: bool) -> tuple[str, ...]:
    """The kinds as a tuple without repetition. Raises UnknownNameError, and UsageError for what a pair cannot give."""
    kinds = tuple(dict.fromkeys(names))
    for name in kinds:
        if name not in KINDS:
            raise UnknownNameError("stratum", name, KINDS)
    if "thickness" in kinds and not simulated:
        raise UsageError(
            "nobody knows how thick real clouds are", fix="leave thickness out, or simulate clouds with --simulate 0.4"
        )
    return kinds


def check_land_cover(kinds: Sequence[str], *, maps: int) -> None:
    """Raise DataError where land cover is asked for and no row of the split has a map."""
    if "landcover" in kinds and maps == 0:
        raise DataError("no scene has a map of land cover", fix="fill the manifest's column landcover")


def metrics_of(kind: str, metrics: Sequence[str]) -> tuple[str, ...]:
    """What a kind of strata is scored by: the metrics asked for, and for texture those of edges."""
    return tuple(dict.fromkeys((*metrics, *TEXTURE_METRICS))) if kind == "texture" else tuple(metrics)


def strata_of(case: Case, kinds: Iterable[str]) -> tuple[Stratum, ...]:
    """The strata of a case, kind by kind; those without a pixel are left out."""
    found = (Stratum(kind, name, pixels) for kind in kinds for name, pixels in KINDS[kind](case))
    return tuple(stratum for stratum in found if stratum.pixels.any())


Parts = Iterator[tuple[str, NDArray[np.bool_]]]


def _by_cover(case: Case) -> Parts:
    """All restored pixels, under the name of the bin that the scene's own share of cloud falls into."""
    share = 100 * float(case.inside.sum()) / max(int(case.valid.sum()), 1)
    low = min(int(share // COVER_STEP) * COVER_STEP, 100 - COVER_STEP)
    yield f"{low}-{low + COVER_STEP} %", case.inside


def _by_thickness(case: Case) -> Parts:
    if case.thickness is not None:
        thick = case.thickness >= THICK
        yield "thin", case.inside & ~thick
        yield "thick", case.inside & thick


def _by_distance(case: Case) -> Parts:
    """How far it is to the nearest pixel that is valid and under neither cloud nor shadow."""
    distance = distance_transform_edt(~case.clear) if case.clear.any() else np.full(case.clear.shape, np.inf)
    for low, high in zip(DISTANCES, (*DISTANCES[1:], None), strict=True):
        beyond = case.inside & (distance >= low)
        yield (f"{low}+ px", beyond) if high is None else (f"{low}-{high} px", beyond & (distance < high))


def _by_texture(case: Case) -> Parts:
    """The fifth of the scene's pixels with the strongest gradient of the target, mean over bands, and the rest."""
    valid = torch.from_numpy(case.target.valid)[None]
    strength = sobel_magnitude(torch.from_numpy(case.target.values), valid).mean(dim=0).numpy()
    known = inner(valid)[0].numpy() & case.valid
    if known.any():
        textured = strength > np.quantile(strength[known], 1 - TEXTURED)
        yield "textured", case.inside & known & textured
        yield "smooth", case.inside & known & ~textured


def _by_land_cover(case: Case) -> Parts:
    if case.classes is not None:
        for number in np.unique(case.classes[case.inside]):
            if number != UNKNOWN_CLASS:
                yield f"class {number}", case.inside & (case.classes == number)


KINDS: Mapping[str, Callable[[Case], Parts]] = {
    "cloud": _by_cover,
    "thickness": _by_thickness,
    "distance": _by_distance,
    "texture": _by_texture,
    "landcover": _by_land_cover,
}

MEANINGS: Mapping[str, str] = {
    "cloud": "share of the scene that is cloud",
    "thickness": f"opacity of the simulated cloud, thick from {THICK:g}",
    "distance": "pixels to the nearest clear one",
    "texture": f"gradient of the target, textured is the top {TEXTURED:.0%} of the scene's pixels",
    "landcover": "class of the manifest's map",
}
