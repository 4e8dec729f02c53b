"""Super-resolution through the command line: scenes, pictures, folders of either."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from eorestore.cli.app import run
from eorestore.errors import UsageError
from eorestore.processing.resize import enlarge, shrink
from eorestore.restorer.request import Request
from eorestore.restorer.run import restore_file
from small_enlargers import light_checkpoint, smooth, utm_grid
from small_scenes import make_world, read_tif, write_bands, write_tif

NAMES = ("B02", "B03", "B04", "B08")
SIZE = (70, 53)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    light_checkpoint(tmp_path / "light", tile=32)
    return tmp_path


def dn(offset: int = 1000) -> np.ndarray:
    raw = (offset + 1 + 3000 * smooth(4, SIZE)).astype(np.uint16)
    raw[:, 20:30, 5:25] = 0
    return raw


def write_scene(path: Path, **options) -> Path:
    tags = {"BOA_ADD_OFFSET": "-1000", "ACQUISITION_DATE": "2026-06-14"}
    return write_tif(path, dn(), utm_grid(SIZE), names=NAMES, nodata=0, tags=tags, **options)


def facts(path: str) -> dict:
    return json.loads(Path(f"{path}.json").read_text())


def test_a_scene_keeps_all_but_its_pixel_size(here, capsys):
    write_scene(here / "s2.tif")
    assert run(["restore", "-m", "./light", "s2.tif", "-o", "x4.tif"]) == 0
    assert "enlarged 4 times" in capsys.readouterr().out
    with rasterio.open("x4.tif") as out, rasterio.open("s2.tif") as given:
        assert (out.height, out.width, out.count) == (280, 212, 4)
        assert tuple(out.transform)[:6] == (2.5, 0.0, 600_000.0, 0.0, -2.5, 5_400_000.0)
        assert (out.crs, out.bounds, out.nodata, out.dtypes[0]) == (given.crs, given.bounds, 0, "uint16")
        assert out.descriptions == NAMES
        tags, raw = out.tags(), out.read()
    assert tags["BOA_ADD_OFFSET"] == "-1000"
    assert tags["ACQUISITION_DATE"] == "2026-06-14"
    assert (tags["EORESTORE_SCALE"], tags["EORESTORE_CONSISTENT"], tags["EORESTORE_MASK"]) == ("4", "yes", "none")
    assert float(tags["EORESTORE_DEVIATION"].split()[0]) < 1e-3
    missing = np.kron((dn() == 0).all(axis=0), np.ones((4, 4))).astype(bool)
    assert np.array_equal((raw == 0).all(axis=0), missing)
    assert not (raw == 0).any(axis=0)[~missing].any()
    told = facts("x4.tif")["enlargement"]
    assert told["band_groups"] == [["B04", "B03", "B02"], ["B08", "B04", "B03"]]
    assert told["deviation"]["largest_of_range"] < 1e-3
    assert Path("x4.tif.preview.png").is_file()
    low = shrink(raw.astype(float), factor=4)[:, 34:]  # below the gap
    assert np.abs(low - dn()[:, 34:]).max() < 1e-3 * 3000


def test_without_consistency_the_result_and_its_papers_say_so(here):
    write_scene(here / "s2.tif")
    assert run(["restore", "-m", "./light", "s2.tif", "-o", "loose.tif", "--no-consistent"]) == 0
    told = facts("loose.tif")["enlargement"]
    assert told["consistent"] is False
    assert told["deviation"]["largest_of_range"] > 2e-3


def test_floats_keep_their_type_and_what_overshoots(here):
    values = 30 * smooth(1, SIZE) + np.float32(280)
    values[:, :9] = np.nan
    write_tif(here / "lst.tif", values, utm_grid(SIZE), names=("thermal",), nodata=np.nan, units=("kelvin",))
    assert run(["restore", "-m", "./light", "lst.tif", "-o", "x4.tif"]) == 0
    with rasterio.open("x4.tif") as out:
        assert (out.dtypes, out.units, out.descriptions) == (("float32",), ("kelvin",), ("thermal",))
        raw = out.read()
    assert np.isnan(raw[:, :36]).all()
    assert np.isfinite(raw[:, 36:]).all()
    assert facts("x4.tif")["enlargement"]["deviation"]["largest_of_range"] < 1e-4
    assert run(["restore", "-m", "./light", "x4.tif", "-o", "x16.tif", "--dry-run"]) == 0


def test_a_cog_and_eight_bits(here):
    raw = np.rint(20 + 200 * smooth(3, SIZE)).astype(np.uint8)
    write_tif(here / "rgb.tif", raw, utm_grid(SIZE))
    assert run(["restore", "-m", "bicubic", "rgb.tif", "-o", "x2.cog.tif", "--scale", "2"]) == 0
    with rasterio.open("x2.cog.tif") as out:
        assert out.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert out.dtypes == ("uint8",) * 3
        expected = np.clip(np.rint(enlarge(raw.astype(float), factor=2)), 0, 255)
        assert np.abs(out.read().astype(float) - expected).max() <= 1  # a tie that rounds the other way in float32


def test_band_files_come_out_as_band_files_on_the_finest_grid(here):
    world = make_world((60, 48))
    write_bands(here / "bands", world)
    assert run(["restore", "-m", "bicubic", "bands", "-o", "whole.tif", "--scale", "2"]) == 0
    assert run(["restore", "-m", "bicubic", "bands", "-o", "x2", "--scale", "2"]) == 0
    whole = read_tif(here / "whole.tif")
    files = sorted((here / "x2").iterdir())
    assert len(files) == 13
    assert {read_tif(path).shape for path in files} == {(1, 120, 96)}
    assert np.array_equal(read_tif(here / "x2" / "B04.tif")[0], whole[3])


def test_an_interrupted_run_goes_on_to_the_same_pixels(here):
    write_scene(here / "s2.tif")
    request = Request(Path("s2.tif"), Path("x4.tif"), model="./light")
    restore_file(replace(request, out=Path("unbroken.tif")))

    def stop(done: int, total: int) -> None:
        if done >= total - 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_file(request, progress=stop)
    assert not Path("x4.tif").exists()
    with pytest.raises(UsageError, match="consistent"):
        restore_file(replace(request, resume=True, consistent=False))
    report = restore_file(replace(request, resume=True))
    assert report.facts["resumed_at_row"] > 0
    assert np.array_equal(read_tif(Path("x4.tif")), read_tif(Path("unbroken.tif")))


def test_a_dry_run_tells_the_size_of_the_result_without_torch(here):
    write_scene(here / "s2.tif")
    code = (
        "import sys; from eorestore.cli.app import run\n"
        "code = run(['restore', '-m', './light', 's2.tif', '-o', 'x.tif', '--dry-run', '--json'])\n"
        "sys.exit(code or ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["size"], told["output_size"]) == ([70, 53], [280, 212])
    assert told["output_mb_at_most"] == 1  # 280 x 212 x 4 x 2 bytes
    assert not Path("x.tif").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-m", "./light", "--mask", "csmask"], "every pixel"),
        (["-m", "./light", "--mask", "mask.tif"], "every pixel"),
        (["-m", "./light", "--adapt", "5"], "cannot learn"),
        (["-m", "./light", "--scale", "2"], "enlarges 4 times"),
        (["-m", "identity", "--consistent"], "does not enlarge"),
        (["-m", "identity", "--no-consistent"], "does not enlarge"),
        (["-m", "identity", "--scale", "2"], "does not enlarge"),
        (["-m", "./light", "--save", "sigma"], "gives no map sigma"),
        (["-m", "./light", "--sar", "s2.tif"], "by itself"),
    ],
)
def test_options_without_a_meaning_are_refused(here, capsys, options, said):
    write_scene(here / "s2.tif")
    for further in ([], ["--dry-run"]):
        assert run(["restore", "s2.tif", "-o", "x.tif", *options, *further]) == 2
        assert said in capsys.readouterr().err


def test_a_reference_on_the_fine_grid_scores_the_result(here):
    high = (1000 * smooth(4, (80, 96))).astype(np.uint16) + 100
    write_tif(here / "truth.tif", high, utm_grid((80, 96)), names=NAMES)
    low = np.clip(np.rint(shrink(high.astype(float), factor=4)), 1, 65535).astype(np.uint16)
    write_tif(here / "low.tif", low, utm_grid((80, 96)).resize(20, 24), names=NAMES)
    assert run(["restore", "-m", "bicubic", "low.tif", "-o", "x4.tif", "--reference", "truth.tif"]) == 0
    assert facts("x4.tif")["metrics"]["psnr"] > 25
    assert run(["restore", "-m", "bicubic", "low.tif", "-o", "y.tif", "--reference", "low.tif"]) == 4


def picture(mode: str = "RGB", size=(33, 26)) -> Image.Image:
    levels = np.rint(20 + 200 * smooth(4, size)).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(np.rint(20_000 + 20_000 * smooth(1, size)[0]).astype(np.uint16))
    if mode == "RGBA":
        levels[3] = 255
        levels[3, :8] = 0
    return Image.fromarray(levels.transpose(1, 2, 0)[..., : len(mode)].squeeze())


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
@pytest.mark.usefixtures("here")
def test_a_picture_without_a_place_stays_a_picture_of_its_mode(mode):
    picture(mode).save("in.png")
    assert run(["restore", "-m", "./light", "in.png", "-o", "x4.png"]) == 0
    with Image.open("x4.png") as out:
        assert (out.mode, out.size) == (mode, (104, 132))
        values = np.asarray(out, dtype=float).reshape(132, 104, -1)
    given = np.asarray(picture(mode), dtype=float).reshape(33, 26, -1)
    if mode == "RGBA":
        assert (values[40:, :, 3] > 250).all()
        assert (values[:24, :, 3] < 5).all()
        return
    apart = np.abs(shrink(values.transpose(2, 0, 1), factor=4) - given.transpose(2, 0, 1)).max()
    assert apart < (0.5 if mode != "I;16" else 1.0)
    assert facts("x4.png")["enlargement"]["deviation"]["largest_of_range"] < 2e-3
    assert Path("x4.png.preview.png").is_file()


def test_a_folder_of_pictures_gives_a_folder_of_the_same_names(here, capsys):
    folder = here / "in"
    (folder / "more").mkdir(parents=True)
    picture().save(folder / "a.png")
    picture("L").save(folder / "more" / "b.jpg")
    picture().save(folder / "c.tif")
    write_scene(folder / "place.tif")
    assert run(["restore", "-m", "./light", "in", "-o", "out", "--dry-run"]) == 0
    assert "pictures: 4" in capsys.readouterr().out
    assert run(["restore", "-m", "./light", "in", "-o", "out"]) == 0
    found = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert found == ["a.png", "c.png", "more/b.png", "place.tif"]
    assert Image.open("out/more/b.png").mode == "L"
    with rasterio.open("out/place.tif") as out:
        assert tuple(out.transform)[:3] == (2.5, 0.0, 600_000.0)
    assert len(facts("out")["enlargement"]["deviation"]["pictures"]) == 4
    assert run(["restore", "-m", "./light", "in", "-o", "out"]) == 5
    assert run(["restore", "-m", "bicubic", "in", "-o", "out", "--overwrite"]) == 0
    (here / "out" / "letter.txt").write_text("mine")
    assert run(["restore", "-m", "bicubic", "in", "-o", "out", "--overwrite"]) == 5
    assert (here / "out" / "letter.txt").is_file()


def test_two_pictures_that_would_become_one_are_refused(here, capsys):
    (here / "in").mkdir()
    picture().save("in/a.png")
    picture().save("in/a.webp")
    assert run(["restore", "-m", "bicubic", "in", "-o", "out"]) == 4
    assert "a.png" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_picture_that_cannot_be_read_leaves_nothing(here):
    (here / "in").mkdir()
    picture().save("in/a.png")
    Path("in/b.png").write_bytes(b"no picture")
    assert run(["restore", "-m", "bicubic", "in", "-o", "out"]) == 4
    assert sorted(path.name for path in here.iterdir()) == ["in", "light"]


def test_a_tiff_of_many_bands_without_a_place_is_enlarged_as_a_raster(here):
    write_tif(here / "in.tif", 0.4 * smooth(5, SIZE), None)
    names = "B02,B03,B04,B08,B11"
    assert run(["restore", "-m", "./light", "in.tif", "-o", "x4.tif", "--bands", names, "--unit", "reflectance"]) == 0
    with rasterio.open("x4.tif") as out:
        assert (out.count, out.height, out.crs) == (5, 280, None)
    assert run(["restore", "-m", "inpaint", "in.tif", "-o", "y.tif", "--bands", names]) == 4


@pytest.mark.real
@pytest.mark.usefixtures("here")
def test_a_real_scene_is_enlarged_and_shrunk_again_is_itself(real_data):
    scene = real_data / "cloud" / "terramind" / "38D_378R_2_3" / "S2L2A.tif"
    with rasterio.open(scene) as given:
        left, top, size = given.transform.c, given.transform.f, given.transform.a
    box = f"{left},{top - 90 * size},{left + 101 * size},{top}"
    options = ["--s2-offset", "1000", "--bbox", box]
    assert run(["restore", "-m", "./light", str(scene), "-o", "x4.tif", *options]) == 0
    with rasterio.open("x4.tif") as out, rasterio.open(scene) as given:
        assert (out.height, out.width, out.count) == (4 * 90, 4 * 101, given.count)
        assert out.transform.a == pytest.approx(given.transform.a / 4)
        assert (out.transform.c, out.transform.f, out.crs) == (given.transform.c, given.transform.f, given.crs)
    told = facts("x4.tif")["enlargement"]["deviation"]
    assert told["largest_of_range"] < 1e-3
    assert told["saturated_share"] < 0.01
