"""`zero_shot`: a thermal scene enlarged; the type that is given is the type that is returned."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eorestore.api.beside import restore_with_pictures
from eorestore.api.given import PathLike, as_raster
from eorestore.errors import UsageError
from eorestore.raster import Raster, Unit
from eorestore.restorer.request import Request

_SCENE_OPTIONS = (
    "bands",
    "unit",
    "bbox",
    "tile",
    "batch",
    "budget",
    "device",
    "precision",
    "cog",
    "overwrite",
    "resume",
)


def zero_shot(
    scene: PathLike | Raster | Any,  # noqa: ANN401 - a DataArray, whose package is optional
    *,
    scale: int = 2,
    out: PathLike | None = None,
    preset: str = "balanced",
    seed: int | None = None,
    settings: Mapping[str, object] | Sequence[str] = (),
    save: str | Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
    learning: Callable[[int, int], None] | None = None,
    **options: Any,  # noqa: ANN401 - the fields of Request, checked there
) -> Any:  # noqa: ANN401
    """Enlarge a thermal scene by a network that first learns it; averaged over its pixels the result is the scene.

    Args:
        scene: a file, a Raster, or a DataArray (y, x) or (band, y, x) in kelvin with a CRS.
        scale: 2, 3, 4, 8 or 16 times as large.
        out: where the result goes, for paths; `.tif`, `.cog.tif`, or a folder.
        preset: fast, balanced, quality, plan, or a YAML file.
        seed: of crops, turns and drawn weights; None leaves it as the preset has it.
        settings: laid over the preset, `{"learning.steps": 300}` or `["learning.steps=300"]`.
        save: for paths, what to keep beside the result, names or one text with commas: the maps `sigma` and `source`,
            `npy`, the pictures `turbo`, `grey` and `comparison`, and `checkpoint`, the network that learned the scene.
        limits: for paths, where the colours of pictures begin and end, in kelvin.
        progress: called with (tiles done, tiles).
        learning: called with (steps done, steps).
        **options: for paths, further fields of `restorer.request.Request`: bands, unit, bbox, tile, resume ...

    Returns:
        The output path for a path, a Raster for a Raster, a DataArray for a DataArray.

    Raises:
        EorestoreError: its kinds say what was found and what to do.
    """
    from eorestore.restorer.zero_shot_recipe import SceneTask, load_recipe

    overrides = settings if isinstance(settings, Mapping) else list(settings)
    recipe = load_recipe(preset, overrides)
    task = SceneTask(recipe if seed is None else replace(recipe, seed=seed), scale)
    if isinstance(scene, str | os.PathLike):
        if out is None:
            raise UsageError("no output is named", fix="give out=...")
        unknown = set(options) - set(_SCENE_OPTIONS)
        if unknown:
            raise UsageError(
                f"zero_shot takes no {', '.join(sorted(unknown))}",
                fix=f"it takes {', '.join(_SCENE_OPTIONS)} for paths",
            )
        names = tuple(save.split(",") if isinstance(save, str) else save)
        request = Request(
            Path(os.fspath(scene)), Path(out), model="zero-shot", mask="none", save=names, zero_shot=task, **options
        )
        restore_with_pictures(request, progress=progress, adapting=learning, limits=limits)
        return Path(out)
    if out is not None or options or save or limits is not None:
        raise UsageError(
            "out, save, limits and file options go with paths",
            fix="call eorestore.restorer.enlarge_raster(raster, task, save=...), whose result has maps and facts",
        )
    from eorestore.raster.arrays import dataarray_like
    from eorestore.restorer import enlarge_raster

    if isinstance(scene, Raster):
        return enlarge_raster(scene, task, progress=progress, learning=learning).raster
    flat = scene.ndim == 2
    stack = scene.expand_dims(band=["thermal"]) if flat else scene
    enlarged = enlarge_raster(as_raster(stack, Unit.KELVIN), task, progress=progress, learning=learning).raster
    array = dataarray_like(stack, enlarged)
    return array.isel(band=0, drop=True) if flat else array
