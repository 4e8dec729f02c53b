"""Super-resolution of images: a low-resolution image in, a larger one out; knows no network and no loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from eorestore.data.expert_samples import super_resolution_samples
from eorestore.errors import ConfigError
from eorestore.losses import frequency, gradient, perceptual, pixel, semantic, structural
from eorestore.metrics import fidelity, luma
from eorestore.models.model import Output
from eorestore.raster import RGB
from eorestore.tasks.task import Loss, Metric, Task, over_valid

Batch = Mapping[str, Tensor]


def on_luma(score: Callable[..., Tensor], *, else_: Callable[..., Tensor]) -> Metric:
    """`score` on luma, in 8 bits and without the rim, where the image has three bands; `else_` over bands of others.

    The rim is as many pixels wide as the enlargement has, see metrics.luma. An infinite score, as that of a crop of
    open water that 8 bits cannot tell from its target, is none.
    """

    def scored(image: Tensor, batch: Batch, /) -> Tensor:
        target = batch["target"]
        if target.shape[1] == len(RGB):
            found = score(image, target, valid=batch["valid"], shave=target.shape[-1] // batch["low"].shape[-1])
        else:
            found = else_(image, target, valid=batch["valid"])
        return found.where(torch.isfinite(found), torch.nan)

    return scored


def in_colour(loss: Callable[..., Tensor]) -> Loss:
    """A loss whose network sees red, green and blue. Raises ConfigError where the target has other bands."""
    seen = over_valid(partial(loss, rgb=(0, 1, 2)))

    def perceived(output: Output, batch: Batch, /) -> Tensor:
        bands = batch["target"].shape[1]
        if bands != len(RGB):
            raise ConfigError(
                f"this loss looks at red, green and blue; the target has {bands} bands",
                fix="leave the loss out, or choose a processor of these three bands",
            )
        return seen(output, batch)

    return perceived


LOSSES: Mapping[str, Loss] = {
    "l1": over_valid(pixel.l1),
    "mse": over_valid(pixel.mse),
    "charbonnier": over_valid(pixel.charbonnier),
    "log_mse": over_valid(pixel.log_mse),
    "sobel_l1": over_valid(gradient.sobel_l1),
    "one_minus_ssim": over_valid(structural.one_minus_ssim),
    "swt": over_valid(frequency.swt_l1),
    "swt_db4": over_valid(partial(frequency.swt_l1, wavelet="db4", levels=3)),
    "fft": over_valid(frequency.fft_l1),
    "perceptual_vgg19": in_colour(partial(perceptual.perceptual, network="vgg19", gain=1.0, clip=None)),
    "clip_semantic": in_colour(semantic.clip_semantic),
}

SUPER_RESOLUTION = Task(
    name="super-resolution",
    inputs={"low": RGB},
    target=RGB,
    datasets=super_resolution_samples,
    losses=LOSSES,
    metrics={
        "psnr": on_luma(luma.psnr_luma, else_=fidelity.psnr),
        "ssim": on_luma(luma.ssim_luma, else_=fidelity.ssim),
    },
)
