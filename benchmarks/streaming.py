"""A whole tile (10980 x 10980 x 13) through `eorestore restore -m identity`: wall time and peak memory.

Beside it, in turn, a plain loop that copies the same windows with the same creation options and threads. Prints the
ratios and writes results/streaming.json. Needs about 15 GB of disk in --folder.

    python benchmarks/streaming.py --folder FOLDER --size 10980 --runs 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

PLAIN = """
import sys, rasterio
from rasterio.windows import Window
from eorestore.raster.files import creation_options
from eorestore.raster.encoding import Encoding
source, target, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
with rasterio.open(source) as read:
    profile = {"driver": "GTiff", "height": read.height, "width": read.width, "count": read.count,
               "dtype": read.dtypes[0], "crs": read.crs, "transform": read.transform}
    profile |= creation_options(Encoding(read.dtypes[0]), (read.height, read.width))
    with rasterio.open(target, "w", **profile) as write:
        for first in range(0, read.height, rows):
            window = Window(0, first, read.width, min(rows, read.height - first))
            write.write(read.read(window=window), window=window)
"""


def make_scene(path: Path, size: int, *, bands: tuple[str, ...] = ()) -> None:
    """A scene of real-looking texture: a generated place, repeated with other noise every time. bands: all, or some."""
    from eorestore.data.synthetic_scene import synthetic_scene
    from eorestore.raster import Grid, Window
    from eorestore.raster.encoding import Encoding
    from eorestore.raster.files import RasterWriter

    generator = np.random.default_rng(0)
    place = synthetic_scene((1024, 1024), generator=generator)
    encoding = Encoding("uint16", 1e-4, 0.0, 0.0)
    optical = place.optical.select(bands) if bands else place.optical
    stamp = encoding.encode(optical.values)
    grid = Grid(optical.grid.crs, optical.grid.transform, size, size)
    with RasterWriter(path, grid=grid, encoding=encoding, descriptions=optical.bands.names) as writer:
        for row in range(0, size, 1024):
            height = min(1024, size - row)
            strip = np.empty((len(stamp), height, size), np.uint16)
            for column in range(0, size, 1024):
                width = min(1024, size - column)
                noise = generator.integers(0, 40, (1, height, width), dtype=np.uint16)
                strip[:, :, column : column + width] = stamp[:, :height, :width] + noise
            writer.write(Window(row, 0, height, size), strip)


def run(command: list[str], output: Path) -> tuple[float, float]:
    """(seconds, peak MB) of a command in a process of its own."""
    output.unlink(missing_ok=True)
    environment = {**os.environ, "GDAL_CACHEMAX": "64", "OMP_WAIT_POLICY": "PASSIVE"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        message = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(f"{' '.join(command[:6])} failed: {message}")
    return seconds, usage.ru_maxrss / 1e3


def main() -> None:
    """Make the scene, run the three ways in turn, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--size", type=int, default=10980)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--record", type=Path, default=Path("results/streaming.json"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    scene = options.folder / f"scene-{options.size}.tif"
    if not scene.exists():
        make_scene(scene, options.size)
    out = options.folder / "out.tif"
    restore = [sys.executable, "-m", "eorestore", "-q", "restore", "-m", "identity", str(scene), "-o", str(out)]
    restore += ["--mask", "none", "--overwrite"]
    ways = {
        "plain loop": [sys.executable, "-c", PLAIN, str(scene), str(out), "256"],
        "restore --no-journal": [*restore, "--no-journal"],
        "restore": restore,
    }
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.runs):
        for name, command in ways.items():
            measured[name].append(run(command, out))
            print(name, "{:.1f} s, {:.0f} MB".format(*measured[name][-1]), flush=True)
    check_equal(scene, out)
    write_record_of(measured, options.size, options.record)


def check_equal(scene: Path, out: Path) -> None:
    """Every pixel of the last output against the scene."""
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(scene) as one, rasterio.open(out) as other:
        for first in range(0, one.height, 256):
            window = Window(0, first, one.width, min(256, one.height - first))
            if not np.array_equal(one.read(window=window), other.read(window=window)):
                raise SystemExit(f"rows from {first} on differ")


def write_record_of(measured: dict[str, list[tuple[float, float]]], size: int, path: Path) -> None:
    """The record: seconds, ratios to the plain loop pair by pair, peak memory."""
    from eorestore.experiments.record import make_record, write_record

    plain = [seconds for seconds, _ in measured["plain loop"]]
    rows = []
    for name, runs in measured.items():
        ratios = [seconds / base for (seconds, _), base in zip(runs, plain, strict=True)]
        rows.append(
            [
                name,
                round(statistics.median(seconds for seconds, _ in runs), 1),
                round(statistics.median(ratios), 2),
                round(max(memory for _, memory in runs)),
            ]
        )
    scores = {
        "columns": ["way", "seconds (median)", "ratio to the plain loop (median of pairs)", "peak MB"],
        "rows": rows,
    }
    config = {"size": size, "bands": 13, "dtype": "uint16", "model": "identity", "mask": "none"}
    record = make_record("benchmark", "streaming", config=config, scores=scores, seconds=sum(plain), data={})
    write_record(path, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
