"""Scores of restored scenes against real references or under simulated clouds; knows no network and no file format."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from eorestore.data.clear_scenes import SceneRasters, read_scene
from eorestore.data.cloud_pairs import MASK_MARGIN, grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.manifest import SceneRow, read_manifest, select
from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.experiments.evaluation_table import Comparison, EvaluationRow, EvaluationTable
from eorestore.metrics.collection import check_names, score
from eorestore.processing.cloud_mask import cloud_and_shadow, shadow_limits, widen
from eorestore.raster import BandSet, Raster, Window

log = logging.getLogger(__name__)

Mask = Literal["none", "auto"]
ORACLES = ("band-mean of the target", "affine map of the input")


@dataclass(frozen=True)
class ScoringProtocol:
    """How images are made comparable: values are clamped to `clamp`, then scored by `metrics`."""

    metrics: tuple[str, ...]
    clamp: tuple[float, float]
    ssim: str


PROTOCOLS: Mapping[str, ScoringProtocol] = {
    "eorestore": ScoringProtocol(("psnr", "ssim", "mae", "rmse", "sam"), (0.0, 1.0), "whole windows only"),
    # Clip DN to 0...10000, divide by 10000; SSIM zero-padded (Xu et al. 2022, Meraner et al. 2020).
    "sen12ms-cr": ScoringProtocol(("psnr", "ssim_paper", "mae", "sam"), (0.0, 1.0), "zero-padded"),
}


class Restored(Protocol):
    """What restoring gives: at least the whole scene as a raster."""

    @property
    def raster(self) -> Raster:
        """The restored scene, in reflectance."""
        ...


Restore = Callable[..., Restored]
"""(model, rasters by forward keyword, *, mask: bool (y, x) or None for the whole scene) -> Restored."""


@dataclass(frozen=True)
class Case:
    """One cloudy scene with its answer; `mask` is what is to be restored, None for everything."""

    row: SceneRow
    cloudy: Raster
    sar: Raster
    target: Raster
    mask: NDArray[np.bool_] | None
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    cover: float | None = None
    seed: int | None = None


def evaluate(
    models: str | Sequence[str],
    *,
    data: Path | str,
    root: Path | str | None = None,
    split: str = "test",
    metrics: Sequence[str] | None = None,
    simulate: Sequence[float] | None = None,
    seeds: Sequence[int] = (0,),
    cloud_size_px: tuple[float, float] = (20.0, 150.0),
    crop: int | None = None,
    protocol: str = "eorestore",
    mask: Mask = "none",
    oracles: bool = False,
    restore: Restore | None = None,
) -> EvaluationTable:
    """Restore the scenes of a manifest with every model and score them, in total and by region.

    Without `simulate` each row's optical scene is restored and scored against the row's reference; regions come
    from the built-in mask of the cloudy scene. With it, clouds of each cover and seed are simulated over the
    row's clear scene (its reference where it has one); all models see the very same clouds and the true mask,
    grown by the margin used in training.

    Args:
        models: names, runs or checkpoint folders, as `restore` takes them.
        data: the manifest.
        root: folder its paths start from; its own folder by default.
        split: train, validation or test.
        metrics: names of `metrics.collection.METRICS`; the protocol's own by default.
        simulate: covers, shares from 0 to 1.
        seeds: of the simulated clouds; the clouds of a scene depend on its id, the seed and the cover alone.
        cloud_size_px: least and largest cloud in pixels.
        crop: side of the square cut from the scene's centre before restoring.
        protocol: name in PROTOCOLS.
        mask: on real pairs, `none` restores every pixel and `auto` those that the built-in mask marks.
        oracles: add rows that were shown the answer: its band means, and the per-band affine map of the input.
        restore: restores one scene; the package's own by default.

    Returns:
        A row for every model, scene, cover and seed.

    Raises:
        UsageError: an unknown name, an empty list, or a model that learns from clear pixels where none is left.
        DataError: a scene without reference, smaller than the crop, or restored to values that are not finite.
    """
    names = (models,) if isinstance(models, str) else tuple(models)
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol", protocol, PROTOCOLS)
    rules = PROTOCOLS[protocol]
    rules = rules if metrics is None else replace(rules, metrics=check_names(metrics))
    _check_request(names, rules, simulate, seeds)
    rows = select(read_manifest(Path(data), root=None if root is None else Path(root)), split)
    if restore is None and simulate is None and mask == "none":
        _refuse_learners(names)
    restore = restore or _own_restore()
    found: list[EvaluationRow] = []
    for row in rows:
        rasters = _centre(read_scene(row), crop, row.id)
        cases = (
            [_real(row, rasters, mask)]
            if simulate is None
            else _simulated(row, rasters, simulate, seeds, cloud_size_px)
        )
        for case in cases:
            found += _score_case(case, names, rules, restore, oracles=oracles)
    conditions = {
        "Split": split,
        "Crop": "none" if crop is None else f"centre {crop} x {crop} pixels, before restoring",
        "Clamp": f"restored and target to {rules.clamp[0]:g}...{rules.clamp[1]:g} reflectance",
        "Mask": _mask_words(mask, simulated=simulate is not None),
        "Regions": "as simulated, the mask's margin counts as clear"
        if simulate is not None
        else "built-in cloud mask of the cloudy scene",
        "PSNR": "peak 1, one error over all bands and pixels of a scene; decibels are averaged over scenes",
        "SSIM": f"11 x 11 Gaussian, sigma 1.5, {rules.ssim}",
    }
    if simulate is not None:
        conditions["Clouds"] = f"{cloud_size_px[0]:g}-{cloud_size_px[1]:g} px, seeds {', '.join(map(str, seeds))}"
    return EvaluationTable(protocol, rules.metrics, conditions, tuple(found))


def _refuse_learners(names: tuple[str, ...]) -> None:
    from eorestore.restorer.plan import model_facts

    learners = [name for name in names if model_facts(name).rule.needs_scene]
    if learners:
        raise UsageError(
            f"{', '.join(learners)} would learn from the scene's clear pixels, and restoring every pixel leaves none",
            fix="add --mask auto, so that only clouds are restored",
        )


def _check_request(
    names: tuple[str, ...], rules: ScoringProtocol, simulate: Sequence[float] | None, seeds: Sequence[int]
) -> None:
    if not names or not rules.metrics:
        raise UsageError("no model or no metric is named", fix="name at least one of each")
    if simulate is not None and not (simulate and seeds):
        raise UsageError("clouds are to be simulated, with no cover or no seed", fix="give at least one of each")
    for cover in simulate or ():
        if not 0 < cover < 1:
            raise UsageError(f"a cover of {cover:g} is no share", fix="give shares between 0 and 1, such as 0.4")


def compare_with_baselines(table: EvaluationTable, baselines: Sequence[str]) -> tuple[Comparison, ...]:
    """Every model that is neither baseline nor oracle against the best of the baselines in the table.

    By the first metric, inside cloud where clouds are simulated. Nothing without both kinds of model.
    """
    oracles = {row.model for row in table.rows if row.oracle}
    present = [name for name in table.models if name in baselines]
    others = [name for name in table.models if name not in oracles and name not in baselines]
    if not present:
        return ()
    score_name = f"{table.metrics[0]}_cloud" if table.covers != (None,) else table.metrics[0]
    return tuple(found for name in others for found in table.compare(name, present, score=score_name))


def _own_restore() -> Restore:
    """The package's own restoring; a model is loaded once for all scenes of the same bands."""
    from eorestore.restorer import Restorer, load_restorer, restore_raster

    loaded: dict[tuple[str, BandSet], Restorer] = {}

    def restore(model: str, rasters: Mapping[str, Raster], *, mask: NDArray[np.bool_] | None) -> Restored:
        key = model, rasters["cloudy"].bands
        if key not in loaded:
            loaded[key] = load_restorer(model, bands=rasters["cloudy"].bands)
        return restore_raster(loaded[key], rasters, mask=mask)

    return restore


