"""Scores of restored scenes against real references or under simulated clouds; knows no network and no file format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.data.cloud_pairs import MASK_MARGIN
from eorestore.data.manifest import SceneRow, read_manifest, select
from eorestore.errors import MaskError, UnknownNameError, UsageError
from eorestore.experiments.case_scores import PROTOCOLS, Restore, Restored, ScoringProtocol, score_case
from eorestore.experiments.cases import Case, Mask, SimulatedSkies, read_cases
from eorestore.experiments.evaluation_table import Comparison, EvaluationRow, EvaluationTable
from eorestore.experiments.strata import (
    LEAST_PIXELS,
    Stratum,
    check_land_cover,
    check_strata,
    strata_of,
)
from eorestore.experiments.strata_table import StratumRow
from eorestore.metrics.collection import check_names
from eorestore.models.catalogue import NEED_CLEAR_PIXELS
from eorestore.processing.normalize import BandScaling
from eorestore.raster import BandSet, Raster

log = logging.getLogger(__name__)

ADAPTED = " (adapted)"
"""Ends the name of a model that was adapted to each scene before it restored it."""

ORACLES = ("band-mean of the target", "affine map of the input")

Watch = Callable[[Case, EvaluationRow, Restored], None]


@dataclass(frozen=True)
class _Image:
    """An image that no model restored, in the shape of a restored one."""

    raster: Raster
    extras: Mapping[str, Any] = field(default_factory=dict)


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
    mask: Mask = "manifest",
    strata: Sequence[str] = (),
    oracles: bool = False,
    adapt: int = 0,
    restore: Restore | None = None,
    watch: Watch | None = None,
) -> EvaluationTable:
    """Restore the scenes of a manifest with every model and score them, in total, by region and by stratum.

    Without `simulate` each row's optical scene is restored and scored against the row's reference; regions come
    from the row's mask, or from the built-in one of the cloudy scene. With it, clouds of each cover and seed are
    simulated over the row's clear scene (its reference where it has one); all models see the very same clouds and
    the true mask, grown by the margin used in training.

    Args:
        models: names, runs or checkpoint folders, as `restore` takes them.
        data: the manifest.
        root: folder its paths start from; its own folder by default.
        split: train, validation or test.
        metrics: names of `metrics.collection.BETTER`; the protocol's own by default.
        simulate: covers, shares from 0 to 1.
        seeds: of the simulated clouds; the clouds of a scene depend on its id, the seed and the cover alone.
        cloud_size_px: least and largest cloud in pixels.
        crop: side of the square cut from the scene's centre before restoring.
        protocol: name in PROTOCOLS.
        mask: on real pairs, `manifest` restores what the row's mask says, and every pixel where it has none; `none`
            every pixel; `auto` those that the built-in mask marks.
        strata: names of `strata.KINDS`, by which the pixels under cloud are scored apart.
        oracles: add rows that were shown the answer: its band means, and the per-band affine map of the input.
        adapt: score every network a second time, adapted to each scene in so many steps; see `restorer.adaptation`.
        restore: restores one scene; the package's own by default.
        watch: is shown every case, its row and what was restored, as soon as they are there.

    Returns:
        A row for every model, scene, cover and seed, and one for each of these and each stratum.

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
    kinds = check_strata(strata, simulated=simulate is not None)
    skies = None if simulate is None else SimulatedSkies(tuple(simulate), tuple(seeds), cloud_size_px)
    rows = select(read_manifest(Path(data), root=None if root is None else Path(root)), split)
    check_land_cover(kinds, maps=sum(row.landcover is not None for row in rows))
    if restore is None and simulate is None:
        _refuse_learners(names, rows, mask)
    restore = restore or own_restore(adapt=adapt)
    if adapt:
        names = tuple(variant for name in names for variant in _variants(name))
    found: list[EvaluationRow] = []
    parts: list[StratumRow] = []
    for row in rows:
        for case in read_cases(row, skies=skies, mask=mask, crop=crop, land_cover="landcover" in kinds):
            divided = strata_of(case, kinds)
            for scored, by_stratum in _score(case, names, rules, restore, strata=divided, oracles=oracles, watch=watch):
                found.append(scored)
                parts += by_stratum
    conditions = _conditions(rules, rows, split=split, crop=crop, mask=mask, skies=skies, strata=kinds)
    if adapt:
        conditions["Adapted"] = f"{adapt} steps on each scene; a scene with too few clear pixels for it is as without"
    return EvaluationTable(protocol, rules.metrics, conditions, tuple(found), tuple(parts))


def _variants(name: str) -> tuple[str, ...]:
    from eorestore.restorer.plan import model_facts

    return (name,) if model_facts(name).resolved.path is None else (name, name + ADAPTED)


