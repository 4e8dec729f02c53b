"""Trains a preset once for every place, without that place, and scores it there beside the baselines.

The last checkpoint is taken, so that the place that is left out chooses nothing. Prints the table and writes
results/cloud-places.json. Folds that are finished are not trained again; a broken one goes on.

    python benchmarks/leave_one_place_out.py --root DATA --folder RUNS --steps 300
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import replace
from pathlib import Path

from eorestore.config import RunConfig, load_config
from eorestore.data.manifest import SceneRow, read_manifest
from eorestore.experiments.evaluate import evaluate
from eorestore.experiments.record import make_record, write_record
from eorestore.experiments.training_run import train

BASELINES = ("identity", "band-mean", "inpaint", "sar-regression")
START = "scene-estimate"  # what the network starts from
COVERS = (0.2, 0.4, 0.7)


def write_fold(rows: tuple[SceneRow, ...], place: str, path: Path) -> None:
    """The manifest of a fold: `place` is the test split, every other place trains, and absolute paths."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "place", "split", "optical", "sar", "s2_offset", "sar_unit"])
        for row in rows:
            split = "test" if row.place == place else "train"
            writer.writerow([row.id, row.place, split, row.optical, row.sar, row.s2_offset, row.sar_unit])


def train_fold(config: RunConfig, manifest: Path, folder: Path) -> Path:
    """The last checkpoint of a fold. Validation is on generated scenes, since every real place trains or tests."""
    name = manifest.stem
    data = replace(config.data, manifest=str(manifest), root=None)
    fold = replace(config, name=name, data=data)
    if not (folder / name / "record.json").is_file():
        train(fold, out=folder, resume=(folder / name / "config.yaml").is_file())
    return folder / name / "last"


def main() -> None:
    """Train and score all folds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="presets/glf-cr-compact.yaml")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--skies", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--record", type=Path, default=Path("results/cloud-places.json"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rest = {"training.steps": options.steps, "training.warmup": options.steps // 10}
    rest |= {"training.validate_every": options.steps, "data.validation_items": 4, "training.best_by": "loss"}
    rest |= {"training.best_is": "lowest", "training.pictures": 0, "data.skies": options.skies}
    config = load_config(options.preset, rest)
    known = read_manifest(Path(str(config.data.manifest)), root=options.root.resolve())
    rows = tuple(row for row in known if row.split != "test")
    table = []
    for place in dict.fromkeys(row.place for row in rows):
        manifest = options.folder / f"without-{place}.csv"
        write_fold(rows, place, manifest)
        checkpoint = train_fold(config, manifest, options.folder)
        scored = evaluate(
            [str(checkpoint), START, *BASELINES], data=manifest, simulate=COVERS, seeds=options.seeds, metrics=["psnr"]
        )
        started_from = {found.cover: found.means[START] for found in scored.compare(START, BASELINES)}
        for found in scored.compare(scored.models[0], BASELINES):
            line = [place, found.cover, found.best, found.means[found.best], started_from[found.cover]]
            line += [found.means[found.model], found.difference]
            table.append([round(value, 2) if isinstance(value, float) else value for value in line])
            print(*table[-1], flush=True)
    scores = {
        "columns": ["place left out", "cover", "best baseline", "its PSNR", START, "glf-cr-compact", "difference, dB"],
        "rows": table,
    }
    plain = {
        "preset": options.preset,
        "steps": options.steps,
        "skies": options.skies,
        "seeds": options.seeds,
        "covers": list(COVERS),
    }
    record = make_record(
        "leave-one-place-out", config.name, config=plain, scores=scores, seconds=time.perf_counter() - started, data={}
    )
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
