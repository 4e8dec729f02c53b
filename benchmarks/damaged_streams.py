"""Thousands of damaged .eoz files through the shipped decoders: each has to end in an error or in intact tiles.

Small scenes of two bands, simulated, with and without gaps, are coded in every mode. Their files are damaged
(tests/mutated_streams.py: bits, bytes and runs changed, lost, inserted and swapped, files cut short; half of it in
header and index) and read with `keep_going`, in processes of their own. What may come of it:

    error            the file is refused by an error of ours
    tiles reported   damaged tiles are named and left as gaps, every pixel of the others is as it was
    unchanged        everything is as it was: the bytes are the same, or more of them stand behind the last tile

All else is a failure: another exception, a pixel or a line of the header that changed without a word, more than 10
seconds, or memory (`--gigabytes` bounds what a process may ask for beyond its start). A tenth as many files are damaged
and their checksums made right again, as no accident does: there other pixels are no failure, all the rest is.

    nice -n 10 python benchmarks/damaged_streams.py --streams 20000
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import io
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from eorestore.codec.container import ContainerReader, ContainerWriter  # noqa: E402
from eorestore.codec.fallback import as_jpeg2000  # noqa: E402
from eorestore.codec.modes import Wish  # noqa: E402
from eorestore.codec.scene import compress_scene, plan_header  # noqa: E402
from eorestore.codec.source import FileSource, RasterSource, Source  # noqa: E402
from eorestore.codec.stored_scene import StoredScene  # noqa: E402
from eorestore.data.simulated_sar import reflectivity, speckle  # noqa: E402
from eorestore.errors import EorestoreError  # noqa: E402
from eorestore.raster import SENTINEL1, Grid, Raster, Window  # noqa: E402
from eorestore.raster.encoding import Encoding  # noqa: E402
from eorestore.raster.files import RasterWriter, open_raster  # noqa: E402
from eorestore.raster.files.crs import wkt_of  # noqa: E402
from mutated_streams import forged_front, forged_tile, mutated  # noqa: E402

SEED = 20261122
LONGEST = 10  # seconds for one file
CHUNK = 500  # files of one process
FORGED = 0.1  # share of the files that get right checksums on top
TAGS = {"DATETIME": "2021-05-10", "PLATFORM": "SENTINEL-1A"}
WISHES = {
    "lossless": Wish(lossless=True), "max-error": Wish(max_error=0.5), "fidelity": Wish(quality=5.0),
    "quicklook": Wish(quicklook=True),
}  # fmt: skip
WIDE, HIGH, SQUARE = (12, 268), (268, 12), (64, 64)  # two tiles side by side, one above the other, and one
FAILED = "failure"
WORDS = {"damaged": "damaged", "forged": "damaged, checksums made right again"}


def scene(size: tuple[int, int], *, gaps: bool) -> Raster:
    """VV and VH in decibel over the same ground. gaps: a corner without any, a row of one band, a few marked -99."""
    generator = np.random.default_rng(SEED)
    ground = reflectivity(size, generator=generator)
    planes = [mean + ground + 10 * np.log10(speckle(size, looks=4.4, generator=generator)) for mean in (-11.0, -18.0)]
    values, valid = np.stack(planes).astype(np.float32), np.ones(size, bool)
    values[0, 5, 5:9] = 14.0  # outside of the window: escapes
    if gaps:
        valid[:4, : size[1] // 2] = False
        values[1, 7] = np.nan
        values[:, 9, :6] = -99.0
    return Raster(values, valid, SENTINEL1, Grid(wkt_of(32630), (10.0, 0.0, 499980.0, 0.0, -10.0, 4600020.0), *size))


def write_files(folder: Path) -> list[str]:
    """The whole files that are to be damaged, by name."""
    for gaps in (False, True):
        end = "-gaps.eoz" if gaps else ".eoz"
        source = RasterSource(scene(HIGH if gaps else WIDE, gaps=gaps), TAGS)
        for name, wish in WISHES.items():
            compress_scene(source, folder / f"{name}{end}", wish, tile=256)
        compress_scene(counts(folder, gaps=gaps), folder / f"counts{end}", WISHES["lossless"], tile=256)
        write_whole(RasterSource(scene(SQUARE, gaps=gaps), TAGS), folder / f"jpeg2000{end}")
    return sorted(path.name for path in folder.glob("*.eoz"))


def counts(folder: Path, *, gaps: bool) -> Source:
    """Amplitude as counts in 16 bits, 0 where there is none."""
    decibel = scene(WIDE, gaps=gaps)
    amplitude = np.where(decibel.valid & (decibel.values > -90), 10 ** (decibel.values / 20 + 2.5), 0)
    path = folder / "counts.tif"
    encoding = Encoding("uint16", nodata=0.0)
    units = ("amplitude", "amplitude")
    with RasterWriter(path, grid=decibel.grid, encoding=encoding, descriptions=("VV", "VH"), units=units) as writer:
        writer.write(Window(0, 0, *decibel.grid.size), np.rint(amplitude).astype(np.uint16))
    return FileSource(open_raster(path))


def write_whole(source: Source, path: Path) -> None:
    """The scene as one JPEG2000 codestream, whether or not it is better so."""
    header = plan_header(source, Wish(quality=5.0))
    whole = as_jpeg2000(source, header, size=1500, psnr=0.0)
    if whole is None:
        raise SystemExit("JPEG2000 gives no file of this size")
    with ContainerWriter(path, whole.header) as writer:
        writer.add(whole.content)
        writer.finish()


def work(folder: Path, first: int, count: int, *, forged: bool, gigabytes: float) -> None:
    """Damage and read `count` files; a line of JSON for each, before the last that of the memory."""
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    names = sorted(path.name for path in folder.glob("*.eoz"))
    files = {name: (folder / name).read_bytes() for name in names}
    whole = {name: read(content, keep_going=False) for name, content in files.items()}
    started_with = peak_bytes()
    limit = address_space() + int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, first + count):
        name = names[number % len(names)]
        generator = np.random.default_rng([SEED, number, forged])
        if not forged:
            kind, broken = mutated(files[name], generator)
        elif generator.random() < 0.3:
            kind, broken = "header forged", forged_front(files[name], generator)
        else:
            kind, broken = forged_tile(files[name], generator)
        faulthandler.dump_traceback_later(LONGEST + 2, exit=True)
        started = time.perf_counter()
        outcome, what = outcome_of(broken, files[name], whole[name], forged=forged)
        seconds = time.perf_counter() - started
        faulthandler.cancel_dump_traceback_later()
        if seconds > LONGEST:
            outcome, what = FAILED, f"took {seconds:.1f} s"
        row = {"number": number, "file": name, "kind": kind, "outcome": outcome, "what": what, "seconds": seconds}
        print(json.dumps(row | {"bytes": peak_bytes(), "bytes_before": started_with}), flush=True)


Read = tuple[Any, NDArray[Any], dict[tuple[int, int], Any]]


def read(content: bytes, *, keep_going: bool = True) -> Read:
    """(header, values, damaged tiles)."""
    with StoredScene(io.BytesIO(content), keep_going=keep_going, seams=False) as stored:
        return stored.header, stored.read_raw(), stored.damaged


def outcome_of(broken: bytes, content: bytes, whole: Read, *, forged: bool) -> tuple[str, str]:
    """(outcome, what it was in words)."""
    try:
        if forged:
            return forged_outcome(broken, whole)
        found = read(broken)
    except EorestoreError as error:
        return ("error", type(error).__name__) if error.fix else (FAILED, f"without a fix: {error}")
    except MemoryError as error:
        return FAILED, f"memory: {error}"
    except Exception as error:  # whatever else comes is what this looks for
        return FAILED, f"{type(error).__name__}: {error}"
    if not same_header(found[0], whole[0]):
        return FAILED, "the header changed without a word"
    changed = differing(found, whole)
    if changed:
        return FAILED, f"silent damage in tiles {changed}"
    if found[2]:
        return "tiles reported", f"{len(found[2])} of {whole[0].tile_grid[0] * whole[0].tile_grid[1]}"
    return "unchanged", "the same bytes" if broken == content else "bytes behind the last tile"


def forged_outcome(broken: bytes, whole: Read) -> tuple[str, str]:
    """The same where checksums are right: tile after tile, so that no announced size asks for one array."""
    with StoredScene(io.BytesIO(broken), keep_going=True, seams=False) as stored:
        damaged = stored.check()
        if damaged:
            return "tiles reported", f"{len(damaged)} tiles"
        if not same_header(stored.header, whole[0]):
            return "another header", "decoded"
        changed = differing((stored.header, stored.read_raw(), {}), whole)
    return ("other pixels", "decoded") if changed else ("unchanged", "the same pixels")


def differing(found: Read, whole: Read) -> list[tuple[int, int]]:
    """Tiles not reported whose pixels are not those of the whole file."""
    header, values, damaged = found
    rows, columns = header.tile_grid
    wrong = []
    for row, column in np.ndindex(rows, columns):
        place = header.tile_window(row, column)
        one, other = (array[:, place.rows, place.columns] for array in (values, whole[1]))
        if (row, column) not in damaged and not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            wrong.append((row, column))
    return wrong


def same_header(one: Any, other: Any) -> bool:  # noqa: ANN401 - headers, whose NaN is not equal to itself
    """Whether two headers say the same."""
    plain = [replace(header, encoding=replace(header.encoding, nodata=None)) for header in (one, other)]
    return plain[0] == plain[1] and repr(one.encoding.nodata) == repr(other.encoding.nodata)


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def address_space() -> int:
    """Bytes of address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def rows_of(folder: Path, streams: int, *, forged: bool, gigabytes: float) -> Iterator[dict[str, Any]]:
    """What became of every file; a process that dies, or hangs, is a failure of the file that it was at."""
    first = 0
    while first < streams:
        count = min(CHUNK, streams - first)
        command = [sys.executable, str(HERE), "--worker", str(folder), str(first), str(count)]
        command += ["--gigabytes", str(gigabytes), *(["--forged"] if forged else [])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        yield from rows
        if done.returncode:
            at = first + len(rows)
            said = " | ".join(done.stderr.strip().splitlines()[-6:])
            yield {"number": at, "outcome": FAILED, "what": f"the process ended with {done.returncode}: {said}"}
            rows.append({})
        first += len(rows)


def tally(rows: Iterator[dict[str, Any]], streams: int, what: str) -> dict[str, Any]:
    """Outcomes counted, by kind of damage and by file; failures in full."""
    total: Counter[str] = Counter()
    details: dict[str, Counter[str]] = {}
    by: dict[str, dict[str, Counter[str]]] = {"kind": {}, "file": {}}
    failures, longest, peak, before = [], 0.0, 0, 0
    started = time.perf_counter()
    for number, row in enumerate(rows, 1):
        total[row["outcome"]] += 1
        if row["outcome"] == FAILED:
            failures.append(row)
            print(row, flush=True)
        details.setdefault(row["outcome"], Counter())[row["what"]] += 1
        for key, counted in by.items():
            counted.setdefault(row.get(key, ""), Counter())[row["outcome"]] += 1
        longest, peak = max(longest, row.get("seconds", 0.0)), max(peak, row.get("bytes", 0))
        before = max(before, row.get("bytes_before", 0))
        if number % CHUNK == 0 or number == streams:
            print(f"{what}: {number}/{streams}, {time.perf_counter() - started:.0f} s, {dict(total)}", flush=True)
    return {
        "files": streams, "outcomes": dict(total),
        "details": {key: dict(value) for key, value in details.items() if key != FAILED},
        "by_kind": plain(by["kind"]), "by_file": plain(by["file"]), "failures": failures,
        "longest_seconds": round(longest, 3), "peak_bytes": peak, "peak_bytes_before": before,
    }  # fmt: skip


def plain(counted: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """Counts as plain values, names in order."""
    return {key: dict(sorted(value.items())) for key, value in sorted(counted.items())}


def main() -> None:
    """Make the files, damage them, count, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="address space beyond that of the start")
    parser.add_argument("--record", type=Path, default=Path("results/damaged-streams.json"))
    parser.add_argument("--worker", nargs=3, metavar=("FOLDER", "FIRST", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--forged", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        folder, first, count = options.worker
        work(Path(folder), int(first), int(count), forged=options.forged, gigabytes=options.gigabytes)
        return
    from eorestore.experiments.record import make_record, write_record

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {file: facts((folder / file).read_bytes()) for file in write_files(folder)}
        found = {}
        for what in WORDS:
            forged = what == "forged"
            streams = round(FORGED * options.streams) if forged else options.streams
            rows = rows_of(folder, streams, forged=forged, gigabytes=options.gigabytes)
            found[what] = tally(rows, streams, what)
    outcomes = sorted({outcome for one in found.values() for outcome in one["outcomes"]} | {FAILED})
    table = {
        "columns": ["files", "number", *outcomes, "longest, s", "peak MB"],
        "rows": [
            [WORDS[what], one["files"], *(one["outcomes"].get(outcome, 0) for outcome in outcomes),
             one["longest_seconds"], round(one["peak_bytes"] / 1e6)]
            for what, one in found.items()
        ],
    }  # fmt: skip
    config = {
        "streams": options.streams, "forged": FORGED, "seed": SEED, "longest_seconds": LONGEST,
        "gigabytes": options.gigabytes, "files": {file: [one["bytes"], one["tiles"]] for file, one in files.items()},
    }  # fmt: skip
    record = make_record(
        "benchmark", "damaged-streams", config=config, scores=found | table, seconds=time.perf_counter() - started,
        data={file: one["sha256"] for file, one in files.items()},
    )  # fmt: skip
    write_record(options.record, record)
    print(json.dumps(table, indent=1))
    if any(one["failures"] for one in found.values()):
        raise SystemExit(1)


def facts(content: bytes) -> dict[str, Any]:
    """What a whole file is."""
    tiles = len(ContainerReader(io.BytesIO(content)).tiles)
    return {"bytes": len(content), "tiles": tiles, "sha256": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    main()
