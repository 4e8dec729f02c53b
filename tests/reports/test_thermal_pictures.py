"""Pictures of thermal rasters: one pixel a pixel, the palette of others, limits in kelvin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from enlarged_thermal import GAP, SIZE, thermal_scene, write_thermal
from eorestore.processing.resize import enlarge
from eorestore.raster import Raster, Window
from eorestore.raster.files import open_raster
from eorestore.reports import thermal_pictures
from eorestore.reports.thermal_pictures import limits_of, write_comparison, write_picture


@pytest.fixture
def scene(tmp_path: Path):
    return open_raster(write_thermal(tmp_path / "lst.tif"))


def blown_up(raster: Raster, scale: int) -> Raster:
    values = raster.values.repeat(scale, 1).repeat(scale, 2)
    return Raster(values, raster.valid.repeat(scale, 0).repeat(scale, 1), raster.bands, raster.grid.scale(scale))


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("rows", [1, 1 << 22])
def test_grey_is_one_pixel_a_pixel_with_transparent_gaps(scene, tmp_path, monkeypatch, rows):
    monkeypatch.setattr(thermal_pictures, "_STRIP", rows)
    assert write_picture(tmp_path / "a.png", scene, limits=(280.0, 320.0), palette="grey") == 1
    picture, raster = pixels_of(tmp_path / "a.png"), scene.read()
    assert picture.shape == (*SIZE, 2)
    assert (picture[..., 1] == np.where(raster.valid, 255, 0)).all()
    wanted = np.rint(255 * np.clip((raster.values[0] - 280) / 40, 0, 1))
    assert np.abs(picture[..., 0] - wanted)[raster.valid].max() <= 1
    assert picture[GAP].max() == 0


def test_turbo_is_that_of_matplotlib(scene, tmp_path):
    from matplotlib import colormaps

    write_picture(tmp_path / "a.png", scene, limits=(280.0, 320.0), palette="turbo")
    picture, raster = pixels_of(tmp_path / "a.png"), scene.read()
    wanted = colormaps["turbo"](np.clip((raster.values[0] - 280) / 40, 0, 1), bytes=True)[..., :3].astype(int)
    apart = np.abs(picture[..., :3].astype(int) - wanted)[raster.valid]
    assert apart.max() <= 8  # neighbouring colours of 256


def test_a_raster_larger_than_a_picture_is_averaged_and_said(scene, tmp_path, caplog):
    caplog.set_level("INFO", "eorestore")
    assert write_picture(tmp_path / "a.png", scene, limits=(280.0, 320.0), palette="grey", largest=15) == 3
    assert pixels_of(tmp_path / "a.png").shape == (14, 11, 2)
    assert "mean of 3 x 3 pixels of lst.tif" in caplog.text
    first = scene.read().values[0, :3, :3].mean()
    assert abs(int(pixels_of(tmp_path / "a.png")[0, 0, 0]) - 255 * np.clip((first - 280) / 40, 0, 1)) <= 1


def test_limits_are_percentiles_of_valid_pixels(scene):
    raster = scene.read()
    assert limits_of(scene) == pytest.approx(np.percentile(raster.values[0][raster.valid], (1, 99)))


def test_a_scene_without_a_valid_pixel_and_a_constant_one_have_limits(tmp_path):
    raster = thermal_scene(gap=None)
    empty = Raster(raster.values, np.zeros_like(raster.valid), raster.bands, raster.grid)
    flat = Raster(np.full_like(raster.values, 290.0), raster.valid, raster.bands, raster.grid)
    assert limits_of(open_raster(write_thermal(tmp_path / "a.tif", empty))) == (0.0, 1.0)
    assert limits_of(open_raster(write_thermal(tmp_path / "b.tif", flat))) == (290.0, 291.0)


def drawn(monkeypatch) -> dict:
    """What a comparison would draw."""
    seen: dict = {}

    def keep(_path, panels, sigma, **rest):
        seen.update(panels=dict(panels), sigma=sigma, **rest)

    monkeypatch.setattr(thermal_pictures, "_draw", keep)
    return seen


def test_a_comparison_shows_input_bicubic_and_result_at_common_limits(scene, tmp_path, monkeypatch):
    seen = drawn(monkeypatch)
    raster = scene.read()
    result = open_raster(write_thermal(tmp_path / "x2.tif", blown_up(raster, 2)))
    assert write_comparison(tmp_path / "c.png", scene, result, limits=(280.0, 320.0)) == Window(0, 0, *SIZE)
    given, bicubic, made = seen["panels"].values()
    assert list(seen["panels"]) == ["input, pixels of 100 m", "bicubic", "result, pixels of 50 m"]
    assert (seen["limits"], seen["unit"], seen["where"]) == ((280.0, 320.0), "K", "")
    assert np.isnan(given[GAP]).all()
    assert np.array_equal(np.isnan(bicubic), np.isnan(made))
    left = np.s_[:, :16]  # far from the gap
    wanted = enlarge(raster.values.astype(np.float64), factor=2)[0]
    assert np.abs(bicubic - wanted)[left].max() < 1e-3


def test_of_a_large_scene_the_busiest_window_is_compared(tmp_path, monkeypatch):
    seen = drawn(monkeypatch)
    raster = thermal_scene(size=(150, 130), gap=None)
    values = np.full_like(raster.values, 290.0)
    values[:, 100:140:2, 90:120] = 310.0
    scene = Raster(values, raster.valid, raster.bands, raster.grid)
    monkeypatch.setattr(thermal_pictures, "_PANEL_PX", 100)
    files = [open_raster(write_thermal(tmp_path / f"{n}.tif", blown_up(scene, n))) for n in (1, 2)]
    window = write_comparison(tmp_path / "c.png", *files, limits=(280.0, 320.0))
    assert window.size == (50, 50)
    assert window.row <= 100 < 139 <= window.row + 50
    assert window.column <= 90 < 119 <= window.column + 50
    assert np.array_equal(next(iter(seen["panels"].values())), values[0, window.rows, window.columns])
    assert seen["where"] == (
        f"rows {window.row} to {window.row + 49}, columns {window.column} to {window.column + 49} of the input"
    )


@pytest.mark.parametrize("with_sigma", [False, True])
def test_a_comparison_is_a_picture_with_a_panel_for_sigma_where_there_is_one(scene, tmp_path, with_sigma):
    result = open_raster(write_thermal(tmp_path / "x2.tif", blown_up(scene.read(), 2)))
    sigma = result if with_sigma else None
    write_comparison(tmp_path / "c.png", scene, result, limits=(280.0, 320.0), sigma=sigma)
    width = pixels_of(tmp_path / "c.png").shape[1]
    assert width == pytest.approx(150 * (1.0 + (4 if with_sigma else 3) * 4.2), abs=2)
