"""One image scored over many regions: each map of errors is made once, then averaged wherever it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eorestore.layers.sobel import inner
from eorestore.layers.ssim import RADIUS, Border, ssim_map
from eorestore.metrics.edges import band_correlation, edge_map_correlation, sobel_magnitude
from eorestore.metrics.fidelity import aligned
from eorestore.metrics.indices import INDICES, has_index, index_difference
from eorestore.metrics.spectral import spectral_angle_degrees

Map = Callable[[Tensor, Tensor, Tensor], Tensor]
Summary = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Recipe:
    """map: name in _MAPS. summary: its values at the counted pixels, (channel, pixel), to one number."""

    map: str
    summary: Summary


class ScoredImage:
    """A single image beside its reference; gives every metric of `collection` over any region.

    The scores are those of the metrics themselves. What differs is the work: a map of SSIM takes longer than
    many models take to restore the scene, and a dozen regions need it once.

    Args:
        prediction: (band, y, x).
        target: the same shape.
        valid: (1, y, x) bool.
        bands: their names, for the indices.
    """

    def __init__(self, prediction: Tensor, target: Tensor, *, valid: Tensor, bands: Sequence[str] = ()) -> None:
        self._prediction, self._target, self._valid, _ = aligned(prediction, target, valid, None)
        self._bands = tuple(bands)
        self._maps: dict[str, tuple[Tensor, Tensor]] = {}

    def score(self, name: str, region: Tensor | None = None) -> float:
        """A metric over the valid pixels of `region`, (1, y, x) bool; NaN without any, or without its bands."""
        if name in INDICES:
            if not has_index(name, self._bands):
                return float("nan")
            recipe = _Recipe(name, _mean)
        else:
            recipe = _RECIPES[name]
        values, defined = self._map(recipe.map)
        counted = defined if region is None else defined & region[0].to(defined.device, torch.bool)
        return float(recipe.summary(values[:, counted]))

    def _map(self, name: str) -> tuple[Tensor, Tensor]:
        """Values (channel, y, x) and where they mean something, (y, x)."""
        if name not in self._maps:
            if name in INDICES:
                values = index_difference(self._prediction, self._target, index=name, bands=self._bands)
            else:
                values = _MAPS[name](self._prediction, self._target, self._valid)
            self._maps[name] = values, self._valid[0] & ~values.isnan().any(dim=0)
        return self._maps[name]


def _mean(values: Tensor) -> Tensor:
    return values.mean()


def _absolute(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG001 - a Map's arguments
    return (prediction - target).abs().mean(dim=0, keepdim=True)


def _squared(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG001 - a Map's arguments
    return ((prediction - target) ** 2).mean(dim=0, keepdim=True)


def _signed(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG001 - a Map's arguments
    return prediction - target


def _angle(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG001 - a Map's arguments
    return spectral_angle_degrees(prediction, target)


def _similarity(border: Border) -> Map:
    def similarity(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        found = ssim_map(prediction[None], target[None], valid=valid[None], border=border)[0].mean(dim=0, keepdim=True)
        if border == "zero":
            return found
        whole = found.new_full((1, *prediction.shape[-2:]), torch.nan)
        whole[:, RADIUS:-RADIUS, RADIUS:-RADIUS] = found
        return whole

    return similarity


def _gradients(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    both = torch.cat([sobel_magnitude(prediction, valid), sobel_magnitude(target, valid)])
    return torch.where(inner(valid), both, both.new_full((), torch.nan))


def _of_pairs(correlation: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Summary:
    """A correlation of two images over pixels in a row, the first half of the channels against the second."""

    def summary(values: Tensor) -> Tensor:
        x, y = values[:, None].chunk(2)
        return correlation(x, y, torch.ones_like(x[:1], dtype=torch.bool))

    return summary


_MAPS: Mapping[str, Map] = {
    "absolute": _absolute,
    "squared": _squared,
    "signed": _signed,
    "angle": _angle,
    "similarity": _similarity("interior"),
    "similarity of papers": _similarity("zero"),
    "gradients": _gradients,
}

_RECIPES: Mapping[str, _Recipe] = {
    "psnr": _Recipe("squared", lambda values: 10 * torch.log10(1 / values.mean())),
    "ssim": _Recipe("similarity", _mean),
    "ssim_paper": _Recipe("similarity of papers", _mean),
    "mae": _Recipe("absolute", _mean),
    "rmse": _Recipe("squared", lambda values: values.mean().sqrt()),
    "sam": _Recipe("angle", _mean),
    "bias": _Recipe("signed", lambda values: values.mean(dim=1).abs().mean()),
    "gradient_correlation": _Recipe("gradients", _of_pairs(band_correlation)),
    "edge_correlation": _Recipe("gradients", _of_pairs(edge_map_correlation)),
}
