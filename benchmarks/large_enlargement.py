"""A scene of 4000 x 4000 pixels and four bands enlarged four times: seconds, peak memory, agreement with the input.

And the plan of a whole tile, 10980 x 10980 x 4, by `--dry-run`: tiles, memory, seconds by the speed of the run before.
The scene is a generated place, repeated. Prints both and writes results/large-enlargement.json. Needs 10 GB of disk.

    python benchmarks/large_enlargement.py --folder FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import rasterio
from streaming import make_scene, run

from eorestore.experiments.record import make_record, write_record

BANDS = ("B02", "B03", "B04", "B08")
TOLD = ("tiles", "tile", "overlap", "memory_mb", "output_mb_at_most", "seconds_if_all_is_restored")


def empty_scene(path: Path, like: Path, size: int) -> None:
    """A scene of `size` x `size` pixels with the header of another one and no pixel written."""
    with rasterio.open(like) as file:
        profile = file.profile | {"height": size, "width": size, "SPARSE_OK": True}
        names, tags = file.descriptions, file.tags()
    with rasterio.open(path, "w", **profile) as file:
        file.descriptions = names
        file.update_tags(**tags)


def dry_run(command: list[str]) -> dict[str, Any]:
    """What `--dry-run` says, and how many seconds it took."""
    started = time.perf_counter()
    text = subprocess.run([*command, "--dry-run", "--json"], check=True, capture_output=True, text=True).stdout
    said = json.loads(text)
    return {name: said[name] for name in TOLD} | {"seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    """Make the scene, plan, enlarge, plan the whole tile."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", default="sr-x4-light")
    parser.add_argument("--size", type=int, default=4000)
    parser.add_argument("--plan-size", type=int, default=10980)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--record", type=Path, default=Path("results/large-enlargement.json"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(options.folder)  # the speed of this run alone
    scene, out = options.folder / f"four-{options.size}.tif", options.folder / "enlarged.tif"
    if not scene.exists():
        make_scene(scene, options.size, bands=BANDS)
    whole = options.folder / f"plan-{options.plan_size}.tif"
    empty_scene(whole, scene, options.plan_size)
    way = ["-m", options.model, "--batch", str(options.batch), "--precision", options.precision, "--overwrite"]
    command = [sys.executable, "-m", "eorestore", "-q", "restore", *way, str(scene), "-o", str(out)]
    planned = dry_run(command)
    seconds, peak = run(command, out)
    told = json.loads(out.with_suffix(".tif.json").read_text(encoding="utf-8"))
    with rasterio.open(out) as file:
        size = [file.count, file.height, file.width]
    plan = dry_run([*command[:-3], str(whole), "-o", str(out)])
    scores = {
        "run": {
            "seconds": round(seconds, 1),
            "peak_mb": round(peak),
            "planned_mb": planned["memory_mb"],
            "tiles": planned["tiles"],
            "output": size,
            "deviation": told["enlargement"]["deviation"],
        },
        "plan": plan,
    }
    config = {"model": options.model, "size": options.size, "plan_size": options.plan_size, "bands": list(BANDS)}
    config |= {"batch": options.batch, "precision": options.precision}
    record = make_record("benchmark", "large-enlargement", config=config, scores=scores, seconds=seconds, data={})
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
