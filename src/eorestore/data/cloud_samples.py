"""Training and validation samples of cloud removal as a preset asks for them; knows no loss and no loop."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eorestore.config import DataSettings, RunConfig
from eorestore.data.clear_scenes import load_clear_scenes
from eorestore.data.cloud_pairs import ClearScene, CloudPairs
from eorestore.data.cloud_simulation import CloudSettings
from eorestore.data.manifest import SceneRow, read_manifest, select
from eorestore.data.mask_library import load_masks
from eorestore.data.real_pairs import RealPairs
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import ConfigError
from eorestore.processing import Processor

if TYPE_CHECKING:
    from eorestore.models.model import Model

VALIDATION_SCENES = 4  # synthetic scenes kept for validation where the manifest has none
_VALIDATION_SEED = 1_000_003  # far from every training seed

Pairs = CloudPairs | RealPairs


def cloud_samples(config: RunConfig, processor: Processor, model: Model) -> tuple[Pairs, Pairs]:
    """Training and validation samples: clouds simulated over clear scenes, or real pairs of the manifest.

    Validation scenes are other places than training scenes, their clouds other clouds, and they are neither augmented
    nor robbed of a band. Raises DataError, BandError, UnitError, GridError, MaskError and ConfigError.
    """
    check_bands(config, processor, model)
    data = config.data
    if data.pairs == "real" and data.manifest is not None:
        return _real(config, read_rows(data), processor, model)
    train, validation = _clear_scenes(data, seed=config.seed)
    masks = None if data.masks is None else load_masks(Path(data.masks))
    build = functools.partial(
        CloudPairs,
        processor=processor,
        crop=data.crop,
        settings=CloudSettings(size_px=data.cloud_size_px, kind="blobs" if masks is None else "masks"),
        cover=data.cover,
        crops_per_scene=data.crops_per_scene,
        prepare=model.prepare if model.needs_scene else None,
        optional_inputs=model.optional_inputs,
        masks=masks,
    )
    return (
        build(
            train,
            length=data.items_per_epoch,
            seed=config.seed,
            augment=True,
            sar_shift_px=data.sar_shift_px,
            drop_b10=data.drop_b10,
            drop_sar=data.drop_sar,
            drop_vh=data.drop_vh,
            recolour=data.recolour,
            mask_all=data.mask_all,
            vary_sky=data.vary_sky,
            skies=data.skies,
        ),
        build(validation, length=data.validation_items, seed=config.seed + _VALIDATION_SEED),
    )


def check_bands(config: RunConfig, processor: Processor, model: Model) -> None:
    """Whether model and processor agree on the number of bands, and the model can do without what is dropped.

    Raises ConfigError.
    """
    pairs = (
        ("bands", len(processor.output.names), "optical"),
        ("sar_bands", len(processor.inputs["sar"].names) if "sar" in processor.inputs else None, "SAR"),
    )
    for name, count, kind in pairs:
        found = getattr(model.settings, name, count)
        if count is not None and found != count:
            raise ConfigError(
                f"{config.model.name} has {name} {found}, and processor {config.processor} gives {count} {kind} bands",
                fix=f"set model.settings.{name} to {count}, or choose another processor",
            )
    if config.data.drop_sar + config.data.drop_vh > 0 and "sar" not in model.optional_inputs:
        raise ConfigError(
            f"data.drop_sar and data.drop_vh need a model that can do without SAR, and {config.model.name} cannot",
            fix="set both to 0, or choose another model",
        )


def _real(
    config: RunConfig, rows: tuple[SceneRow, ...], processor: Processor, model: Model
) -> tuple[RealPairs, RealPairs]:
    data = config.data
    build = functools.partial(
        RealPairs,
        processor=processor,
        crop=data.crop,
        crops_per_scene=data.crops_per_scene,
        prepare=model.prepare if model.needs_scene else None,
        optional_inputs=model.optional_inputs,
    )
    return (
        build(
            select(rows, "train"),
            length=data.items_per_epoch,
            seed=config.seed,
            augment=True,
            sar_shift_px=data.sar_shift_px,
            drop_b10=data.drop_b10,
            drop_sar=data.drop_sar,
            drop_vh=data.drop_vh,
        ),
        build(select(rows, "validation"), length=data.validation_items, seed=config.seed + _VALIDATION_SEED),
    )


def _clear_scenes(data: DataSettings, *, seed: int) -> tuple[Sequence[ClearScene], Sequence[ClearScene]]:
    train: list[ClearScene] = []
    validation: list[ClearScene] = []
    if data.manifest is not None:
        rows = read_rows(data)
        splits = {row.split for row in rows}
        if "train" in splits or not data.synthetic:
            train += load_clear_scenes(select(rows, "train"))
        if "validation" in splits:
            validation += load_clear_scenes(select(rows, "validation"))
    train += [_synthetic(data, seed, number) for number in range(data.synthetic)]
    if not validation:
        validation += [_synthetic(data, seed + _VALIDATION_SEED, number) for number in range(VALIDATION_SCENES)]
    return train, validation


def read_rows(data: DataSettings) -> tuple[SceneRow, ...]:
    """The rows of the manifest that a preset names; none without one. Raises what `read_manifest` does."""
    if data.manifest is None:
        return ()
    return read_manifest(Path(data.manifest), root=None if data.root is None else Path(data.root))


def _synthetic(data: DataSettings, seed: int, number: int) -> ClearScene:
    generator = np.random.default_rng([seed, number])
    scene = synthetic_scene((data.synthetic_size, data.synthetic_size), generator=generator)
    name = f"synthetic-{seed}-{number}"
    return ClearScene(name, name, scene.optical, scene.sar)
