from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eorestore.errors import BandError, GridError
from eorestore.processing.units import convert
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster, Unit
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import open_raster, write_raster
from eorestore.reports import comparison
from eorestore.reports.comparison import compare_files, overview
from eorestore.reports.picture import shrink

REFLECTANCE = Encoding("uint16", scale=1e-4, nodata=0.0)


def scene(height: int = 48, width: int = 64, *, seed: int = 0) -> Raster:
    from eorestore.data.synthetic_scene import UTM_32N

    values = np.random.default_rng(seed).uniform(0.02, 0.4, (13, height, width))
    grid = Grid(UTM_32N, (10.0, 0.0, 6e5, 0.0, -10.0, 5.3e6), height, width)
    values = (np.rint(values * 1e4) / 1e4).astype(np.float32)
    return Raster(values, np.ones((height, width), dtype=bool), SENTINEL2_L1C, grid)


def write(path: Path, raster: Raster) -> Path:
    write_raster(path, raster, encoding=REFLECTANCE)
    return path


@pytest.mark.parametrize("strip", [1, 500, 10**9])
def test_an_overview_read_by_strips_is_the_shrunken_whole(tmp_path, monkeypatch, strip) -> None:
    monkeypatch.setattr(comparison, "_STRIP_PIXELS", strip)
    raster = scene(50, 61)
    raster.valid[10:20, 5:30] = False
    found = overview(open_raster(write(tmp_path / "a.tif", raster)), longest=16)
    whole = shrink(raster, longest=16)
    assert found.grid.same_as(replace(whole.grid, crs=found.grid.crs))
    assert np.array_equal(found.valid, whole.valid)
    assert np.allclose(found.values[:, whole.valid], whole.values[:, whole.valid], atol=1e-6)


def test_the_scores_on_the_page_are_those_of_scikit_image(tmp_path) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    before, after, reference = scene(seed=0), scene(seed=1), scene(seed=2)
    paths = [
        write(tmp_path / f"{name}.tif", raster) for name, raster in zip("bar", (before, after, reference), strict=True)
    ]
    compare_files(tmp_path / "v.html", before=paths[0], after=paths[1], reference=paths[2])
    text = (tmp_path / "v.html").read_text(encoding="utf-8")
    for raster in (before, after):
        theirs = peak_signal_noise_ratio(reference.values.astype(float), raster.values.astype(float), data_range=1.0)
        assert f"<td>{theirs:.2f}</td>" in text
        assert f"<td>{np.abs(raster.values - reference.values).mean():.4f}</td>" in text
    assert ">Error</b>" in text


def test_without_a_reference_the_difference_is_shown_and_nothing_is_scored(tmp_path) -> None:
    before, after = (write(tmp_path / f"{seed}.tif", scene(seed=seed)) for seed in (0, 1))
    compare_files(tmp_path / "v.html", before=before, after=after)
    text = (tmp_path / "v.html").read_text(encoding="utf-8")
    assert ">Difference</b>" in text
    assert "Scores" not in text


def test_radar_beside_an_optical_scene_is_drawn_with_its_own_stretch(tmp_path) -> None:
    after = write(tmp_path / "s2.tif", scene())
    optical = scene()
    radar = Raster(40 * optical.values[:2] - 25, optical.valid, SENTINEL1, optical.grid)
    write_raster(tmp_path / "s1.tif", radar, encoding=Encoding("float32", nodata=float("nan")))
    compare_files(tmp_path / "v.html", before=tmp_path / "s1.tif", after=after)
    text = (tmp_path / "v.html").read_text(encoding="utf-8")
    assert "a stretch of its own" in text
    assert ">Difference</b>" not in text


def test_radar_in_power_and_in_decibel_is_not_subtracted(tmp_path) -> None:
    optical = scene()
    radar = Raster(40 * optical.values[:2] - 25, optical.valid, SENTINEL1, optical.grid)
    encoding = Encoding("float32", nodata=float("nan"))
    write_raster(tmp_path / "db.tif", radar, encoding=encoding)
    write_raster(tmp_path / "power.tif", convert(radar, Unit.POWER), encoding=encoding)
    compare_files(tmp_path / "v.html", before=tmp_path / "db.tif", after=tmp_path / "power.tif")
    assert ">Difference</b>" not in (tmp_path / "v.html").read_text(encoding="utf-8")


def test_a_finer_raster_of_the_same_ground_is_compared(tmp_path) -> None:
    coarse = scene(24, 32)
    fine = scene(48, 64)
    fine = replace(fine, grid=coarse.grid.scale(2))
    paths = write(tmp_path / "c.tif", coarse), write(tmp_path / "f.tif", fine)
    compare_files(tmp_path / "v.html", before=paths[0], after=paths[1])
    assert "c.tif, 24 x 32" in (tmp_path / "v.html").read_text(encoding="utf-8")


def test_other_ground_is_refused_and_nothing_is_written(tmp_path) -> None:
    here, there = scene(), scene()
    there = replace(there, grid=replace(there.grid, transform=(10.0, 0.0, 7e5, 0.0, -10.0, 5.3e6)))
    with pytest.raises(GridError, match="does not cover the ground"):
        compare_files(
            tmp_path / "v.html", before=write(tmp_path / "a.tif", here), after=write(tmp_path / "b.tif", there)
        )
    assert not (tmp_path / "v.html").exists()


def test_a_band_that_is_not_there_is_named(tmp_path) -> None:
    path = write(tmp_path / "a.tif", scene())
    with pytest.raises(BandError, match="B77"):
        compare_files(tmp_path / "v.html", before=path, after=path, bands=("B77",))
