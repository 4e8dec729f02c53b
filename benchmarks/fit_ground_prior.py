"""Fits the Gaussian of models/ground_prior.py on clear scenes and writes src/eorestore/weights/ground.

Training and validation places of the manifest, each with the same weight whatever its number of scenes; test places
are left out. Seconds on one core.

    python benchmarks/fit_ground_prior.py --root DATA
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import safetensors.torch
import torch

from eorestore.data.clear_scenes import read_scene
from eorestore.data.manifest import SceneRow, read_manifest
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.models.ground_prior import FILE
from eorestore.models.scene_regression import sar_features
from eorestore.processing.table import PROCESSORS

PROCESSOR = "glf-cr-optional-cirrus"


def fit_prior(rows: Iterable[SceneRow]) -> dict[str, torch.Tensor]:
    """What `load_ground_prior` reads: over the clear scenes of the rows, each place with the same weight."""
    processor = PROCESSORS[PROCESSOR]()
    pixels = defaultdict(list)
    for row in rows:
        optical, sar, _ = read_scene(row)
        bands, radar = (torch.from_numpy(processor.encode_one(*one)) for one in (("cloudy", optical), ("sar", sar)))
        both = torch.cat([sar_features(radar[None])[0], bands])
        pixels[row.place].append(both[:, torch.from_numpy(optical.valid)].double())
    places = [torch.cat(found, dim=1) for found in pixels.values()]
    mean = torch.stack([found.mean(dim=1) for found in places]).mean(dim=0)
    apart = [found - mean[:, None] for found in places]
    covariance = torch.stack([found @ found.T / found.shape[1] for found in apart]).mean(dim=0)
    count = len(processor.inputs["cloudy"].names)
    return {"mean": mean.float(), "covariance": covariance.float(), "bands": torch.tensor(count)}


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, default=Path("presets/scenes/public-places.csv"))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--record", type=Path, default=Path("results/ground-prior.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    rows = [row for row in read_manifest(options.manifest, root=options.root.resolve()) if row.split != "test"]
    stored = fit_prior(rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(stored, options.out)
    names = PROCESSORS[PROCESSOR]().inputs["cloudy"].names
    mean, deviation = (found[-len(names) :] for found in (stored["mean"], stored["covariance"].diagonal().sqrt()))
    record = make_record(
        "ground-prior",
        "public-places",
        config={"processor": PROCESSOR, "places": sorted({row.place for row in rows})},
        scores={
            "columns": ["band", "mean reflectance", "standard deviation"],
            "rows": [
                [name, round(float(mean[index]), 4), round(float(deviation[index]), 4)]
                for index, name in enumerate(names)
            ],
        },
        seconds=time.perf_counter() - started,
        data=hash_paths([path for row in rows for path in (row.optical, row.sar)], root=options.root.resolve()),
    )
    write_record(options.record, record)
    for name, *values in record.scores["rows"]:
        print(name, *values)


if __name__ == "__main__":
    main()
