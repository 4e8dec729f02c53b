"""What a cache of experts saves: seconds and memory of a step of fusion training, with the experts run and cached.

One expert has the size of HAT (20.8 M parameters, by spandrel, with random weights, since time does not depend on
them), the others are of the size of the light ones. The pictures are made here and are as large as a crop, and the
cache holds all eight turns in fp32, so both trainings see the same numbers: the losses of every step are compared.
Each training is a process of its own; its record has its peak memory. Live and cached trainings take turns.

    python benchmarks/cached_training.py --folder FOLDER
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from eorestore.experiments.record import make_record, read_record, write_record
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.table import build_model
from eorestore.plain_values import write_yaml
from eorestore.processing.table import rgb_processor

CROP = 64
HAT = {
    "upscale": 4,
    "in_chans": 3,
    "img_size": 64,
    "window_size": 16,
    "compress_ratio": 3,
    "squeeze_factor": 30,
    "conv_scale": 0.01,
    "overlap_ratio": 0.5,
    "img_range": 1.0,
    "depths": (6,) * 6,
    "embed_dim": 180,
    "num_heads": (6,) * 6,
    "mlp_ratio": 2,
    "upsampler": "pixelshuffle",
    "resi_connection": "1conv",
}
"""Sizes of HAT as its paper has them (Chen et al., CVPR 2023)."""


def write_experts(folder: Path, light: int) -> list[str]:
    """The sources of one expert of HAT's size and so many light ones, all with random weights."""
    from spandrel import architectures

    torch.manual_seed(0)
    path = folder / "hat_size.safetensors"
    if not path.is_file():
        tensors = architectures.HAT.HAT(**HAT).state_dict()
        safetensors.torch.save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    sources = [str(path)]
    for number in range(light):
        place = folder / f"light-{number}"
        model = build_model("light-sr", {}, seed=number)
        save_checkpoint(place, model, rgb_processor(4), task="super-resolution", provenance={}, tile=256, overlap=32)
        sources.append(str(place))
    return sources


def write_pictures(folder: Path, count: int) -> None:
    """Pictures of 4 CROP pixels a side with edges and even colours."""
    for number in range(2 * count):
        split = "train_HR" if number < count else "val_HR"
        (folder / split).mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(number)
        field = gaussian_filter(generator.normal(size=(4 * CROP, 4 * CROP, 3)), (5, 5, 0))
        pixels = np.where(field > 0, 180, 70) + generator.normal(0, 4, field.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / split / f"{number}.png")


def write_preset(folder: Path, sources: list[str], settings: dict[str, Any], steps: int) -> Path:
    """The preset of both trainings."""
    values = {
        "name": "fusion",
        "task": "super-resolution",
        "processor": "rgb-x4",
        "seed": 1,
        "model": {"name": "expert-fusion", "settings": {"experts": len(sources), **settings}},
        "experts": [{"source": source} for source in sources],
        "data": {"manifest": str(folder / "pictures"), "crop": CROP, "items_per_epoch": 64, "validation_items": 1},
        "losses": {"mse": 1.0},
        "training": {
            "steps": steps,
            "batch": 1,
            "learning_rate": 1e-3,
            "log_every": 1,
            "validate_every": steps,
            "checkpoint_every": steps,
            "pictures": 0,
        },
        "gpu": "not needed",
        "tile": 64,
        "overlap": 32,
    }
    path = folder / "fusion.yaml"
    path.write_text(write_yaml(values), encoding="utf-8")
    return path


def run(arguments: list[str]) -> None:
    """A command of the package in a process of its own."""
    subprocess.run([sys.executable, "-m", "eorestore", *arguments], check=True, stdout=subprocess.DEVNULL)


def trained(folder: Path, preset: Path, name: str, *more: str) -> dict[str, Any]:
    """Losses of every step, seconds of a step (median, the first two left out) and peak memory of one training."""
    run(["train", "-c", str(preset), "--name", name, "-o", str(folder / "runs"), *more])
    place = folder / "runs" / name
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["kind"] == "train"]
    ends = [line["seconds"] for line in steps]
    between = [after - before for before, after in itertools.pairwise(ends[1:])]
    peak = read_record(place / "record.json").peak_memory_bytes
    return {"loss": [line["loss"] for line in steps], "seconds": statistics.median(between), "peak_bytes": peak}


def main() -> None:
    """Run both trainings in turns and print and record what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for experts, pictures, cache and runs; new")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--light", type=int, default=2, help="experts besides the one of HAT's size")
    parser.add_argument("--settings", default="{}", help="JSON: settings of the fusion")
    parser.add_argument("--out", type=Path, default=Path("results/cached-training.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    sources = write_experts(folder, options.light)
    write_pictures(folder / "pictures", count=2)
    preset = write_preset(folder, sources, json.loads(options.settings), options.steps)
    run(["cache", "-c", str(preset), "-o", str(folder / "cache"), "--precision", "fp32", "--turns", "8"])
    live, cached = [], []
    for number in range(options.repeats):
        live.append(trained(folder, preset, f"live-{number}"))
        cached.append(trained(folder, preset, f"cached-{number}", "-s", f"data.cache={folder / 'cache'}"))
    ratios = [one["seconds"] / other["seconds"] for one, other in zip(live, cached, strict=True)]
    difference = max(abs(one - other) / abs(one) for one, other in zip(live[0]["loss"], cached[0]["loss"], strict=True))
    scores = {
        "live_seconds_per_step": statistics.median(one["seconds"] for one in live),
        "cached_seconds_per_step": statistics.median(one["seconds"] for one in cached),
        "times_as_fast": statistics.median(ratios),
        "times_as_fast_each": ratios,
        "live_peak_mb": live[0]["peak_bytes"] / 2**20,
        "cached_peak_mb": cached[0]["peak_bytes"] / 2**20,
        "largest_relative_difference_of_losses": difference,
        "losses": live[0]["loss"],
    }
    config = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    del config["folder"], config["out"]
    config["hat"] = {key: list(value) if isinstance(value, tuple) else value for key, value in HAT.items()}
    seconds = time.perf_counter() - started
    write_record(
        options.out,
        make_record("benchmark", "cached-training", config=config, scores=scores, seconds=seconds, data={}),
    )
    print(json.dumps({key: value for key, value in scores.items() if key != "losses"}, indent=2))


if __name__ == "__main__":
    main()
