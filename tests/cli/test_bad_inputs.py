"""Bad inputs through the command line: each has its exit code, one clear line, a fix, and leaves nothing behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from spoiled_scenes import (
    PRESET,
    Bench,
    all_nan,
    all_nodata,
    complex_values,
    config_foreign_format,
    config_no_json,
    corrupt_weights,
    folder_missing_band,
    folder_truncated_band,
    folder_without_bands,
    infinite,
    manifest,
    map_exists,
    map_is_input,
    mask_classes,
    mask_everything,
    mask_needs_bands,
    mask_other_size,
    missing_band,
    no_crs,
    out_exists,
    out_is_full_folder,
    out_is_input,
    out_nowhere,
    out_on_proc,
    out_suffix,
    out_under_file,
    pickle_as_weights,
    preset,
    reference_elsewhere,
    sar_db_as_power,
    sar_elsewhere,
    sar_integers,
    sar_linear_as_db,
    sar_other_crs_elsewhere,
    sar_single,
    sar_single_for_network,
    text_file,
    thousands,
    truncated,
    twice_named,
    unnamed_bands,
    wrong_hash,
    zero_size,
)

from eorestore.cli.app import run
from eorestore.errors import EXIT_DATA, EXIT_MISSING, EXIT_USAGE, EXIT_WRITE
from eorestore.models import catalogue
from small_scenes import World, make_world, tiny_checkpoint, write_bands, write_world


class Case(NamedTuple):
    """A row of the table: what `make` spoils and the command line it returns, and how that must end."""

    name: str
    make: Callable[[Bench], list[str]]
    code: int
    words: str


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
    Case("SAR of one band", sar_single, EXIT_DATA, "sar-regression needs VV, VH; s1.tif has VV"),
    Case("SAR of one band for a network that needs both", sar_single_for_network, EXIT_DATA,
         "network needs VV, VH; s1.tif has VV"),
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
    Case("unknown map", lambda b: b.restore("--save", "source,gates"), EXIT_USAGE, "inpaint gives no map gates"),
    Case("a map that the network does not give", lambda b: b.restore("--save", "sigma", model=str(b.network), sar=True),
         EXIT_USAGE, "it gives source, consistency"),
    Case("consistency without SAR", lambda b: b.restore("--save", "consistency"), EXIT_USAGE, "compares with SAR"),
    Case("consistency without a clear pixel", lambda b: b.restore("--save", "consistency", mask="none",
         model="identity", sar=True), EXIT_DATA, "too few clear pixels"),
    Case("a map exists", map_exists, EXIT_WRITE, "out.consistency.tif exists already"),
    Case("a map is an input", map_is_input, EXIT_USAGE, "is an input"),
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
    check_words(capfd.readouterr().err, "weights of clearview")


def test_debug_shows_where_an_error_comes_from(bench):
    with pytest.raises(Exception, match="no CRS"):
        run(["--debug", *no_crs(bench)])
