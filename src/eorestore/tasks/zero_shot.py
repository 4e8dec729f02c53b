"""What a zero-shot network begins with: scenes of one band in, the same at a multiple of the size; knows no network.

The task of pretraining. The scene itself is learned by `restorer.scene_learning`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from eorestore.data.thermal_samples import thermal_samples
from eorestore.losses import gradient, pixel
from eorestore.metrics import fidelity
from eorestore.raster import THERMAL
from eorestore.tasks.task import Loss, Metric, Task, over_valid

Batch = Mapping[str, Tensor]

LOSSES: Mapping[str, Loss] = {
    "l1": over_valid(pixel.l1),
    "mse": over_valid(pixel.mse),
    "charbonnier": over_valid(pixel.charbonnier),
    "sobel_l1": over_valid(gradient.sobel_l1),
}


def _psnr(image: Tensor, batch: Batch, /) -> Tensor:
    return fidelity.psnr(image, batch["target"], valid=batch["valid"])


METRICS: Mapping[str, Metric] = {"psnr": _psnr}

ZERO_SHOT = Task(
    name="zero-shot",
    inputs={"low": THERMAL},
    target=THERMAL,
    datasets=thermal_samples,
    losses=LOSSES,
    metrics=METRICS,
    baselines=("bicubic",),
)
