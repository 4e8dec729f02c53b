"""Cloud removal: cloudy Sentinel-2 and Sentinel-1 in, cloud-free Sentinel-2 out; knows no network, no loop."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from eorestore.data.cloud_samples import cloud_samples
from eorestore.errors import ConfigError
from eorestore.losses import attention, carl, gradient, likelihood, perceptual, pixel, spectral, structural
from eorestore.losses.feature_weights import FEATURE_LOSSES
from eorestore.metrics.collection import DEFAULT, METRICS
from eorestore.metrics.regions import REGIONS, divide
from eorestore.raster import SENTINEL1, SENTINEL2_L1C
from eorestore.tasks.task import Loss, Metric, PixelLoss, Task, over_valid

if TYPE_CHECKING:
    from eorestore.models.model import Output

Batch = Mapping[str, Tensor]
_RGB = (SENTINEL2_L1C.names.index("B04"), SENTINEL2_L1C.names.index("B03"), SENTINEL2_L1C.names.index("B02"))


def inside_mask(loss: PixelLoss) -> Loss:
    """`loss` over the valid pixels that are to be restored; 0 where a batch has none."""

    def masked(output: Output, batch: Batch, /) -> Tensor:
        return loss(output.image, batch["target"], valid=batch["valid"] & (batch["mask"] > 0.5))

    return masked


def in_shadow(loss: PixelLoss) -> Loss:
    """`loss` over the valid pixels in shadow and under no cloud; 0 where a batch has none."""

    def shadowed(output: Output, batch: Batch, /) -> Tensor:
        inside = divide(valid=batch["valid"], cloud=batch["cloud"], shadow=batch["shadow"])["shadow"]
        return loss(output.image, batch["target"], valid=inside)

    return shadowed


def likely(output: Output, batch: Batch, /) -> Tensor:
    """Gaussian likelihood of the target under the image and its `sigma`. Raises ConfigError without sigma."""
    return over_valid(_with_sigma(output))(output, batch)


def likely_masked(output: Output, batch: Batch, /) -> Tensor:
    """`likely` over the pixels that are to be restored."""
    return inside_mask(_with_sigma(output))(output, batch)


def cloud_adaptive(output: Output, batch: Batch, /) -> Tensor:
    """CARL: clear pixels are compared with the input, others with the target. Raises ConfigError for other bands."""
    cloudy, target = batch["cloudy"], batch["target"]
    if cloudy.shape != target.shape:
        raise ConfigError(
            f"loss carl compares with the input, which has {cloudy.shape[1]} bands; the target has {target.shape[1]}",
            fix="choose a processor whose input and output have the same bands",
        )
    clouded = batch["cloud"] | batch["shadow"]
    return carl.carl(output.image, target, cloudy=cloudy, clouded=clouded, valid=batch["valid"])


def attention_to_mask(output: Output, batch: Batch, /) -> Tensor:
    """How far the extra `attention` is from the mask. Raises ConfigError without one."""
    return attention.attention_mse(_attention(output), batch["mask"], valid=batch["valid"])


def attention_to_difference(output: Output, batch: Batch, /) -> Tensor:
    """How far the extra `attention` is from where the input visibly differs. Raises ConfigError without one."""
    wanted = attention.visible_cloud(batch["cloudy"], batch["target"])
    return attention.attention_mse(_attention(output), wanted, valid=batch["valid"])


def in_region(metric: Callable[..., Tensor], region: str | None) -> Metric:
    """`metric` of every item, over all valid pixels or inside `cloud`, `shadow` or `clear`."""

    def scored(image: Tensor, batch: Batch, /) -> Tensor:
        inside = None
        if region is not None:
            inside = divide(valid=batch["valid"], cloud=batch["cloud"], shadow=batch["shadow"])[region]
        return metric(image, batch["target"], valid=batch["valid"], region=inside)

    return scored


def _with_sigma(output: Output) -> PixelLoss:
    if "sigma" not in output.extras:
        raise ConfigError(
            f"loss gaussian_nll needs a model that predicts sigma; this one gives {', '.join(output.extras) or 'none'}",
            fix="choose a model with a sigma, or leave gaussian_nll out",
        )
    return functools.partial(likelihood.gaussian_nll, sigma=output.extras["sigma"])


def seen_by(network: str) -> Loss:
    """`perceptual` in natural colour through `network`. Raises ConfigError where the bands are not Sentinel-2's 13."""
    loss = over_valid(functools.partial(perceptual.perceptual, network=network, rgb=_RGB))

    def perceived(output: Output, batch: Batch, /) -> Tensor:
        bands = batch["target"].shape[1]
        if bands != len(SENTINEL2_L1C):
            raise ConfigError(
                f"perceptual losses know where red, green and blue are among 13 bands; the target has {bands}",
                fix="leave the perceptual loss out, or choose a processor of 13 bands",
            )
        return loss(output, batch)

    return perceived


def _attention(output: Output) -> Tensor:
    if "attention" not in output.extras:
        raise ConfigError(
            f"loss attention_mse needs a model with an attention map; this one gives "
            f"{', '.join(output.extras) or 'none'}",
            fix="choose spa-gan, or leave attention_mse out",
        )
    return output.extras["attention"]


LOSSES: Mapping[str, Loss] = {
    "l1": over_valid(pixel.l1),
    "l1_masked": inside_mask(pixel.l1),
    "charbonnier": over_valid(pixel.charbonnier),
    "charbonnier_masked": inside_mask(pixel.charbonnier),
    "log_mse": over_valid(pixel.log_mse),
    "log_mse_masked": inside_mask(pixel.log_mse),
    "log_mse_shadow": in_shadow(pixel.log_mse),
    "edge_weighted_l1": over_valid(gradient.edge_weighted_l1),
    "edge_weighted_l1_masked": inside_mask(gradient.edge_weighted_l1),
    "sobel_l1": over_valid(gradient.sobel_l1),
    "sobel_l1_masked": inside_mask(gradient.sobel_l1),
    "one_minus_ssim": over_valid(structural.one_minus_ssim),
    "one_minus_ms_ssim": over_valid(structural.one_minus_ms_ssim),
    "spectral_angle": over_valid(spectral.spectral_angle),
    "spectral_angle_masked": inside_mask(spectral.spectral_angle),
    "one_minus_cosine": over_valid(spectral.one_minus_cosine),
    "one_minus_cosine_masked": inside_mask(spectral.one_minus_cosine),
    "carl": cloud_adaptive,
    "attention_mse": attention_to_mask,
    "attention_mse_difference": attention_to_difference,
    "gaussian_nll": likely,
    "gaussian_nll_masked": likely_masked,
    **{name: seen_by(network) for name, network in FEATURE_LOSSES.items() if name.startswith("perceptual_")},
}


CLOUD_REMOVAL = Task(
    name="cloud-removal",
    inputs={"cloudy": SENTINEL2_L1C, "sar": SENTINEL1},
    target=SENTINEL2_L1C,
    datasets=cloud_samples,
    losses=LOSSES,
    metrics={name: in_region(METRICS[name], None) for name in DEFAULT}
    | {f"{name}_{region}": in_region(METRICS[name], region) for name in DEFAULT for region in REGIONS},
    baselines=("identity", "band-mean", "inpaint", "sar-regression"),
)
