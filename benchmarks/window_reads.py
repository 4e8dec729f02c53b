"""A window out of a huge .eoz file: seconds, share of the file that is read, and memory of coding and decoding.

A band of 10000 x 10000 pixels is simulated, written as a GeoTIFF strip by strip and given to `eorestore compress`. It
is one simulated field of 2048 x 2048 pixels, mirrored at its borders and raised by other decibels in every copy, so
that making it needs little time and memory. Then windows of 512 x 512 pixels are decoded, each in a process of its own:
seconds after the imports (opening the file, reading weights, decoding) and of the whole process, and the bytes that the
operating system handed over of the file, read-ahead of the buffer included.

    python benchmarks/window_reads.py --folder FOLDER --size 10000
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

import numpy as np

from eorestore.codec.container import ContainerReader
from eorestore.data.simulated_sar import simulated_sar
from eorestore.experiments.record import hash_path, make_record, write_record
from eorestore.raster import Grid, Window
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import RasterWriter
from eorestore.raster.files.crs import wkt_of

FIELD = 2048  # side of what is simulated
STRIP = 512
SIDE = 512  # of the windows
MOST_SECONDS, MOST_SHARE = 2.0, 0.02
SEED = 20261122

READ = """
import io, json, resource, sys, time
started = time.perf_counter()
import numpy as np
from eorestore.codec.stored_scene import StoredScene
from eorestore.raster import Window
imported, work = time.perf_counter(), time.process_time()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

class Counted(io.FileIO):
    count = calls = 0
    def readinto(self, buffer):
        got = super().readinto(buffer)
        Counted.count, Counted.calls = Counted.count + got, Counted.calls + 1
        return got
    def readall(self):
        raise SystemExit("the whole file was asked for")

path, row, column, side, out = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
with StoredScene(io.BufferedReader(Counted(path))) as scene:
    opened = time.perf_counter()
    values = scene.read(Window(row, column, side, side)).values
    ended, worked = time.perf_counter(), time.process_time()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
np.save(out, values)
print(json.dumps({
    "open": opened - imported, "seconds": ended - imported, "cpu_seconds": worked - work, "import": imported - started,
    "bytes": Counted.count, "reads": Counted.calls, "peak_mb": peak / 1024, "before_mb": before / 1024,
    "torch": "torch" in sys.modules,
}))
"""


def make_scene(path: Path, size: int) -> None:
    """A band of decibels in float32."""
    generator = np.random.default_rng(SEED)
    side = min(FIELD, size)
    field = simulated_sar((side, side), polarisation="VV", generator=generator).values[0]
    mirrored = np.block([[field, field[:, ::-1]], [field[::-1], field[::-1, ::-1]]])
    copies = -(-size // side)
    raised = generator.uniform(-3, 3, (copies, copies)).astype(np.float32)
    columns = np.arange(size)
    grid = Grid(wkt_of(32630), (10.0, 0.0, 399960.0, 0.0, -10.0, 4600020.0), size, size)
    with RasterWriter(
        path, grid=grid, encoding=Encoding("float32"), descriptions=("VV",), units=("decibel",)
    ) as writer:  # fmt: skip
        for row in range(0, size, STRIP):
            rows = np.arange(row, min(row + STRIP, size))
            strip = mirrored[np.ix_(rows % (2 * side), columns % (2 * side))]
            strip += raised[np.ix_(rows // side, columns // side)]
            writer.write(Window(row, 0, len(rows), size), strip[None])


def run(command: list[str], *, threads: int) -> tuple[str, dict[str, float]]:
    """(what it printed; seconds, seconds of work on all cores, peak MB) of a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "GDAL_CACHEMAX": "64"}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{' '.join(command[:6])} failed")
    worked = usage.ru_utime + usage.ru_stime
    return printed, {"seconds": seconds, "cpu_seconds": worked, "peak_mb": usage.ru_maxrss / 1024}


