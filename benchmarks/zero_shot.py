"""Enlarges rasters whose truth is known by the zero-shot methods, and writes RMSE in kelvin and seconds of each.

Truth, averaged over blocks of the scale, is what every method gets. The rasters are the public ones of the test data,
or any others: .npy files of kelvin (y, x), cropped from the top left to whole blocks. Nothing is chosen by what comes
out: settings are those of the shipped recipes.

    python benchmarks/zero_shot.py --table methods --root DATA [--scale 2] [--plan-steps 2000] [--zssr]
    python benchmarks/zero_shot.py --table inference --root DATA
    python benchmarks/zero_shot.py --table design --root DATA
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import observe, project, repeat
from eorestore.metrics.seams import seam_strength
from eorestore.processing.sensor import Sensor
from eorestore.raster import THERMAL, Grid, MemoryPixels, Raster
from eorestore.restorer.inference import Execution
from eorestore.restorer.zero_shot import learn, scene_restorer
from eorestore.restorer.zero_shot_recipe import SceneTask, ZeroShotRecipe, load_recipe

PUBLIC = ("amsr2_tb.npz", "aster_lst_250m_0.npy", "mod11a1_1km.npy", "ahs_madrid_20m.npy", "landsat8_b10.npy")
AMSR2_WINDOW = (slice(900, 1140), slice(0, 240))
SENSOR = Sensor("mean")
FACTOR_90 = 1.6448536


@dataclass(frozen=True)
class Case:
    """A raster: truth in kelvin (1, 1, y, x), and what the sensor makes of it."""

    name: str
    truth: Tensor
    low: Tensor
    scale: int


@dataclass(frozen=True)
class Outcome:
    """An image in kelvin, its sigma where there is one, seconds, and what is said of it."""

    image: Tensor
    seconds: float
    told: dict[str, Any]
    sigma: Tensor | None = None


def cases(folder: Path, names: list[str], scale: int) -> Iterator[Case]:
    """The rasters of a folder, cropped to whole blocks."""
    for name in names:
        path = folder / name
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                values = archive["temperature"][AMSR2_WINDOW] * 0.01
        else:
            values = np.load(path, allow_pickle=False)
        height, width = (side // scale * scale for side in values.shape)
        truth = torch.from_numpy(values[:height, :width].astype(np.float64))[None, None]
        yield Case(path.stem, truth, observe(truth, SENSOR, factor=scale), scale)


def by_network(case: Case, recipe: ZeroShotRecipe) -> Outcome:
    """The scene learned and enlarged as `eorestore zero-shot` does it, in memory."""
    began = time.perf_counter()
    pixels = MemoryPixels(raster_of(case.low[0].numpy().astype(np.float32)))
    task = SceneTask(recipe, case.scale).settled(pixels.grid.size)
    restorer, _ = scene_restorer(task, pixels, Execution())
    found = learn(task, pixels, restorer)
    scaling = restorer.processor.output
    with torch.inference_mode():
        output = found.model(low=torch.from_numpy(scaling.encode(pixels.read_raw()))[None].float())
    image = torch.from_numpy(scaling.decode(output.image[0].numpy()))[None].double()
    span = scaling.bands[0].high - scaling.bands[0].low
    seconds = time.perf_counter() - began
    return Outcome(image, seconds, found.to_json(), output.extras["sigma"].double() * span)


def raster_of(values: NDArray[np.float32]) -> Raster:
    """(1, y, x) kelvin as a Raster without a place."""
    grid = Grid("", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0), *values.shape[1:])
    return Raster(values, np.isfinite(values).all(axis=0), THERMAL, grid)


def plain(make: Callable[[Case], Tensor]) -> Callable[[Case], Outcome]:
    """A method without a network."""

    def run(case: Case) -> Outcome:
        began = time.perf_counter()
        image = make(case)
        return Outcome(image, time.perf_counter() - began, {})

    return run


def bicubic_projected(case: Case) -> Tensor:
    """Bicubic enlargement with the block means of the input."""
    return project(enlarge(case.low, factor=case.scale), case.low, SENSOR, factor=case.scale)


def rmse(image: Tensor, case: Case) -> float:
    """Root mean squared error in kelvin."""
    return float((image - case.truth).square().mean().sqrt())


def consistency(image: Tensor, case: Case) -> float:
    """Largest difference between the image's block means and the input, in kelvin."""
    return float((observe(image, SENSOR, factor=case.scale) - case.low).abs().max())


