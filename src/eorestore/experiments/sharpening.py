"""Models that sharpen bands scored on whole scenes at half their resolution, by Wald's protocol; writes no record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from eorestore.data.sharpening_samples import wald_maps
from eorestore.data.two_grid_scenes import TwoGridRow, read_two_grids
from eorestore.errors import UsageError
from eorestore.metrics.sharpening import ergas, rmse_by_band
from eorestore.metrics.spectral import sam_degrees
from eorestore.models.catalogue import resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.model import Model, SceneSample
from eorestore.models.table import build_model
from eorestore.raster import SENTINEL2_10M, SENTINEL2_20M
from eorestore.restorer.inference import forward_keywords
from eorestore.tasks.band_sharpening import DN


@dataclass(frozen=True)
class SharpeningScore:
    """One model on one scene, over its valid pixels. rmse_dn: by band, in DN. sam: degrees. ergas: percent."""

    model: str
    scene: str
    rmse_dn: dict[str, float]
    sam: float
    ergas: float

    @property
    def mean_rmse_dn(self) -> float:
        """Mean of the bands' RMSE."""
        return fmean(self.rmse_dn.values())

    def percent_below(self, other: SharpeningScore) -> float:
        """By how many percent the mean RMSE lies below that of `other`."""
        return 100 * (1 - self.mean_rmse_dn / other.mean_rmse_dn)


def score_sharpening(models: Sequence[str], rows: Sequence[TwoGridRow]) -> tuple[SharpeningScore, ...]:
    """Every model on every scene, models in turn. Scenes are taken whole: a gigabyte for 2000 x 2000 pixels of 20 m.

    Raises UsageError for a model that does not sharpen bands, and what reading models and scenes raises.
    """
    loaded = {name: _load(name) for name in models}
    found = []
    for row in rows:
        arrays = wald_maps(read_two_grids(row.scene, s2_offset=row.s2_offset))
        maps = {name: torch.from_numpy(values)[None] for name, values in arrays.items()}
        found += [score_maps(model, maps, name=name, scene=row.id) for name, model in loaded.items()]
    return tuple(found)


def score_maps(model: Model, maps: dict[str, Tensor], *, name: str, scene: str) -> SharpeningScore:
    """One model on a scene's `wald_maps`, with a batch axis."""
    inputs = {"multispectral": maps["multispectral"]}
    with torch.inference_mode():
        if model.needs_scene:
            sample = {**inputs, "mask": (~maps["valid"]).float()}
            learned = model.prepare(SceneSample(sample, (sample,)))
            inputs |= {key: value[None] for key, value in learned.constants.items()}
        image = model(**inputs).image
    first = len(SENTINEL2_10M)
    pair, valid = (image[:, first:], maps["target"][:, first:]), maps["valid"]
    errors = DN * rmse_by_band(*pair, valid=valid)[0]
    return SharpeningScore(
        name,
        scene,
        dict(zip(SENTINEL2_20M.names, errors.tolist(), strict=True)),
        float(sam_degrees(*pair, valid=valid)),
        float(ergas(*pair, valid=valid)),
    )


def _load(name: str) -> Model:
    resolved = resolve(name)
    if resolved.kind == "baseline":
        model = build_model(resolved.name, {})
    elif resolved.path is None or resolved.kind == "preset":
        raise UsageError(f"{name} is a preset without weights", fix=f"train it: eorestore train -c {name} --name RUN")
    else:
        model = load_checkpoint(resolved.path).model
    if "multispectral" not in forward_keywords(model):
        raise UsageError(f"{name} does not sharpen bands", fix="choose s2-20m, bicubic-20m or high-pass-injection")
    return model.eval()
