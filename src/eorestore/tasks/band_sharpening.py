"""Sentinel-2's 20 m bands sharpened by its 10 m bands: ten bands in, the same on the 10 m grid out; knows no network.

The task of DSen2 (Lanaras et al. 2018). Training and scores follow Wald's protocol, one resolution below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from eorestore.data.sharpening_samples import sharpening_samples
from eorestore.losses import gradient, pixel
from eorestore.metrics import sharpening, spectral
from eorestore.raster import SENTINEL2_10M, SENTINEL2_20M, BandSet
from eorestore.tasks.task import Loss, Metric, Task, over_valid

Batch = Mapping[str, Tensor]
BANDS = BandSet((*SENTINEL2_10M, *SENTINEL2_20M))
DN = 1e4
"""DN of Sentinel-2 in a reflectance of 1."""


def on_coarse_bands(score: Callable[..., Tensor]) -> Metric:
    """`score` between the bands that were coarse; the others come out as they went in."""

    def scored(image: Tensor, batch: Batch, /) -> Tensor:
        fine = len(SENTINEL2_10M)
        return score(image[:, fine:], batch["target"][:, fine:], valid=batch["valid"])

    return scored


def rmse_dn(prediction: Tensor, target: Tensor, *, valid: Tensor) -> Tensor:
    """Mean over bands of their root mean squared error, in DN: (batch,)."""
    return DN * sharpening.rmse_by_band(prediction, target, valid=valid).mean(dim=-1)


LOSSES: Mapping[str, Loss] = {
    "l1": over_valid(pixel.l1),
    "mse": over_valid(pixel.mse),
    "charbonnier": over_valid(pixel.charbonnier),
    "log_mse": over_valid(pixel.log_mse),
    "sobel_l1": over_valid(gradient.sobel_l1),
}
"""Over all bands; the fine ones differ nowhere from their target and add nothing."""

BAND_SHARPENING = Task(
    name="band-sharpening",
    inputs={"multispectral": BANDS},
    target=BANDS,
    datasets=sharpening_samples,
    losses=LOSSES,
    metrics={
        "rmse_dn": on_coarse_bands(rmse_dn),
        "sam": on_coarse_bands(spectral.sam_degrees),
        "ergas": on_coarse_bands(sharpening.ergas),
    },
    baselines=("bicubic-20m", "high-pass-injection"),
)