def methods(options: argparse.Namespace) -> dict[str, Callable[[Case], Outcome]]:
    """The rows of the table of methods."""
    rows: dict[str, Callable[[Case], Outcome]] = {
        "nearest": plain(lambda case: repeat(case.low, factor=case.scale)),
        "bicubic": plain(lambda case: enlarge(case.low, factor=case.scale)),
        "bicubic, projected": plain(bicubic_projected),
    }
    if options.zssr:
        rows["ZSSR, from the paper"] = by_zssr
    if options.plan_steps:
        plan = load_recipe("plan", [f"learning.steps={options.plan_steps}"])
        rows[f"the plan, {options.plan_steps} steps"] = lambda case: by_network(case, plan)
    for name in options.recipes.split(","):
        for seed in range(options.seeds):
            recipe = load_recipe(name, [*options.set, f"seed={seed}"])
            rows[f"zero-shot {name}, seed {seed}"] = lambda case, recipe=recipe: by_network(case, recipe)
    return rows


def by_zssr(case: Case) -> Outcome:
    """ZSSR on anomalies in the range of the input, as its paper has images in 0 ... 1."""
    from eorestore.restorer.scene_learning import multiplies_bf16
    from eorestore.restorer.zssr import ZssrSettings, zssr

    low, high = case.low.min(), case.low.max()
    settings = ZssrSettings(precision="bf16" if multiplies_bf16() else "fp32")
    scaled = ((case.low - low) / (high - low)).float()[0]
    result = zssr(scaled, scale=case.scale, sensor=SENSOR, seed=0, settings=settings)
    image = result.image[None].double() * (high - low) + low
    return Outcome(image, result.seconds, {"steps": result.steps, "precision": settings.precision})


def method_table(options: argparse.Namespace, found: list[Case]) -> dict[str, Any]:
    """RMSE and seconds by method and raster."""
    lines, told = [], {}
    base = {case.name: rmse(bicubic_projected(case), case) for case in found}
    for name, method in methods(options).items():
        line: list[Any] = [name]
        for case in found:
            outcome = method(case)
            error = rmse(outcome.image, case)
            line += [round(error, 4), round(outcome.seconds, 1)]
            facts = {
                "rmse_kelvin": error,
                "share_of_projected_bicubic": error / base[case.name],
                "consistency_kelvin": consistency(outcome.image, case),
                "bias_kelvin": float((outcome.image - case.truth).mean()),
                "seconds": outcome.seconds,
            }
            if outcome.sigma is not None:
                inside = (outcome.image - case.truth).abs() <= FACTOR_90 * outcome.sigma
                facts["coverage_90"] = float(inside.double().mean())
            told[f"{name} | {case.name}"] = {**facts, **_short(outcome.told)}
            print(name, case.name, f"{error:.4f} K", f"{outcome.seconds:.1f} s", flush=True)
        lines.append(line)
    heads = [head for case in found for head in (f"{case.name}, K", "s")]
    return {"columns": ["x" + str(options.scale), *heads], "rows": lines, "details": told}


def inference_table(options: argparse.Namespace, found: list[Case]) -> dict[str, Any]:
    """One network, learned once a raster and recipe, taken over the scene in five ways."""
    ways = {
        "plain": ["inference.ensemble=none"],
        "overlapping patches": ["inference.ensemble=none", "inference.passes=overlapping", "inference.patch=32"],
        "random shifts, 6 passes, 0.33": ["inference.ensemble=none", "inference.passes=shifted", "inference.patch=32"],
        "eight flips and turns": ["inference.ensemble=mean"],
        "eight, median": ["inference.ensemble=median"],
        "all: shifts and eight": ["inference.ensemble=mean", "inference.passes=shifted", "inference.patch=32"],
    }
    lines, told = [], {}
    for network in ("fast network", "plan's network"):
        begin = [] if network == "fast network" else _plan_network(options)
        for name, chosen in ways.items():
            line: list[Any] = [network, name]
            seams = []
            for case in found:
                recipe = load_recipe("balanced", [*options.set, *begin, *chosen, "inference.margin=-1"])
                outcome = by_network(case, recipe)
                borders = list(range(32 * case.scale, case.truth.shape[-2], 32 * case.scale))
                valid = torch.ones_like(case.truth, dtype=torch.bool)
                seams.append(float(seam_strength(outcome.image, valid=valid, rows=borders)))
                line += [round(rmse(outcome.image, case), 4), round(outcome.seconds, 1)]
                told[f"{network} | {name} | {case.name}"] = _short(outcome.told)
            lines.append([*line, round(float(np.nanmean(seams)), 3)])
            print(*lines[-1], flush=True)
    heads = [head for case in found for head in (f"{case.name}, K", "s")]
    return {"columns": ["network", "inference", *heads, "seams"], "rows": lines, "details": told}


