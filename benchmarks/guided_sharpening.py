"""Enlargement of a thermal scene with and without an optical guide, on invented places with a known truth.

Each place is a thermal scene of block means with noise and a guide in reflectance. In `explained`, temperature follows
land cover and vegetation, and a smooth field of 1 K that the guide does not see; in `own field`, that field has 5 K; in
`stranger`, the guide is of another place. The columns are root mean square errors in kelvin against the truth, averaged
over seeds, and seconds. `auto` is what `eorestore zero-shot --guide` returns by default.

    python benchmarks/guided_sharpening.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eorestore.data.simulated_guide import GuidedPlace, simulate_guided
from eorestore.experiments.record import make_record, write_record
from eorestore.processing.block_means import project, repeated, smooth_enlargement
from eorestore.processing.resize import enlarge
from eorestore.raster import MemoryPixels
from eorestore.restorer.guided_scene import guided_task, sharpen_scene
from eorestore.restorer.inference import Execution
from eorestore.restorer.zero_shot import learn, scene_restorer
from eorestore.restorer.zero_shot_recipe import SceneTask, load_recipe

Image = NDArray[np.floating]
Way = Callable[[GuidedPlace, SceneTask], tuple[Image, str]]
KINDS = {
    "explained": {"field": 1.0},
    "own field": {"field": 5.0},
    "stranger": {"field": 2.0, "stranger": True},
}
REGRESSORS = ("ndvi", "ndbi")


def nearest(place: GuidedPlace, task: SceneTask) -> tuple[Image, str]:
    """Every pixel repeated."""
    return repeated(place.low.values[0], factor=task.scale), "nearest"


def bicubic(place: GuidedPlace, task: SceneTask) -> tuple[Image, str]:
    """Cubic interpolation."""
    return enlarge(place.low.values[0].astype(np.float64), factor=task.scale), "bicubic"


def bicubic_projected(place: GuidedPlace, task: SceneTask) -> tuple[Image, str]:
    """The same, with the scene as its block means."""
    low = place.low.values[0].astype(np.float64)
    image = smooth_enlargement(low, factor=task.scale)
    return project(image, low, place.low.valid, factor=task.scale), "bicubic, projected"


def unguided(place: GuidedPlace, task: SceneTask) -> tuple[Image, str]:
    """The network that learns the scene without its guide, as `eorestore zero-shot` has it."""
    pixels = MemoryPixels(place.low)
    restorer, _ = scene_restorer(task, pixels, Execution())
    learned = learn(task, pixels, restorer)
    (band,) = restorer.processor.output.bands
    scaled = torch.from_numpy(restorer.processor.encode_one("low", place.low))[None]
    with torch.inference_mode():
        made = learned.model(low=scaled).image[0, 0].double().numpy()
    return made * (band.high - band.low) + band.low, learned.method


def guided(method: str) -> Way:
    """A way of `sharpen_scene`."""

    def way(place: GuidedPlace, task: SceneTask) -> tuple[Image, str]:
        made = sharpen_scene(place.low, place.guide, task, method=method, regressors=REGRESSORS)  # type: ignore[arg-type]
        return made.raster.values[0], made.method

    return way


WAYS: dict[str, Way] = {
    "nearest": nearest,
    "bicubic": bicubic,
    "bicubic, projected": bicubic_projected,
    "tsharp": guided("tsharp"),
    "atprk": guided("atprk"),
    "network unguided": unguided,
    "network guided": guided("network"),
    "auto": guided("auto"),
}


def main() -> None:
    """Make the places, sharpen each in every way, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scales", type=int, nargs="+", default=[4, 5])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=96, help="of the thermal scene in pixels")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("-s", "--set", action="append", default=[], dest="settings")
    parser.add_argument("--record", type=Path, default=Path("results/guided-sharpening.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    recipe = load_recipe(options.preset, options.settings)
    table: list[list[object]] = []
    for scale in options.scales:
        task = guided_task(recipe, scale, (options.side, options.side))
        for kind, settings in KINDS.items():
            found: dict[str, list[tuple[float, float, str]]] = {name: [] for name in WAYS}
            for seed in range(options.seeds):
                place = simulate_guided(
                    options.side, options.side, factor=scale, generator=np.random.default_rng(seed), **settings
                )
                for name, way in WAYS.items():
                    begun = time.perf_counter()
                    image, done = way(place, task)
                    error = float(np.sqrt(np.mean((image - place.truth) ** 2)))
                    found[name].append((error, time.perf_counter() - begun, done))
            for name, runs in found.items():
                errors, seconds, done = zip(*runs, strict=True)
                taken = ", ".join(f"{what} x{done.count(what)}" for what in dict.fromkeys(done))
                row = [round(float(np.mean(errors)), 4), round(float(np.std(errors)), 4), round(np.mean(seconds), 2)]
                table.append([f"x{scale}", kind, name, *row, taken])
                print(*table[-1], flush=True)
    record = make_record(
        "benchmark",
        "guided-sharpening",
        config={
            "recipe": recipe.to_dict(), "scales": options.scales, "seeds": options.seeds, "side": options.side,
            "regressors": list(REGRESSORS), "kinds": KINDS,
        },
        scores={
            "columns": ["scale", "place", "method", "RMSE, K", "deviation over seeds, K", "seconds", "returned"],
            "rows": table,
        },
        seconds=time.perf_counter() - started,
        data={},
    )  # fmt: skip
    write_record(options.record, record)
    print(json.dumps(asdict(record)["scores"], indent=1))


if __name__ == "__main__":
    main()
