"""How well a scene's own network enlarges the pictures of Set5 twice, beside bicubic enlargement and ZSSR.

PSNR on luma without the outermost 2 pixels; the small picture is that of MATLAB's imresize, rounded to 8 bits, and so
is every result. Ours learns the three bands one by one with the sensor `bicubic`. ZSSR is the package's own writing of
it with the paper's schedule; it takes minutes a picture, so that only those named after --zssr go through it.

    python benchmarks/zero_shot_pictures.py --root DATA/sr --zssr bird,butterfly
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eorestore.data.degradation import Degradation
from eorestore.data.image_files import image_paths, read_image
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import project
from eorestore.metrics.luma import psnr_luma
from eorestore.processing.sensor import Sensor
from eorestore.raster import RGB, Grid, MemoryPixels, Raster
from eorestore.restorer.inference import Execution, run_model
from eorestore.restorer.plan import LOW
from eorestore.restorer.zero_shot import learn, scene_restorer
from eorestore.restorer.zero_shot_recipe import SceneTask, ZeroShotRecipe, load_recipe
from eorestore.restorer.zssr import ZssrSettings, zssr

SCALE = 2
NAMES = ("baby", "bird", "butterfly", "head", "woman")
"""The pictures of Set5 in the order of their files."""
SENSOR = Sensor("bicubic")
COLUMNS = ["picture", "method", "PSNR, dB", "steps", "seconds", "returned"]


@dataclass(frozen=True)
class Enlarged:
    """A picture (3, y, x) in levels. steps: that were learned. returned: what the image is, in words."""

    image: Tensor
    steps: int = 0
    returned: str = ""
    start: str | None = None


def bicubic(low: Tensor) -> Enlarged:
    """Nothing but interpolation."""
    return Enlarged(enlarge(low, factor=SCALE))


def projected(low: Tensor) -> Enlarged:
    """Interpolated and brought to agree with the small picture."""
    return Enlarged(project(enlarge(low, factor=SCALE), low, SENSOR, factor=SCALE))


def learned(low: Tensor, recipe: ZeroShotRecipe) -> Enlarged:
    """By a network that learned the picture, or bicubic enlargement where it shows no gain."""
    size = low.shape[-2], low.shape[-1]
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), *size)
    raster = Raster(low.numpy(), np.ones(size, bool), RGB, grid)
    pixels = MemoryPixels(raster)
    task = SceneTask(recipe, SCALE).settled(size)
    restorer, _ = scene_restorer(task, pixels, Execution())
    found = learn(task, pixels, restorer)
    encoded = restorer.processor.encode({LOW: raster})
    image = run_model(found.model, encoded, restorer.execution)[0]
    whole = restorer.processor.decode(image, grid.scale(SCALE), np.ones(image.shape[-2:], bool))
    taken = found.learned
    words = f"{found.method}, share {found.model.stages.share:g}, step {taken.kept_step}"
    return Enlarged(torch.from_numpy(whole.values), taken.steps, words, found.start)


def by_zssr(low: Tensor, settings: ZssrSettings, *, seed: int) -> Enlarged:
    """By our writing of ZSSR."""
    result = zssr(low, scale=SCALE, sensor=SENSOR, seed=seed, settings=settings)
    return Enlarged(result.image, result.steps)


def psnr(image: Tensor, high: Tensor) -> float:
    """On luma in decibels, of pictures in levels."""
    valid = torch.ones_like(high[:1], dtype=torch.bool)
    return psnr_luma(image / 255, high / 255, valid=valid, shave=SCALE).item()


def means(rows: list[list[Any]], pictures: tuple[str, ...]) -> list[list[Any]]:
    """Rows of the methods that all pictures went through."""
    by_method: dict[str, list[list[Any]]] = {}
    for row in rows:
        by_method.setdefault(row[1], []).append(row)
    return [
        ["mean", method, *(round(fmean(row[place] for row in group), 3) for place in (2, 3, 4)), ""]
        for method, group in by_method.items()
        if len(group) == len(pictures)
    ]


def names(text: str) -> tuple[str, ...]:
    """Names of pictures, separated by commas."""
    chosen = tuple(part for part in text.split(",") if part)
    unknown = set(chosen) - set(NAMES)
    if unknown:
        raise argparse.ArgumentTypeError(f"no picture {', '.join(sorted(unknown))}; Set5 has {', '.join(NAMES)}")
    return chosen


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="folder with Set5")
    parser.add_argument("--pictures", type=names, default=NAMES, metavar="NAME,...", help="by default all")
    parser.add_argument("--recipe", default="balanced")
    parser.add_argument("--start", default="auto", metavar="NAME|DIR|none", help="weights that ours begins with")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="over the recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--zssr", type=names, default=(), metavar="NAME,...", help="pictures for ZSSR, slow")
    parser.add_argument("--zssr-steps", type=int, default=ZssrSettings.steps, help="at most")
    parser.add_argument("--zssr-precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--record", type=Path, default=Path("results/zero-shot-pictures.json"))
    options: argparse.Namespace = parser.parse_args()
    aside = set(options.zssr) - set(options.pictures)
    if aside:
        parser.error(f"--zssr names {', '.join(sorted(aside))}, which --pictures leaves out")
    return options


def main() -> None:
    """Enlarge every picture by every method, score it, and write the record."""
    options = parsed()
    given = [f"inference.sensor={SENSOR.words}", f"network.start={options.start}", f"seed={options.seed}"]
    recipe = load_recipe(options.recipe, [*given, *options.set])
    rival = ZssrSettings(steps=options.zssr_steps, value_range=(0.0, 255.0), precision=options.zssr_precision)
    started = time.perf_counter()
    paths = dict(zip(NAMES, image_paths(options.root / "Set5"), strict=True))
    rows: list[list[Any]] = []
    start: str | None = None
    for name in options.pictures:
        high = Degradation(SCALE).crop(torch.from_numpy(read_image(paths[name]).values))
        low = 255 * Degradation(SCALE).apply(high / 255)
        methods: dict[str, Callable[[Tensor], Enlarged]] = {
            "bicubic": bicubic,
            "bicubic, projected": projected,
            "zero-shot": lambda small: learned(small, recipe),
        }
        if name in options.zssr:
            methods["ZSSR"] = lambda small: by_zssr(small, rival, seed=options.seed)
        for method, run in methods.items():
            began = time.perf_counter()
            found = run(low)
            seconds = time.perf_counter() - began
            start = found.start or start
            rows.append(
                [name, method, round(psnr(found.image, high), 3), found.steps, round(seconds, 3), found.returned]
            )
            print(*rows[-1], flush=True)
    told = recipe.to_dict()
    told["network"]["start"] = Path(options.start).name  # a folder of this machine says nothing elsewhere
    record = make_record(
        "benchmark",
        "zero-shot-pictures",
        config={"scale": SCALE, "recipe": told, "start_sha256": start, "zssr": asdict(rival)},
        scores={"columns": COLUMNS, "rows": [*rows, *means(rows, options.pictures)]},
        seconds=time.perf_counter() - started,
        data=hash_paths([paths[name] for name in options.pictures], root=options.root),
    )
    write_record(options.record, record)
    print(json.dumps(record.scores, indent=1))


if __name__ == "__main__":
    main()