def _refuse_learners(names: tuple[str, ...], rows: Sequence[SceneRow], mask: Mask) -> None:
    whole = [row.id for row in rows if mask == "none" or (mask == "manifest" and row.mask is None)]
    learners = [name for name in names if name in NEED_CLEAR_PIXELS]
    if whole and learners:
        raise UsageError(
            f"{', '.join(learners)} would learn from the scene's clear pixels, and restoring every pixel of "
            f"{whole[0]} leaves none",
            fix="add --mask auto, so that only clouds are restored, or fill the manifest's column mask",
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


def own_restore(*, calibrated: bool = True, adapt: int = 0) -> Restore:
    """The package's own restoring, with sigma where a model gives it; loads a model once for scenes of equal bands.

    calibrated: whether sigma is scaled as the checkpoint says, where it does. adapt: steps of test-time adaptation for
    models whose name ends in ADAPTED; a scene with too few clear pixels for it is restored without.
    """
    from eorestore.restorer import Restorer, load_restorer, restore_raster

    loaded: dict[tuple[str, BandSet], Restorer] = {}

    def restore(model: str, rasters: Mapping[str, Raster], *, mask: NDArray[np.bool_] | None) -> Restored:
        bands = rasters["cloudy"].bands
        steps = adapt if model.endswith(ADAPTED) else 0
        model = model.removesuffix(ADAPTED)
        if (model, bands) not in loaded:
            loaded[model, bands] = load_restorer(model, bands=bands)
        restorer = loaded[model, bands]
        if not calibrated:
            config = {key: value for key, value in restorer.facts.config.items() if key != "calibration"}
            restorer = replace(restorer, facts=replace(restorer.facts, config=config))
        save = ("sigma",) if "sigma" in restorer.model.extras else ()
        try:
            restored = restore_raster(restorer, rasters, mask=mask, save=save, adapt=steps)
        except MaskError as error:
            if not steps:
                raise
            log.warning("%s is scored as it is, not adapted: %s", model, error.message)
            restored = restore_raster(restorer, rasters, mask=mask, save=save)
        if not save:
            return restored
        return replace(
            restored, extras={"sigma": _all_bands(restored.extras["sigma"], bands, restorer.processor.output)}
        )

    return restore


def _all_bands(sigma: NDArray[np.float32], bands: BandSet, output: BandScaling) -> NDArray[np.float32]:
    """Sigma of the bands that a model restores as one of all bands of the scene, NaN for the others."""
    whole = np.full((len(bands), *sigma.shape[1:]), np.nan, dtype=np.float32)
    whole[[row for row, name in enumerate(bands.names) if name in output.names]] = sigma
    return whole


def _score(
    case: Case,
    models: Sequence[str],
    rules: ScoringProtocol,
    restore: Restore,
    *,
    strata: Sequence[Stratum],
    oracles: bool,
    watch: Watch | None,
) -> Iterator[tuple[EvaluationRow, tuple[StratumRow, ...]]]:
    inputs = {"cloudy": case.cloudy, "sar": case.sar}
    for model in models:
        restored = restore(model, inputs, mask=case.mask)
        row, parts = score_case(case, model, restored, rules, strata=strata)
        first = f"{rules.metrics[0]}_cloud"
        log.info(
            "%s on %s, cover %s, seed %s: %s %.4g", model, row.scene, row.cover, row.seed, first, row.scores[first]
        )
        if watch is not None:
            watch(case, row, restored)
        yield row, parts
    if oracles:
        for name, image in zip(ORACLES, _oracles(case), strict=True):
            row, parts = score_case(case, name, _Image(replace(case.target, values=image)), rules, strata=strata)
            yield replace(row, oracle=True), parts


def _oracles(case: Case) -> Iterator[NDArray[np.float32]]:
    """Images (band, y, x) in the order of ORACLES."""
    valid = case.valid
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


def _conditions(
    rules: ScoringProtocol,
    rows: Sequence[SceneRow],
    *,
    split: str,
    crop: int | None,
    mask: Mask,
    skies: SimulatedSkies | None,
    strata: Sequence[str],
) -> dict[str, str]:
    given = sum(row.mask is not None for row in rows)
    built_in = "built-in cloud mask of the cloudy scene"
    regions = built_in if not given else "the manifest's mask" + ("" if given == len(rows) else f", else {built_in}")
    conditions = {
        "Split": split,
        "Crop": "none" if crop is None else f"centre {crop} x {crop} pixels, before restoring",
        "Clamp": f"restored and target to {rules.clamp[0]:g}...{rules.clamp[1]:g} reflectance",
        "Mask": _mask_words(mask, simulated=skies is not None, given=given == len(rows), some=given > 0),
        "Regions": regions if skies is None else "as simulated, the mask's margin counts as clear",
        "PSNR": "peak 1, one error over all bands and pixels of a scene; decibels are averaged over scenes",
        "SSIM": f"11 x 11 Gaussian, sigma 1.5, {rules.ssim}",
    }
    if skies is not None:
        low, high = skies.size_px
        conditions["Clouds"] = f"{low:g}-{high:g} px, seeds {', '.join(map(str, skies.seeds))}"
    if strata:
        conditions["Strata"] = f"{', '.join(strata)}; of pixels under cloud, no score below {LEAST_PIXELS} of them"
    return conditions


def _mask_words(mask: Mask, *, simulated: bool, given: bool, some: bool) -> str:
    kept = "other pixels stay as observed"
    if simulated:
        return f"true cloud and shadow, grown by {MASK_MARGIN} pixels; {kept}"
    if mask == "auto":
        return f"built-in cloud and shadow mask; {kept}"
    if mask == "none" or not some:
        return "none, every pixel is restored"
    return f"the manifest's; {kept}" + ("" if given else "; where a row has none, every pixel is restored")
