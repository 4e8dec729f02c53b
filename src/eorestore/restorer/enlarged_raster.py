"""Zero-shot enlargement of a Raster in memory: the same network and stream as for files, into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eorestore.models.model import Model, Prepared
from eorestore.raster import MemoryPixels, Raster
from eorestore.restorer.deviation import DeviationSample
from eorestore.restorer.inference import Execution
from eorestore.restorer.memory import Gathered, repeated
from eorestore.restorer.plan import LOW
from eorestore.restorer.rows import Progress, Rows
from eorestore.restorer.scene import Scene
from eorestore.restorer.zero_shot import learn, observation, scene_restorer
from eorestore.restorer.zero_shot_recipe import SceneTask


@dataclass(frozen=True)
class Enlarged:
    """An enlarged scene.

    raster: in the unit of what was given, gaps where it had gaps. facts: what a sidecar would say under `zero_shot` and
    `enlargement`. extras: maps that were asked for, (band, y, x) float32, NaN in gaps. network: that learned the scene.
    """

    raster: Raster
    facts: Mapping[str, Any]
    extras: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    network: Model | None = None


def enlarge_raster(
    raster: Raster,
    task: SceneTask,
    *,
    save: Sequence[str] = (),
    execution: Execution | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
    learning: Progress | None = None,
) -> Enlarged:
    """Let a network learn a scene, and enlarge the scene by it.

    Args:
        raster: (band, y, x) in any unit; every band goes through the network by itself.
        task: recipe and scale, see `zero_shot_recipe.load_recipe`.
        save: maps to return as well: `sigma`, one standard deviation of the error in the unit of the band.
        execution: device, precision and tiles a forward.
        tile: side of a tile in pixels of the raster; None takes the default, which files have as well.
        progress: called with (tiles done, tiles).
        learning: called with (steps done, steps).

    Returns:
        The scene on a grid `scale` times as fine. The same numbers as the same call on a float32 file gives.

    Raises:
        UsageError: a scale, sensor, start or map that there is not.
        DataError: no pixel is valid.
        TrainingError: learning fails from the first step on.
    """
    pixels = MemoryPixels(raster)
    task = task.settled(raster.grid.size)
    restorer, done = scene_restorer(task, pixels, execution or Execution(), tile=tile)
    scene = Scene({LOW: pixels}, LOW)
    maps = restorer.maps(save, scene)
    found = learn(task, pixels, restorer, progress=learning)
    restorer = restorer.with_model(found.model)
    into = Gathered(repeated(raster, task.scale), maps.layers)
    apart = DeviationSample(pixels, task.scale, observe=observation(task))

    def deliver(rows: Rows) -> None:
        apart.add(rows)
        into.add(rows)

    restorer.run(scene, deliver, mask=None, prepared=Prepared(), factor=1, progress=progress, maps=maps)
    restored = into.restored()
    told = {**done.to_json(), "deviation": apart.result().to_json()}
    facts = {"zero_shot": found.to_json(), "enlargement": told}
    return Enlarged(restored.raster, facts, restored.extras, found.model.network)
