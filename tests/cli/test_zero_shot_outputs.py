"""What `eorestore zero-shot --save` leaves beside its result, through the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from enlarged_thermal import SETTINGS, SIZE, thermal_scene, write_thermal
from eorestore.cli.app import run
from eorestore.models.checkpoint import check_checkpoint, load_checkpoint
from eorestore.raster.files import open_raster
from eorestore.reports import scene_files

ALL = "sigma,source,npy,turbo,grey,comparison,checkpoint"


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_thermal(tmp_path / "lst.tif")
    return tmp_path


def zero_shot(*words: str, code: int = 0) -> None:
    assert run(["zero-shot", "lst.tif", *words, *SETTINGS]) == code


def facts(path: str) -> dict:
    return json.loads(Path(f"{path}.json").read_text())


def test_everything_that_can_be_saved_stands_beside_the_result_and_in_the_sidecar(here, capsys):
    zero_shot("-o", "x2.tif", "--save", ALL, "--limits", "280,320")
    found = {path.name for path in here.iterdir()} - {"lst.tif"}
    assert found == {
        "x2.tif", "x2.tif.json", "x2.tif.preview.png", "x2.sigma.tif", "x2.source.tif", "x2.npy", "x2.turbo.png",
        "x2.grey.png", "x2.comparison.png", "x2.checkpoint",
    }  # fmt: skip
    told = facts("x2.tif")
    assert told["outputs"] == {
        "npy": "x2.npy", "turbo": "x2.turbo.png", "grey": "x2.grey.png", "comparison": "x2.comparison.png",
        "checkpoint": "x2.checkpoint",
    }  # fmt: skip
    assert told["maps"] == {"sigma": "x2.sigma.tif", "source": "x2.source.tif"}
    assert told["pictures"] == {
        "band": "thermal", "limits": [280.0, 320.0], "pixels_per_picture_pixel": 1,
        "comparison_window": [0, 0, *SIZE],
    }  # fmt: skip
    assert told["zero_shot"]["recipe"]["learning"]["steps"] == 3
    assert "x2.comparison.png" in capsys.readouterr().out
    raster = open_raster(here / "x2.tif").read()
    array = np.load("x2.npy", allow_pickle=False)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.where(raster.valid, raster.values[0], np.nan))
    for name, mode in (("turbo", "RGBA"), ("grey", "LA")):
        picture = Image.open(f"x2.{name}.png")
        assert (picture.mode, picture.size) == (mode, (2 * SIZE[1], 2 * SIZE[0]))


def test_the_array_of_several_bands_has_an_axis_for_them(here, monkeypatch):
    monkeypatch.setattr(scene_files, "_STRIP", 100)
    raster = thermal_scene()
    pair = np.stack([raster.values[0], raster.values[0] + 3])
    with rasterio.open(
        here / "lst.tif", "w", driver="GTiff", count=2, height=SIZE[0], width=SIZE[1], dtype="float32",
        crs=rasterio.crs.CRS.from_wkt(raster.grid.crs), transform=rasterio.Affine(*raster.grid.transform),
    ) as file:  # fmt: skip
        file.write(pair)
        file.descriptions, file.units = ("day", "night"), ("kelvin", "kelvin")
    zero_shot("-o", "x2.tif", "--save", "npy")
    with rasterio.open("x2.tif") as file:
        np.testing.assert_array_equal(np.load("x2.npy"), file.read())


def test_a_checkpoint_is_whole_says_what_it_is_and_starts_another_scene(here):
    zero_shot("-o", "x4.tif", "--scale", "4", "--save", "checkpoint")
    checkpoint = load_checkpoint(here / "x4.checkpoint")
    check_checkpoint(here / "x4.checkpoint")
    assert (checkpoint.model.scale, checkpoint.config["task"]) == (2, "zero-shot")
    told = facts("x4.tif")["zero_shot"]["checkpoint"]
    assert told["weights_sha256"] == checkpoint.sha256
    assert told["stages"] == [2, 4]
    assert told["share_of_network"] == facts("x4.tif")["zero_shot"]["share_of_network"]
    assert "network.start=x4.checkpoint" in (here / "x4.checkpoint" / "README.md").read_text()
    words = ["zero-shot", "lst.tif", "-o", "again.tif", "-s", "network.start=x4.checkpoint", "-s", "learning.steps=0"]
    assert run(words) == 0
    assert facts("again.tif")["zero_shot"]["start"] == checkpoint.sha256


def test_nothing_is_replaced_without_being_told(here, capsys):
    (here / "x2.turbo.png").write_bytes(b"mine")
    zero_shot("-o", "x2.tif", "--save", "turbo", code=5)
    assert "x2.turbo.png exists already" in capsys.readouterr().err
    assert (here / "x2.turbo.png").read_bytes() == b"mine"
    assert not (here / "x2.tif").exists()
    zero_shot("-o", "x2.tif", "--save", "turbo", "--overwrite")
    assert (here / "x2.turbo.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_that_is_no_checkpoint_is_never_replaced(here, capsys):
    (here / "x2.checkpoint").mkdir()
    (here / "x2.checkpoint" / "thesis.txt").write_text("mine")
    zero_shot("-o", "x2.tif", "--save", "checkpoint", "--overwrite", code=5)
    assert "is no checkpoint" in capsys.readouterr().err
    assert not (here / "x2.tif").exists()


def test_a_picture_that_cannot_be_written_leaves_nothing_half_done(here, monkeypatch, capsys):
    replace = os.replace

    def full(source, target) -> None:
        if "turbo" in str(target):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("eorestore.reports.writing.os.replace", full)
    zero_shot("-o", "x2.tif", "--save", "turbo", code=5)
    assert "x2.turbo.png could not be written" in capsys.readouterr().err
    assert [path.name for path in here.iterdir() if "turbo" in path.name] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--save", "turbi"), "zero-shot gives no turbi"),
        (("--save", "turbo", "--limits", "320,280"), "limits from 320 to 280"),
        (("--save", "turbo", "--limits", "warm"), "'warm' are no limits"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_work(here, words, message, capsys):
    zero_shot("-o", "x2.tif", *words, code=2)
    assert message in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["lst.tif"]
