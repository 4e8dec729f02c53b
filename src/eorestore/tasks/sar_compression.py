"""SAR compression as its study trains it: a band in, the same band out through a latent; knows no network, no byte.

The loss knows of no rate either: the latent is quantised and coded after training, see codec.latents.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eorestore.data.sar_patches import sar_samples
from eorestore.losses import pixel, structural
from eorestore.metrics.sar_scores import SCORES
from eorestore.processing.normalize import WINDOW_SPAN
from eorestore.raster import SENTINEL1
from eorestore.tasks.task import Loss, Metric, Task, over_valid

Batch = Mapping[str, Tensor]
BAND = SENTINEL1.select(("VV",))
VALIDATED = ("psnr30", "ssim", "enl_ratio", "epi_pearson", "bias_db", "texture_ratio")
"""Scores of metrics.sar_scores that a training reports; of the latent before it is quantised."""


def in_decibel(name: str) -> Metric:
    """A score of metrics.sar_scores between the image, clipped to the window, and the target, both in decibels.

    Windows are 40 dB wide whatever the polarisation, and where one begins moves no score but those of linear means, by
    a factor that they divide out; so that of every item is taken to begin at 0 dB. An infinite score, as that of a
    constant image's looks, is none.
    """
    score = SCORES[name]
    more = {"lows": (0.0,)} if score.windowed else {}

    def scored(image: Tensor, batch: Batch, /) -> Tensor:
        decoded = WINDOW_SPAN * image.detach().cpu().clamp(0, 1)
        original = WINDOW_SPAN * batch["target"].cpu()
        found = score.compute(decoded, original, valid=batch["valid"].cpu(), **more)
        return found.where(torch.isfinite(found), torch.nan)

    return scored


LOSSES: Mapping[str, Loss] = {
    "mse": over_valid(pixel.mse),
    "l1": over_valid(pixel.l1),
    "one_minus_ssim": over_valid(structural.one_minus_ssim),
    "one_minus_ms_ssim": over_valid(structural.one_minus_ms_ssim),
}
"""All over the window of 40 dB as 0 ... 1: the weight of `mse` times 1600 makes it decibels squared."""

SAR_COMPRESSION = Task(
    name="sar-compression",
    inputs={"sar": BAND},
    target=BAND,
    datasets=sar_samples,
    losses=LOSSES,
    metrics={name: in_decibel(name) for name in VALIDATED},
)
