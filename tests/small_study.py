"""A study of seconds: three tiny GLF-CR rows and a baseline over two synthetic places; written for the tests."""

from __future__ import annotations

from pathlib import Path

import yaml

from eorestore.experiments.study import Study, load_study
from small_scenes import make_world, write_world

STEPS = 3
BASE = {
    "name": "base",
    "task": "cloud-removal",
    "processor": "glf-cr-optional-cirrus",
    "model": {"name": "glf-cr", "settings": {"channels": 8, "growth": 4, "blocks": 1, "layers": 1, "heads": 2}},
    "data": {
        "manifest": "scenes.csv", "crop": 96, "cloud_size_px": [4, 12], "items_per_epoch": 8, "validation_items": 2,
    },
    "losses": {"l1": 1.0},
    "training": {
        "batch": 4, "warmup": 1, "learning_rate": 1e-3, "log_every": 1, "best_by": "psnr_cloud", "best_is": "highest",
        "pictures": 0,
    },
    "tile": 32,
    "overlap": 8,
    "gpu": "not needed",
}  # fmt: skip
WIDER = {"model.settings.growth": 6}


def small_study_values() -> dict:
    """A step of row `plain` costs less than a third of the budget and more than a quarter of it."""
    return {
        "name": "small",
        "base": BASE,
        "parameters": [1000, 100_000],
        "learning_rates": [1e-3, 3e-3],
        "budget": {"train_flops": 8.0e8, "crop": 32, "batch": 2, "validations": 2, "tune_share": 0.5},
        "seeds": {"main": 2, "cell": 1},
        "evaluate": {
            "split": "validation", "covers": [0.3], "seeds": [0, 1], "metrics": ["psnr", "mae"], "strata": ["texture"],
            "cloud_size_px": [8, 24],
        },
        "reference": "plain",
        "rows": [
            {"name": "plain", "main": True},
            {"name": "wider", "overrides": WIDER, "learning_rate_of": "plain"},
            {"name": "inpaint", "baseline": "inpaint"},
        ],
    }  # fmt: skip


def write_places(folder: Path) -> Path:
    """scenes.csv with one training and two validation scenes of 64 x 64 pixels."""
    lines = ["id,place,split,optical,sar,s2_offset"]
    for number, split in enumerate(("train", "validation", "validation")):
        write_world(folder / f"place{number}", make_world((64, 64), seed=number))
        lines.append(f"scene{number},place{number},{split},place{number}/clear.tif,place{number}/s1.tif,0")
    (folder / "scenes.csv").write_text("\n".join(lines) + "\n")
    return folder / "scenes.csv"


def write_study(folder: Path, values: dict) -> Path:
    (folder / "small.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return folder / "small.yaml"


def small_study(folder: Path, values: dict | None = None) -> Study:
    return load_study(write_study(folder, values or small_study_values()))
