"""How far off an enlarged scene is, pixel by pixel, learned where the truth is known: in the scene itself; no file.

The scene made coarser and enlarged again has known errors. Their variance is fitted by that of the image over flips
and turns and by that of the plain enlargement around a pixel, and is then scaled so that 90 % of the errors lie within
1.645 standard deviations. That the same holds one scale finer is the assumption of the whole method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from eorestore.data.single_scene import Piece
from eorestore.models.scene_enlargement import SceneEnlargement, local_variance
from eorestore.restorer.scene_learning import held_back_cases

_LEAST_PIXELS, _LEAST_OF_ALL = 100, 16  # of held-back squares, and of all squares
_SHARE, _FACTOR = 0.9, 1.6448536
_ROUNDS = 4  # of fitting, each weighted by the variance of the round before
_LEAST = 1e-12
_RIM = 2


@dataclass(frozen=True)
class Uncertainty:
    """Weights of `Stages.sigma`, the number of pixels that they come from, and the factor at which these were seen."""

    weights: tuple[float, float, float]
    pixels: int
    factor: int

    def to_json(self) -> dict[str, object]:
        """Plain values for a sidecar."""
        return {
            "weights": [float(f"{value:.6g}") for value in self.weights],
            "pixels": self.pixels,
            "factor": self.factor,
        }


def calibrated(model: SceneEnlargement, pieces: Sequence[Piece]) -> tuple[SceneEnlargement, Uncertainty | None]:
    """The model with the weights of `sigma` that the scene tells; as it is where the scene is too small to tell any.

    Held-back squares tell them; of a small scene all pixels, those learned included; of a still smaller one its first
    stages, whose variance is taken to double with every doubling.
    """
    scale, own = model.scale, model.network.scale
    rows, errors = _evidence(model, pieces, factor=scale, judged=True, rim=_RIM)
    factor = scale
    if len(errors) < _LEAST_PIXELS:
        rows, errors = _evidence(model, pieces, factor=factor, judged=False, rim=1)
    while len(errors) < _LEAST_OF_ALL and factor > own:
        factor //= own
        rows, errors = _evidence(model, pieces, factor=factor, judged=False, rim=1)
    if len(errors) < _LEAST_OF_ALL:
        return model, None
    flat, turned, rough = fit_variance(rows, errors)
    growth = scale / factor
    weights = (flat * growth, turned * growth, rough * growth)
    known = Uncertainty(weights, len(errors), factor)
    return SceneEnlargement(model.network, replace(model.stages, sigma=weights), bands=model.bands).eval(), known


def _evidence(
    model: SceneEnlargement, pieces: Sequence[Piece], *, factor: int, judged: bool, rim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns of the variance (pixel, 3) and errors (pixel,) of the pieces made coarser by `factor`.

    judged: of held-back squares alone. rim: coarse pixels at the edges that are left out.
    """
    rows, errors = [np.empty((0, 3))], [np.empty(0)]
    stages = replace(model.stages, factor=factor, sigma=(0.0, 1.0, 0.0), sharpen=0.0)
    single = SceneEnlargement(model.network, stages).eval()
    for image, low, chosen, guide, _ in held_back_cases(pieces, stages, judged=judged, rim=rim):
        with torch.inference_mode():
            found = single(low=low, guide=guide)
            rough = local_variance(single.base(low))
        spread = found.extras["sigma"] ** 2
        rows.append(torch.stack([torch.ones_like(spread), spread, rough], dim=-1)[0, 0][chosen].double().numpy())
        errors.append((found.image - image)[0, 0][chosen].double().numpy())
    return np.concatenate(rows), np.concatenate(errors)


def fit_variance(rows: NDArray[np.float64], errors: NDArray[np.float64]) -> tuple[float, float, float]:
    """Weights, none below 0, of the columns of (pixel, 3) rows, whose sum is the variance of (pixel,) errors."""
    size = np.maximum(rows.mean(axis=0), _LEAST)
    variance = np.full(len(errors), max(float(np.mean(errors**2)), _LEAST))
    weights = np.zeros(3)
    for _ in range(_ROUNDS):
        weights, _ = nnls(rows / size / variance[:, None], errors**2 / variance)
        variance = np.maximum(rows @ (weights / size), _LEAST)
    reached = np.quantile(np.abs(errors) / np.sqrt(variance), _SHARE) / _FACTOR
    found = weights / size * reached**2
    return float(found[0]), float(found[1]), float(found[2])