def _plan_network(options: argparse.Namespace) -> list[str]:
    settings = "{kind: residual-attention, channels: 32, blocks: 4, channel_attention: true, norm: group}"
    return ["network.start=none", f"network.settings={settings}", f"learning.steps={options.design_steps}"]


def design_table(options: argparse.Namespace, found: list[Case]) -> dict[str, Any]:
    """What each choice of the plan is worth: networks of one size from drawn weights, one budget of steps."""
    small = "kind: residual-attention, channels: 32, blocks: 4"
    steps = ["network.start=none", f"learning.steps={options.design_steps}", "inference.margin=-1"]
    network = f"network.settings={{{small}}}"
    rows = {
        "no attention, L1, 70/30, area mean": [network],
        "channel attention": [f"network.settings={{{small}, channel_attention: true}}"],
        "spatial attention": [f"network.settings={{{small}, spatial_attention: true}}"],
        "both": [f"network.settings={{{small}, channel_attention: true, spatial_attention: true}}"],
        "both and GroupNorm": [
            f"network.settings={{{small}, channel_attention: true, spatial_attention: true, norm: group}}"
        ],
        "L1 + edge": [network, "learning.l1=0.6", "learning.edge=0.15"],
        "L1 + edge + high frequency": [
            network, "learning.l1=0.6", "learning.edge=0.15", "learning.high_frequency=0.25",
        ],
        "uniform sampling": [network, "learning.busy_share=0"],
        "the plan's degradation": [network, "learning.degradation=plan"],
        "fast network": ["network.settings={kind: fast, channels: 32, blocks: 4}"],
        "fast network, spatial attention": [
            "network.settings={kind: fast, channels: 32, blocks: 4, spatial_attention: true}"
        ],
    }  # fmt: skip
    lines, told = [], {}
    for name, chosen in rows.items():
        line: list[Any] = [name]
        for case in found:
            errors, seconds = [], []
            for seed in range(options.seeds):
                recipe = load_recipe("balanced", [*options.set, *steps, *chosen, f"seed={seed}"])
                outcome = by_network(case, recipe)
                errors.append(rmse(outcome.image, case))
                seconds.append(outcome.seconds)
                told[f"{name} | {case.name} | {seed}"] = {"rmse_kelvin": errors[-1], **_short(outcome.told)}
            line += [round(float(np.mean(errors)), 4), round(float(np.mean(seconds)), 1)]
        lines.append(line)
        print(*line, flush=True)
    heads = [head for case in found for head in (f"{case.name}, K", "s")]
    return {"columns": ["design", *heads], "rows": lines, "details": told}


def _short(told: dict[str, Any]) -> dict[str, Any]:
    kept = ("method", "share_of_network", "judged", "learned", "steps", "precision")
    crop = {"crop": told["recipe"]["learning"]["crop"]} if "recipe" in told else {}
    return {**{name: told[name] for name in kept if name in told}, **crop}


def main() -> None:
    """Run one table and write its record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", choices=("methods", "inference", "design"), default="methods")
    parser.add_argument("--root", type=Path, required=True, help="folder of the rasters")
    parser.add_argument("--rasters", help="names of .npy files in it; the five public ones without it")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--recipes", default="balanced")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plan-steps", type=int, default=0)
    parser.add_argument("--design-steps", type=int, default=200)
    parser.add_argument("--zssr", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-s", "--set", action="append", default=[])
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = options.rasters.split(",") if options.rasters else list(PUBLIC)
    found = list(cases(options.root, names, options.scale))
    tables = {"methods": method_table, "inference": inference_table, "design": design_table}
    started = time.perf_counter()
    by_network(replace(found[0], low=found[0].low[..., :32, :32]), load_recipe("fast", options.set))  # start-up
    scores = tables[options.table](options, found)
    recipes = {name: load_recipe(name, options.set).to_dict() for name in options.recipes.split(",")}
    config = {"table": options.table, "scale": options.scale, "recipes": recipes, "set": options.set}
    name = f"zero-shot-{options.table}-x{options.scale}" if options.table == "methods" else f"zero-shot-{options.table}"
    record = make_record(
        "benchmark",
        name,
        config={**config, "plan_steps": options.plan_steps, "seeds": options.seeds},
        scores=scores,
        seconds=time.perf_counter() - started,
        data=hash_paths([options.root / name for name in names], root=options.root),
    )
    write_record(options.record or Path(f"results/{name}.json"), record)
    print(json.dumps({key: asdict(record)["scores"][key] for key in ("columns", "rows")}))


if __name__ == "__main__":
    main()
