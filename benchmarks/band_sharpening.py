"""Trains the preset on each crop of DSen2 in turn and scores it on the other, beside bicubic and high-pass injection.

The last checkpoint is taken, so that the crop that is left out chooses nothing. Scores follow Wald's protocol: the 20 m
bands from bands of 40 m and 20 m. RMSE is in DN, the mean that of the six bands. Folds that are finished are not
trained again; a broken one goes on.

    python benchmarks/band_sharpening.py --root DATA --folder RUNS
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from eorestore.config import RunConfig, load_config
from eorestore.data.two_grid_scenes import TwoGridRow, read_scene_rows
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.experiments.sharpening import SharpeningScore, score_sharpening
from eorestore.experiments.training_run import train
from eorestore.models.checkpoint import load_checkpoint

BASELINES = ("bicubic-20m", "high-pass-injection")
TARGETS = (45.0, 15.0)
"""Percent that the mean RMSE should lie below each baseline's."""


def train_fold(config: RunConfig, row: TwoGridRow, rest: tuple[TwoGridRow, ...], folder: Path) -> Path:
    """The last checkpoint of a training without `row`, its config aside; validation is on the preset's own scenes."""
    name = f"without-{row.id}"
    manifest = folder / f"{name}.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "place", "split", "scene", "s2_offset"])
        writer.writerows([other.id, other.place, other.split, other.scene, other.s2_offset] for other in rest)
    fold = replace(config, name=name, data=replace(config.data, manifest=str(manifest), root=None))
    if not (folder / name / "record.json").is_file():
        train(fold, out=folder, resume=(folder / name / "config.yaml").is_file())
    return folder / name / "last"


def lines_of(scores: tuple[SharpeningScore, ...]) -> list[list[object]]:
    """Rows of the table of one scene; the model comes last, after the baselines."""
    against = scores[: len(BASELINES)]
    lines: list[list[object]] = []
    for score in scores:
        below = [round(score.percent_below(other), 1) for other in against]
        bands = [round(value, 2) for value in score.rmse_dn.values()]
        numbers = [round(score.mean_rmse_dn, 2), round(score.sam, 3), round(score.ergas, 3)]
        lines.append([score.scene, score.model, *bands, *numbers, *below])
    return lines


def main() -> None:
    """Train and score both folds, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="presets/s2-20m.yaml")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--record", type=Path, default=Path("results/band-sharpening.json"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    overrides = {} if options.steps is None else {"training.steps": options.steps}
    config = load_config(options.preset, overrides)
    root = options.root.resolve()
    rows = read_scene_rows(Path(str(config.data.manifest)), root=root)
    crops = tuple(row for row in rows if row.split == "train")
    table: list[list[object]] = []
    met, parameters = True, 0
    for crop in crops:
        checkpoint = train_fold(config, crop, tuple(row for row in rows if row != crop), options.folder)
        scores = score_sharpening([*BASELINES, str(checkpoint)], [crop])
        model = replace(scores[-1], model=config.name)
        table += lines_of((*scores[:-1], model))
        reached = [model.percent_below(other) for other in scores[:-1]]
        met = met and all(found >= wanted for found, wanted in zip(reached, TARGETS, strict=True))
        parameters = sum(values.numel() for values in load_checkpoint(checkpoint).model.parameters())
        print(*table[-1], flush=True)
    bands = [f"RMSE {name}" for name in model.rmse_dn]
    columns = ["crop left out", "model", *bands, "mean RMSE, DN", "SAM, degrees", "ERGAS"]
    columns += [f"% below {name}" for name in BASELINES]
    record = make_record(
        "benchmark",
        "band-sharpening",
        config={"preset": config.to_dict(), "baselines": list(BASELINES), "targets": list(TARGETS)},
        scores={"columns": columns, "rows": table, "parameters": parameters, "targets met": met},
        seconds=time.perf_counter() - started,
        data=hash_paths([path for row in rows for path in row.files], root=root),
    )
    write_record(options.record, record)
    print(json.dumps(asdict(record)["scores"], indent=1))


if __name__ == "__main__":
    main()
