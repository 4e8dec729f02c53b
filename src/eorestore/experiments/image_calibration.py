"""|error| / sigma of models that enlarge, on whole pictures, for a calibration; fits nothing and writes no file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.data.degradation import EIGHT_BITS, Degradation
from eorestore.data.expert_cache import cached_outputs
from eorestore.data.image_samples import PairReader
from eorestore.errors import UsageError
from eorestore.experiments.calibration import SPACING, Calibration, calibration_of
from eorestore.experiments.image_models import load_image_models
from eorestore.experiments.image_sets import read_image_sets
from eorestore.metrics.intervals import LEVEL

_log = logging.getLogger(__name__)

_RIM = 2 * SPACING  # pixels at the edges that are left out


def calibrate_images(
    model: str,
    *,
    data: Path,
    root: Path | None = None,
    split: str = "validation",
    cache: Path | None = None,
    level: float = LEVEL,
) -> Calibration:
    """Factors on sigma after which its interval of `level` holds, fitted on pictures; see `calibration.calibrate`.

    Args:
        model: a run or checkpoint whose model gives sigma, such as a fusion.
        data: folder or manifest of pictures.
        root: folder that the manifest's paths start from.
        split: validation or train.
        cache: of the experts of a fusion; without one they are run.
        level: share of the pixels that the interval is to hold.

    Raises:
        UsageError: the test split, or a model without sigma.
        DataError: too few pixels.
    """
    if split == "test":
        raise UsageError("a calibration on the test split would spoil it for judging", fix="use --split validation")
    network = load_image_models([model], run_experts=cache is None)[0]
    if network.checkpoint is None:
        raise UsageError(f"{model} gives no sigma to calibrate", fix="choose a fusion of experts")
    processor = network.checkpoint.processor
    degradation = Degradation(network.scale, levels=EIGHT_BITS)
    read = PairReader(processor, degradation)
    outputs = None if cache is None else cached_outputs(cache, degradation=degradation, names=network.wanted_experts)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for one in read_image_sets([data], root=root, split=split, scale=network.scale):
        for placed in one.pairs:
            maps = read(placed.pair)
            target = torch.from_numpy(maps["target"])
            experts = None
            if outputs is not None:
                size = (target.shape[-2], target.shape[-1])
                experts = torch.from_numpy(outputs.read(placed.pair, processor, size=size))
            image, sigma = network.with_sigma(torch.from_numpy(maps["low"]), experts=experts)
            found.setdefault(placed.place, []).append(_ratios(image, sigma, target, maps["valid"]))
            _log.info("%s on %s", model, placed.pair.id)
    ratios = {place: np.concatenate(parts, axis=1) for place, parts in found.items()}
    return calibration_of(ratios, processor.output.names, level=level)


def _ratios(image: Tensor, sigma: Tensor, target: Tensor, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(band, pixel) of every SPACING-th valid pixel inside the rim."""
    grid = np.zeros(valid.shape[-2:], dtype=bool)
    grid[_RIM:-_RIM:SPACING, _RIM:-_RIM:SPACING] = True
    chosen = grid & valid[0]
    error = (image - target).abs().numpy()[:, chosen]
    ratios: NDArray[np.float32] = error / sigma.numpy()[:, chosen]
    return ratios