def windows_of(size: int) -> dict[str, tuple[int, int]]:
    """Row and column of the windows, by what is special of each."""
    middle = size // 2 // STRIP * STRIP
    return {
        "first tile": (0, 0),
        "one tile in the middle": (middle, middle),
        "across four tiles": (middle - 256, middle - 256),
        "across four tiles, elsewhere": (size // 4 + 100, size // 3 + 100),
        "last pixels": (size - SIDE, size - SIDE),
    }


def read_window(path: Path, scene: Path, place: tuple[int, int], *, threads: int) -> dict[str, Any]:
    """What decoding a window in a fresh process takes, and its PSNR30 against the scene."""
    import rasterio
    from rasterio.windows import Window as Part

    row, column = place
    out = path.with_suffix(".npy")
    command = [sys.executable, "-c", READ, str(path), str(row), str(column), str(SIDE), str(out)]
    printed, whole = run(command, threads=threads)
    found = json.loads(printed)
    with rasterio.open(scene) as file:
        original = file.read(1, window=Part(column, row, SIDE, SIDE))
    error = float(np.sqrt(np.mean((np.load(out)[0].astype(np.float64) - original) ** 2)))
    if error > 3:
        raise SystemExit(f"the window at {place} is off by {error:.2f} dB: another place was decoded")
    share = found["bytes"] / path.stat().st_size
    return found | {"process_seconds": whole["seconds"], "share": share, "psnr30": 20 * np.log10(30 / error)}


def main() -> None:
    """Make the scene, code it, read windows, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="scratch; a scene that is there is used again")
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--quality", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=1, help="of numpy's matrix products")
    parser.add_argument("--record", type=Path, default=Path("results/sar-window.json"))
    options = parser.parse_args()
    if options.size < 2 * SIDE:
        parser.error(f"a scene of less than {2 * SIDE} pixels has no window across four tiles")
    started = time.perf_counter()
    options.folder.mkdir(parents=True, exist_ok=True)
    scene, path = options.folder / f"window-{options.size}.tif", options.folder / f"window-{options.size}.eoz"
    if not scene.exists():
        make_scene(scene, options.size)
    print(f"{scene}: {scene.stat().st_size / 1e6:.0f} MB, {time.perf_counter() - started:.0f} s", flush=True)
    encode = [sys.executable, "-m", "eorestore", "-q", "compress", str(scene), "-o", str(path), "--overwrite"]
    _, encoding = run([*encode, "--quality", f"{options.quality:g}"], threads=options.threads)
    _, imports = run([sys.executable, "-c", "import eorestore.api, eorestore.codec.files"], threads=options.threads)
    encoding["imports_mb"] = imports["peak_mb"]  # of the encoder's peak this much is PyTorch and the like
    encoding["seconds_per_megapixel"] = encoding["seconds"] / (options.size**2 / 1e6)
    print("encoded:", ", ".join(f"{key} {value:.2f}" for key, value in encoding.items()), flush=True)
    rows, found = [], {}
    for name, place in windows_of(options.size).items():
        one = found[name] = read_window(path, scene, place, threads=options.threads)
        rows.append(
            [name, round(one["seconds"], 2), round(one["cpu_seconds"], 2), round(one["process_seconds"], 2),
             f"{100 * one['share']:.2f} %", one["reads"], round(one["peak_mb"])]
        )  # fmt: skip
        print(rows[-1], flush=True)
    with path.open("rb") as file:
        tiles = len(ContainerReader(file).tiles)
    encoding |= {
        "bytes": path.stat().st_size, "bits_per_pixel": 8 * path.stat().st_size / options.size**2, "tiles": tiles,
        "scene_bytes": scene.stat().st_size,
    }  # fmt: skip
    slowest, most = (max(one[key] for one in found.values()) for key in ("seconds", "share"))
    kept = slowest < MOST_SECONDS and most < MOST_SHARE
    columns = ["window of 512 x 512", "seconds", "of work", "with start", "of the file", "reads", "peak MB"]
    record = make_record(
        "benchmark",
        "sar-window",
        config={"size": options.size, "side": SIDE, "quality": options.quality, "threads": options.threads,
                "tile": STRIP, "most_seconds": MOST_SECONDS, "most_share": MOST_SHARE},
        scores={"encode": encoding, "windows": found, "kept": kept, "columns": columns, "rows": rows},
        seconds=time.perf_counter() - started,
        data={path.name: hash_path(path)},
    )  # fmt: skip
    write_record(options.record, record)
    print(f"{options.record}: slowest {slowest:.2f} s, at most {100 * most:.2f} % of the file; kept: {kept}")
    if not kept:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