def _centre(rasters: SceneRasters, crop: int | None, scene: str) -> SceneRasters:
    if crop is None:
        return rasters
    height, width = rasters.optical.grid.size
    if not 0 < crop <= min(height, width):
        raise DataError(f"{scene} has {height} x {width} pixels; a crop of {crop} does not fit", fix="lower --crop")
    window = Window((height - crop) // 2, (width - crop) // 2, crop, crop)
    reference = None if rasters.reference is None else rasters.reference.crop(window)
    return SceneRasters(rasters.optical.crop(window), rasters.sar.crop(window), reference)


def _real(row: SceneRow, rasters: SceneRasters, mask: Mask) -> Case:
    if rasters.reference is None:
        raise DataError(
            f"{row.id} has no reference", fix="fill the column reference, or simulate clouds with --simulate 0.4"
        )
    cloud, shadow = cloud_and_shadow(rasters.optical, shadow_limits([rasters.optical]))
    cloud, shadow = widen(cloud), widen(shadow)
    chosen = None if mask == "none" else cloud | shadow
    return Case(row, rasters.optical, rasters.sar, rasters.reference, chosen, cloud, shadow)


def _simulated(
    row: SceneRow, rasters: SceneRasters, covers: Sequence[float], seeds: Sequence[int], size: tuple[float, float]
) -> Iterator[Case]:
    target = rasters.optical if rasters.reference is None else rasters.reference
    for cover in covers:
        for seed in seeds:
            generator = np.random.default_rng([seed, zlib.crc32(row.id.encode())])
            sky = simulate_clouds(target, CloudSettings(cover=cover, size_px=size), generator=generator)
            cloudy = replace(target, values=sky.image)
            chosen = grow_mask(sky.cloud | sky.shadow, MASK_MARGIN)
            yield Case(row, cloudy, rasters.sar, target, chosen, sky.cloud, sky.shadow, cover, seed)


def _score_case(
    case: Case, models: Sequence[str], rules: ScoringProtocol, restore: Restore, *, oracles: bool
) -> Iterator[EvaluationRow]:
    inputs = {"cloudy": case.cloudy, "sar": case.sar}
    for model in models:
        restored = restore(model, inputs, mask=case.mask).raster
        row = _row(case, model, restored, rules)
        log.info("%s on %s, cover %s, seed %s: %s", model, case.row.id, case.cover, case.seed, row.scores)
        yield row
    if oracles:
        for name, image in zip(ORACLES, _oracles(case), strict=True):
            yield replace(_row(case, name, replace(case.target, values=image), rules), oracle=True)


def _row(case: Case, model: str, restored: Raster, rules: ScoringProtocol) -> EvaluationRow:
    prediction = restored.select(case.target.bands.names).values
    valid = case.target.valid & case.cloudy.valid
    if not np.isfinite(prediction[:, valid]).all():
        raise DataError(f"{model} gave values that are not finite on {case.row.id}", fix="check the model's weights")
    scores = score(
        torch.from_numpy(np.clip(prediction, *rules.clamp)),
        torch.from_numpy(np.clip(case.target.values, *rules.clamp)),
        valid=torch.from_numpy(valid)[None],
        cloud=torch.from_numpy(case.cloud)[None],
        shadow=torch.from_numpy(case.shadow)[None],
        metrics=rules.metrics,
    )
    share = float(case.cloud[valid].mean()) if valid.any() else float("nan")
    return EvaluationRow(model, case.row.id, case.row.place, case.cover, case.seed, share, scores)


def _oracles(case: Case) -> Iterator[NDArray[np.float32]]:
    """Images (band, y, x) in the order of ORACLES."""
    valid = case.target.valid & case.cloudy.valid
    target = case.target.values
    means = target[:, valid].mean(axis=1)
    yield np.broadcast_to(means[:, None, None], target.shape).astype(np.float32)
    cloudy = case.cloudy.select(case.target.bands.names).values
    fitted: list[NDArray[Any]] = []
    for x, y in zip(cloudy, target, strict=True):
        gain, offset = np.linalg.lstsq(
            np.stack([x[valid], np.ones(int(valid.sum()))], axis=1).astype(np.float64), y[valid], rcond=None
        )[0]
        fitted.append(gain * x + offset)
    yield np.stack(fitted).astype(np.float32)


def _mask_words(mask: Mask, *, simulated: bool) -> str:
    if simulated:
        return f"true cloud and shadow, grown by {MASK_MARGIN} pixels; other pixels stay as observed"
    if mask == "none":
        return "none, every pixel is restored"
    return "built-in cloud and shadow mask; other pixels stay as observed"
