"""Bad inputs through the command line: each has its exit code, one clear line, a fix, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio

from eorestore.cli.app import run
from eorestore.errors import EXIT_DATA, EXIT_MISSING, EXIT_USAGE, EXIT_WRITE
from eorestore.models import catalogue
from eorestore.raster import Window
from small_scenes import NAMES, World, make_world, tiny_checkpoint, write_bands, write_tif, write_world

PRESET = """
name: tiny
task: cloud-removal
model: {name: glf-cr, settings: {channels: 8, growth: 4, blocks: 1, layers: 1, heads: 2}}
data: {synthetic: 1, synthetic_size: 64, crop: 32, cloud_size_px: [4, 12], items_per_epoch: 4, validation_items: 1}
losses: {l1: 1.0}
training: {steps: 1, batch: 1, best_by: psnr_cloud, best_is: highest}
tile: 32
overlap: 8
gpu: not needed
"""


class Bench:
    """A folder with a sound scene in in/, to be spoiled; `out` is where the result would go."""

    def __init__(self, folder: Path, world: World, network: Path):
        self.folder, self.world, self.network = folder, world, network
        self.s2, self.s1 = folder / "in" / "s2.tif", folder / "in" / "s1.tif"
        self.mask, self.out = folder / "in" / "mask.tif", folder / "out.tif"

    def optical(self, values: np.ndarray, *, names=NAMES, **options) -> None:
        write_tif(self.s2, values, self.world.cloudy.grid, names=names, **options)

    def sar(self, values: np.ndarray, *, grid=None, **options) -> None:
        options = {"names": ("VV", "VH")} | options
        write_tif(self.s1, values, grid or self.world.place.sar.grid, **options)

    def restore(self, *more: str, model: str = "inpaint", mask: str | None = None, sar: bool = False) -> list[str]:
        radar = ["--sar", str(self.s1)] if sar else []
        mask = str(self.mask) if mask is None else mask
        return ["restore", str(self.s2), "-m", model, "--mask", mask, *radar, "-o", str(self.out), *more]

    def copy_network(self) -> Path:
        return Path(shutil.copytree(self.network, self.folder / "in" / "net"))


class Case(NamedTuple):
    """A row of the table: what `make` spoils and the command line it returns, and how that must end."""

    name: str
    make: Callable[[Bench], list[str]]
    code: int
    words: str


def missing_band(b):
    b.optical(b.world.dn[1:], names=NAMES[1:])
    return b.restore(model=str(b.network), sar=True)


def no_crs(b):
    write_tif(b.s2, b.world.dn, None, names=NAMES)
    return b.restore()


def truncated(b):
    whole = b.s2.read_bytes()
    b.s2.write_bytes(whole[: len(whole) // 2])
    return b.restore()


def all_nodata(b):
    b.optical(np.zeros_like(b.world.dn), nodata=0)
    return b.restore(model="identity")


def all_nan(b):
    b.optical(np.full(b.world.dn.shape, np.nan, np.float32))
    return b.restore()


def infinite(b):
    values = b.world.cloudy.values.copy()
    values[2, 5:9, 5:9] = np.inf
    b.optical(values)
    return b.restore()


def zero_size(b):
    b.s2.write_bytes(b"")
    return b.restore()


def complex_values(b):
    b.optical(b.world.cloudy.values.astype(np.complex64))
    return b.restore()


def text_file(b):
    b.s2.write_text("this is no raster\n" * 20)
    return b.restore()


def thousands(b):
    b.optical(b.world.dn.astype(np.float32))
    return b.restore()


def unnamed_bands(b):
    b.optical(b.world.dn[:5], names=None)
    return b.restore()


def twice_named(b):
    return b.restore("--bands", ",".join(("B01", *NAMES[:12])))


def sar_linear_as_db(b):
    b.sar(10 ** (b.world.place.sar.values / 10))
    return b.restore(model="sar-regression", sar=True)


def sar_db_as_power(b):
    return b.restore("--sar-unit", "power", model="sar-regression", sar=True)


def sar_integers(b):
    b.sar(np.rint(b.world.place.sar.values * 100).astype(np.int16))
    return b.restore(model="sar-regression", sar=True)


def sar_elsewhere(b):
    height, width = b.world.mask.shape
    b.sar(b.world.place.sar.values, grid=b.world.cloudy.grid.crop(Window(9000, 0, height, width)))
    return b.restore(model="sar-regression", sar=True)


def sar_other_crs_elsewhere(b):
    place = rasterio.crs.CRS.from_epsg(4326), rasterio.Affine(1e-4, 0, -70.0, 0, -1e-4, -30.0)
    with rasterio.open(
        b.s1, "w", driver="GTiff", count=2, height=64, width=64, dtype="float32", crs=place[0], transform=place[1]
    ) as file:
        file.write(np.full((2, 64, 64), -12, np.float32))
        file.descriptions = ("VV", "VH")
    return b.restore(model="sar-regression", sar=True)


def sar_single(b):
    b.sar(b.world.place.sar.values[:1], names=("VV",))
    return b.restore(model="sar-regression", sar=True)


def mask_other_size(b):
    grid = b.world.cloudy.grid.crop(Window(0, 0, 20, 20))
    write_tif(b.mask, np.ones((1, 20, 20), np.uint8), grid)
    return b.restore()


def mask_classes(b):
    write_tif(b.mask, np.full((1, *b.world.mask.shape), 9, np.uint8), b.world.cloudy.grid)
    return b.restore()


def mask_everything(b):
    write_tif(b.mask, np.ones((1, *b.world.mask.shape), np.uint8), b.world.cloudy.grid)
    return b.restore()


def mask_needs_bands(b):
    b.optical(b.world.dn[1:4], names=NAMES[1:4])
    return b.restore(mask="auto")


def out_exists(b):
    b.out.write_text("precious")
    return b.restore()


def out_under_file(b):
    parent = b.folder / "in" / "file"
    parent.write_text("")
    b.out = parent / "out.tif"
    return b.restore()


def out_nowhere(b):
    b.out = b.folder / "no" / "out.tif"
    return b.restore()


def out_suffix(b):
    b.out = b.folder / "out.jp2"
    return b.restore()


def out_is_input(b):
    b.out = b.s2
    return b.restore("--overwrite")


def out_is_full_folder(b):
    b.s2 = write_bands(b.folder / "bands", b.world)
    b.out = b.folder / "in"
    return b.restore("--overwrite")


def out_on_proc(b):
    b.out = Path("/proc/out.tif")
    return b.restore()


def corrupt_weights(b):
    folder = b.copy_network()
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    return b.restore(model=str(folder), sar=True)


def wrong_hash(b):
    folder = b.copy_network()
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    return b.restore(model=str(folder), sar=True)


class _Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def pickle_as_weights(b):
    folder = b.copy_network()
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Trap(b.folder / "trapped")))
    return b.restore(model=str(folder), sar=True)


def config_no_json(b):
    folder = b.copy_network()
    (folder / "config.json").write_text("{")
    return b.restore(model=str(folder), sar=True)


def config_foreign_format(b):
    folder = b.copy_network()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99}))
    return b.restore(model=str(folder), sar=True)


def folder_without_bands(b):
    b.s2 = b.folder / "in"
    return b.restore()


def folder_missing_band(b):
    b.s2 = write_bands(b.folder / "in" / "bands", b.world)
    (b.s2 / "B04.tif").unlink()
    return b.restore(model=str(b.network), sar=True)


def folder_truncated_band(b):
    b.s2 = write_bands(b.folder / "in" / "bands", b.world)
    data = (b.s2 / "B04.tif").read_bytes()
    (b.s2 / "B04.tif").write_bytes(data[: len(data) // 2])
    return b.restore()


def reference_elsewhere(b):
    height, width = b.world.mask.shape
    grid = b.world.cloudy.grid.crop(Window(5, 5, height, width))
    path = write_tif(b.folder / "in" / "truth.tif", b.world.dn, grid, names=NAMES)
    return b.restore("--reference", str(path))


def preset(b, text):
    path = b.folder / "in" / "tiny.yaml"
    path.write_text(text)
    return ["train", "-c", str(path), "-o", str(b.folder / "runs")]


def manifest(b, lines):
    path = b.folder / "in" / "manifest.csv"
    path.write_text("\n".join(["id,place,split,optical,sar", *lines]) + "\n")
    return ["evaluate", "identity", "--data", str(path), "-o", str(b.folder / "scores")]


CASES = (
    Case("missing band", missing_band, EXIT_DATA, "B01"),
    Case("no CRS", no_crs, EXIT_DATA, "no CRS"),
    Case("truncated file", truncated, EXIT_DATA, "s2.tif"),
    Case("all nodata", all_nodata, EXIT_DATA, "no valid pixel"),
    Case("all NaN", all_nan, EXIT_DATA, "no valid pixel"),
    Case("infinite", infinite, EXIT_DATA, "infinite"),
    Case("zero-size file", zero_size, EXIT_DATA, "cannot be opened"),
    Case("complex values", complex_values, EXIT_DATA, "complex64"),
    Case("not a raster", text_file, EXIT_DATA, "cannot be opened"),
    Case("input missing", lambda b: b.restore() if not b.s2.unlink() else [], EXIT_DATA, "does not exist"),
    Case("DN as float reflectance", thousands, EXIT_DATA, "called reflectance"),
    Case("bands without names", unnamed_bands, EXIT_DATA, "5 bands without names"),
    Case("too few names", lambda b: b.restore("--bands", "B02,B03"), EXIT_DATA, "2 names were given"),
    Case("a name twice", twice_named, EXIT_DATA, "B01 appears twice"),
    Case("unknown unit", lambda b: b.restore("--unit", "furlong"), EXIT_DATA, "unknown unit 'furlong'"),
    Case("SAR in linear units called dB", sar_linear_as_db, EXIT_DATA, "nowhere negative"),
    Case("negative power", sar_db_as_power, EXIT_DATA, "called power"),
    Case("SAR integers without unit", sar_integers, EXIT_DATA, "does not say its unit"),
    Case("SAR missing", lambda b: b.restore(model="sar-regression"), EXIT_USAGE, "needs a sar scene"),
    Case("SAR file missing", lambda b: b.restore("--sar", "no.tif"), EXIT_DATA, "no.tif does not exist"),
    Case("SAR without overlap", sar_elsewhere, EXIT_DATA, "does not overlap"),
    Case("SAR of another CRS without overlap", sar_other_crs_elsewhere, EXIT_DATA, "does not overlap"),
    Case("SAR of one band", sar_single, EXIT_DATA, "VH"),
    Case("mask of another size", mask_other_size, EXIT_DATA, "20 x 20"),
    Case("mask with classes", mask_classes, EXIT_DATA, "holds 9"),
    Case("mask over everything", mask_everything, EXIT_DATA, "no clear pixel"),
    Case("mask missing", lambda b: b.restore(mask="atuo"), EXIT_DATA, "atuo does not exist"),
    Case("mask classes no numbers", lambda b: b.restore(mask=f"{b.mask}:cloud"), EXIT_DATA, "names no classes"),
    Case("automatic mask without its bands", mask_needs_bands, EXIT_DATA, "needs B01"),
    Case("output exists", out_exists, EXIT_WRITE, "exists already"),
    Case("unwritable folder", out_under_file, EXIT_WRITE, "no folder"),
    Case("folder missing", out_nowhere, EXIT_WRITE, "no folder"),
    Case("folder that takes no files", out_on_proc, EXIT_WRITE, "cannot be written"),
    Case("unknown suffix", out_suffix, EXIT_USAGE, "no output format .jp2"),
    Case("a folder for one file", lambda b: b.restore("-o", "out"), EXIT_USAGE, "out.tif"),
    Case("output is input", out_is_input, EXIT_USAGE, "is an input"),
    Case("output is a folder of other things", out_is_full_folder, EXIT_WRITE, "more than band files"),
    Case("corrupt checkpoint", corrupt_weights, EXIT_DATA, "hash is wrong"),
    Case("wrong hash", wrong_hash, EXIT_DATA, "hash is wrong"),
    Case("pickle as weights", pickle_as_weights, EXIT_DATA, "no safetensors"),
    Case("config.json is no JSON", config_no_json, EXIT_DATA, "not JSON"),
    Case("foreign format", config_foreign_format, EXIT_DATA, "format 99"),
    Case("checkpoint missing", lambda b: b.restore(model="./nothing"), EXIT_DATA, "no folder at nothing"),
    Case("unknown model", lambda b: b.restore(model="inpiant"), EXIT_USAGE, "did you mean 'inpaint'"),
    Case("preset without weights", lambda b: b.restore(model="glf-cr-v0"), EXIT_USAGE, "without weights"),
    Case("folder without bands", folder_without_bands, EXIT_DATA, "no band files"),
    Case("folder without a band", folder_missing_band, EXIT_DATA, "B04"),
    Case("folder with a truncated band", folder_truncated_band, EXIT_DATA, "B04.tif"),
    Case("reference elsewhere", reference_elsewhere, EXIT_DATA, "another grid"),
    Case("reference missing", lambda b: b.restore("--reference", "no.tif"), EXIT_DATA, "does not exist"),
    Case("box of words", lambda b: b.restore("--bbox", "left,right"), EXIT_USAGE, "is no box"),
    Case("box outside", lambda b: b.restore("--bbox", "0,0,10,10"), EXIT_DATA, "does not touch"),
    Case("box turned round", lambda b: b.restore("--bbox", "10,10,0,0"), EXIT_USAGE, "is empty"),
    Case("tile too small", lambda b: b.restore("--tile", "4"), EXIT_USAGE, "--tile"),
    Case("overlap too large", lambda b: b.restore("--tile", "32", "--overlap", "30", model=str(b.network), sar=True),
         EXIT_USAGE, "too large for tiles of 32"),
    Case("budget too small", lambda b: b.restore("--budget", "1"), EXIT_USAGE, "1 MB"),
    Case("unknown precision", lambda b: b.restore("--precision", "fp8"), EXIT_USAGE, "fp8"),
    Case("unknown device", lambda b: b.restore("--device", "tpu"), EXIT_USAGE, "tpu"),
    Case("unknown map", lambda b: b.restore("--save", "gates"), EXIT_USAGE, "gates"),
    Case("unknown option", lambda b: b.restore("--tlie", "32"), EXIT_USAGE, "--tlie"),
    Case("missing argument", lambda b: ["restore", str(b.s2)], EXIT_USAGE, "--out"),
    Case("unknown command", lambda b: ["restor", str(b.s2)], EXIT_USAGE, "restor"),
    Case("resume without journal", lambda b: b.restore("--resume", "--no-journal"), EXIT_USAGE, "journal"),
    Case("unknown config key", lambda b: preset(b, PRESET + "epochs: 3\n"), EXIT_USAGE, "epochs"),
    Case("wrong config value", lambda b: preset(b, PRESET.replace("steps: 1", "steps: many")), EXIT_USAGE, "steps"),
    Case("unknown network", lambda b: preset(b, PRESET.replace("glf-cr,", "glf-rc,")), EXIT_USAGE, "glf-cr"),
    Case("preset missing", lambda _: ["train", "-c", "nothing.yaml"], EXIT_USAGE, "no preset"),
    Case("a place in two splits", lambda b: manifest(b, ["a,p,train,s2.tif,s1.tif", "b,p,test,s2.tif,s1.tif"]),
         EXIT_DATA, "p"),
    Case("info of nothing", lambda _: ["info", "no.tif"], EXIT_DATA, "does not exist"),
)  # fmt: skip


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> tuple[World, Path, Path]:
    """A world, the folder it is written in, and a checkpoint; written once, copied for every case."""
    folder = tmp_path_factory.mktemp("shelf")
    world = make_world((64, 72), seed=10)
    write_world(folder / "in", world)
    return world, folder / "in", tiny_checkpoint(folder / "network", tile=32, overlap=8)


@pytest.fixture
def bench(shelf, tmp_path, monkeypatch) -> Bench:
    world, scene, network = shelf
    shutil.copytree(scene, tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, world, network)


def listing(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def check_words(text: str, words: str) -> None:
    lines = text.splitlines()
    assert "Traceback" not in text
    assert sum(line.startswith("error: ") for line in lines) == 1, text
    assert sum(line.startswith("fix: ") for line in lines) == 1, text
    assert lines[-2].startswith("error: "), text
    assert len(lines[-1]) > len("fix: ") + 3
    assert words in f"{lines[-2]}\n{lines[-1]}", text


def test_there_are_at_least_thirty_bad_inputs_and_each_has_its_name():
    assert len({case.name for case in CASES}) == len(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_input_ends_with_its_code_a_line_and_a_fix_and_leaves_nothing(case, bench, capfd):
    command = case.make(bench)
    before = listing(bench.folder)
    code = run(command)
    text = capfd.readouterr().err
    assert (code, case.name) == (case.code, case.name), text
    check_words(text, case.words)
    assert listing(bench.folder) == before


@pytest.mark.parametrize("name", ["no CRS", "output exists", "pickle as weights", "unknown option"])
def test_the_process_ends_with_the_same_code(name, bench):
    case = next(case for case in CASES if case.name == name)
    command = case.make(bench)
    before = listing(bench.folder)
    done = subprocess.run([sys.executable, "-m", "eorestore", *command], capture_output=True, text=True, check=False)
    assert done.returncode == case.code
    check_words(done.stderr, case.words)
    assert listing(bench.folder) == before


@pytest.mark.parametrize(
    ("kilobytes", "options"),
    [
        (4, ()),
        (90, ()),
        (4, ("--no-journal",)),
        (90, ("--no-journal", "--save", "source")),
        (90, ("--no-journal", "--cog")),
    ],
)
def test_a_full_disk_leaves_nothing(bench, kilobytes, options):
    """A limit on the size of files stands for the full disk: the survey, the journal and the image meet it."""
    limited = (
        "import resource, sys; from eorestore.cli.app import run; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes * 1000},) * 2); sys.exit(run(sys.argv[1:]))"
    )
    bench.optical(np.random.default_rng(0).integers(1, 9000, bench.world.dn.shape, dtype=np.uint16))
    before = listing(bench.folder)
    done = subprocess.run(
        [sys.executable, "-c", limited, *bench.restore(*options)], capture_output=True, text=True, check=False
    )
    assert done.returncode == EXIT_WRITE, done.stderr
    check_words(done.stderr, "cannot be written")
    assert listing(bench.folder) == before


def test_a_full_disk_leaves_nothing_of_a_folder_either(bench):
    limited = (
        "import resource, sys; from eorestore.cli.app import run; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000,) * 2); sys.exit(run(sys.argv[1:]))"
    )
    bench.s2 = write_bands(bench.folder / "in" / "bands", bench.world)
    bench.out = bench.folder / "clear"
    before = listing(bench.folder)
    command = [sys.executable, "-c", limited, *bench.restore("--no-journal")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_WRITE, done.stderr
    check_words(done.stderr, "cannot be written")
    assert listing(bench.folder) == before


def test_a_shipped_model_without_its_weights_says_where_they_belong(bench, monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(catalogue, "WEIGHTS_FOLDER", tmp_path / "in" / "none")
    assert run(bench.restore(model="cloud", sar=True)) == EXIT_MISSING
    check_words(capfd.readouterr().err, "weights of glf-cr-compact")


def test_debug_shows_where_an_error_comes_from(bench):
    with pytest.raises(Exception, match="no CRS"):
        run(["--debug", *no_crs(bench)])
