"""Trains a preset once for every place, without that place, and scores it there beside the baselines.

The last checkpoint is taken, so that the place that is left out chooses nothing, and what ground looks like elsewhere
(models/ground_prior.py) is fitted without it. With --adapt the network is scored adapted to each scene, too. Where it
gives sigma, the coverage of its 90 % interval is reported by place, with factors fitted on the places that the other
folds left out. Prints the table and writes results/cloud-places.json. Folds that are finished are not trained again; a
broken one goes on.

    python benchmarks/leave_one_place_out.py --root DATA --folder RUNS --steps 300 --adapt 100
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from fit_ground_prior import fit_prior

from eorestore.config import RunConfig, load_config
from eorestore.data.manifest import SceneRow, read_manifest
from eorestore.experiments.calibration import balance, collect_ratios, fit_scale, held_out_coverage, share_inside
from eorestore.experiments.cases import SimulatedSkies
from eorestore.experiments.evaluate import ADAPTED, evaluate
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.experiments.training_run import train
from eorestore.models import ground_prior
from eorestore.models.checkpoint import load_checkpoint

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


def coverage(ratios: dict[str, Any], bands: tuple[str, ...]) -> dict[str, Any]:
    """Share of pixels inside the 90 % interval: as predicted, and with the factors of the other folds' places."""
    ones = np.ones(len(bands))
    others = {place: fit_scale({k: v for k, v in ratios.items() if k != place}, bands) for place in ratios}
    even = dict(zip(ratios, balance(ratios), strict=True))
    pooled = float(np.mean([share_inside(even[place], others[place]) for place in ratios]))
    return {
        "as predicted": {place: round(share_inside(values, ones), 4) for place, values in ratios.items()},
        "calibrated on the other places": {k: round(v, 4) for k, v in held_out_coverage(ratios, bands).items()},
        "pooled": round(pooled, 4),
    }


def main() -> None:
    """Train and score all folds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="presets/clearview.yaml")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--skies", type=int, default=64)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--adapt", type=int, default=0)
    parser.add_argument("--record", type=Path, default=Path("results/cloud-places.json"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    rest = {"training.steps": options.steps, "training.warmup": options.steps // 10}
    rest |= {"training.validate_every": options.steps, "data.validation_items": 4, "training.best_by": "loss"}
    rest |= {"training.best_is": "lowest", "training.pictures": 0, "data.skies": options.skies}
    config = load_config(options.preset, rest)
    root = options.root.resolve()
    known = read_manifest(Path(str(config.data.manifest)), root=root)
    rows = tuple(row for row in known if row.split != "test")
    table, ratios, bands = [], {}, ()
    for place in dict.fromkeys(row.place for row in rows):
        manifest = options.folder / f"without-{place}.csv"
        write_fold(rows, place, manifest)
        ground_prior.FILE = manifest.with_suffix(".safetensors")
        elsewhere = fit_prior(row for row in rows if row.place != place)
        safetensors.torch.save_file(elsewhere, ground_prior.FILE)
        checkpoint = train_fold(config, manifest, options.folder)
        models = [str(checkpoint), START, *BASELINES]
        scored = evaluate(
            models, data=manifest, simulate=COVERS, seeds=options.seeds, metrics=["psnr"], adapt=options.adapt
        )
        mine = [name for name in scored.models if name.removesuffix(ADAPTED) == str(checkpoint)]
        means = {name: {found.cover: found for found in scored.compare(name, BASELINES)} for name in (START, *mine)}
        for cover in COVERS:
            best = means[START][cover]
            line = [place, cover, best.best, best.means[best.best]]
            line += [means[name][cover].means[name] for name in (START, *mine)]
            line += [means[mine[-1]][cover].difference]
            table.append([round(value, 2) if isinstance(value, float) else value for value in line])
            print(*table[-1], flush=True)
        loaded = load_checkpoint(checkpoint)
        if "sigma" in loaded.model.extras:
            bands = loaded.processor.output.names
            skies = SimulatedSkies(COVERS, tuple(options.seeds), (20.0, 150.0))
            held_out = [row for row in rows if row.place == place]
            ratios |= collect_ratios(str(checkpoint), held_out, bands=bands, skies=skies)
    names = [config.model.name, *([f"{config.model.name} adapted"] if options.adapt else [])]
    scores: dict[str, Any] = {
        "columns": ["place left out", "cover", "best baseline", "its PSNR", START, *names, "difference, dB"],
        "rows": table,
    }
    if len(ratios) > 1:
        scores["coverage"] = coverage(ratios, bands)
    plain = {
        "preset": options.preset,
        "steps": options.steps,
        "skies": options.skies,
        "seeds": options.seeds,
        "covers": list(COVERS),
        "adapt": options.adapt,
    }
    files = [path for row in rows for path in (row.optical, row.sar)]
    seconds = time.perf_counter() - started
    record = make_record(
        "leave-one-place-out",
        config.name,
        config=plain,
        scores=scores,
        seconds=seconds,
        data=hash_paths(files, root=root),
    )
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
