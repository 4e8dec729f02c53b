"""What stands on disk afterwards: one file, a COG, or a folder of bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from eorestore.api import restore
from eorestore.errors import UsageError, WriteError
from eorestore.restorer.output import target_for
from small_scenes import make_world, read_tif, write_bands, write_tif, write_world


@pytest.fixture(scope="module")
def world():
    return make_world((120, 96), seed=7)


@pytest.fixture
def scene(tmp_path, world):
    return write_world(tmp_path / "in", world, tags={"DATETIME": "2021-05-04T10:00:00"})


def test_a_geotiff_keeps_grid_names_dtype_and_tags(scene, tmp_path):
    out = restore(scene / "s2.tif", model="inpaint", mask=f"{scene / 'mask.tif'}", out=tmp_path / "out.tif")
    with rasterio.open(scene / "s2.tif") as before, rasterio.open(out) as after:
        assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
        assert (after.descriptions, after.dtypes, after.nodata) == (before.descriptions, before.dtypes, before.nodata)
        tags = after.tags()
    assert tags["DATETIME"] == "2021-05-04T10:00:00"
    assert tags["EORESTORE_MODEL"] == "inpaint"
    assert tags["EORESTORE_S2_OFFSET"] == "0"
    assert tags["AREA_OR_POINT"] == "Area"


def test_a_cog_is_one_and_holds_the_same_pixels(scene, tmp_path):
    options = {"model": "inpaint", "mask": str(scene / "mask.tif")}
    plain = restore(scene / "s2.tif", out=tmp_path / "out.tif", **options)
    for out in (tmp_path / "named.cog.tif", tmp_path / "asked.tif"):
        restore(scene / "s2.tif", out=out, cog=out.name.startswith("asked"), **options)
        with rasterio.open(out) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.descriptions[1] == "B02"
        assert np.array_equal(read_tif(out), read_tif(plain))


def test_the_source_layer_says_where_each_pixel_comes_from(scene, tmp_path, world):
    options = {"model": "inpaint", "mask": str(scene / "mask.tif"), "save": ("source",)}
    for name in ("out.tif", "cog.cog.tif", "folder"):
        restore(
            scene / "s2.tif" if name != "folder" else write_bands(tmp_path / "b", world), out=tmp_path / name, **options
        )
    for name in ("out.source.tif", "cog.source.tif", "folder.source.tif"):
        source = read_tif(tmp_path / name)[0]
        assert np.array_equal(source == 2, world.mask)
        assert np.array_equal(source == 1, ~world.mask)


def test_a_folder_has_each_band_on_its_own_grid(tmp_path, world, scene):
    bands = write_bands(tmp_path / "bands", world)
    out = restore(bands, model="inpaint", mask=str(scene / "mask.tif"), out=tmp_path / "clear")
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in bands.iterdir())
    for path in sorted(bands.iterdir()):
        with rasterio.open(path) as before, rasterio.open(out / path.name) as after:
            assert (after.crs, after.transform, after.shape) == (before.crs, before.transform, before.shape)
            assert after.dtypes == before.dtypes
            old, new = before.read(1), after.read(1)
        step = world.mask.shape[0] // old.shape[0]
        height, width = old.shape
        mask = world.mask[: height * step, : width * step].reshape(height, step, width, step).any(axis=(1, 3))
        assert np.array_equal(new[~mask], old[~mask]), path.name
        assert (new[mask] != old[mask]).mean() > 0.7, path.name
    assert not list(tmp_path.glob(".*"))


def test_restored_coarse_pixels_are_means_of_the_restored_fine_ones(tmp_path, world, scene):
    bands = write_bands(tmp_path / "bands", world)
    mask = str(scene / "mask.tif")
    folder = restore(bands, model="inpaint", mask=mask, out=tmp_path / "clear")
    fine = restore(bands, model="inpaint", mask=mask, out=tmp_path / "clear.tif")
    b11 = read_tif(fine)[11].astype(float).reshape(60, 2, 48, 2).mean(axis=(1, 3))
    inside = world.mask.reshape(60, 2, 48, 2).all(axis=(1, 3))
    difference = np.abs(read_tif(folder / "B11.tif")[0] - b11)[inside]
    assert np.percentile(difference, 95) <= 2


def test_bands_on_one_grid_come_out_as_one_file_on_the_finest(tmp_path, world, scene):
    bands = write_bands(tmp_path / "bands", world)
    out = restore(bands, model="inpaint", mask=str(scene / "mask.tif"), out=tmp_path / "one.tif")
    with rasterio.open(out) as file:
        assert file.shape == (120, 96)
        assert file.descriptions[0] == "B01"
        values = file.read()
    clear = ~world.mask
    for index in (1, 2, 3, 7):
        assert np.array_equal(values[index][clear], world.dn[index][clear])


def test_a_restored_folder_is_read_with_the_same_offset(tmp_path, world, scene):
    """The folder's own metadata.json stays behind; the tags of its files say what it said."""
    from eorestore.raster.files import open_raster

    bands = write_bands(tmp_path / "bands", world)
    (bands / "metadata.json").write_text('{"PROCESSING_BASELINE": "05.09", "system:time_start": 1620000000000}')
    out = restore(bands, model="inpaint", mask=str(scene / "mask.tif"), out=tmp_path / "clear")
    before, after = open_raster(bands), open_raster(out)
    assert after.encoding == before.encoding
    assert before.encoding.offset == pytest.approx(-0.1)
    assert after.date == before.date


def test_a_box_of_a_folder_is_cut_from_every_band(tmp_path, world):
    bands = write_bands(tmp_path / "bands", world)
    grid = world.cloudy.grid
    (left, top), (right, bottom) = grid.position(12, 24), grid.position(72, 84)
    out = restore(bands, model="identity", mask="none", out=tmp_path / "cut", bbox=(left, bottom, right, top))
    assert read_tif(out / "B02.tif").shape == (1, 60, 60)
    assert np.array_equal(read_tif(out / "B02.tif")[0], world.dn[1, 12:72, 24:84])
    assert read_tif(out / "B11.tif").shape == (1, 30, 30)
    assert read_tif(out / "B01.tif").shape == (1, 10, 10)
    with rasterio.open(out / "B11.tif") as file:
        assert (file.transform.c, file.transform.f) == (left, top)


def test_nothing_is_overwritten_unless_asked(scene, tmp_path):
    out = tmp_path / "out.tif"
    out.write_text("precious")
    with pytest.raises(WriteError, match="exists already"):
        restore(scene / "s2.tif", model="identity", mask="none", out=out)
    assert out.read_text() == "precious"
    restore(scene / "s2.tif", model="identity", mask="none", out=out, overwrite=True)
    assert np.array_equal(read_tif(out), read_tif(scene / "s2.tif"))


def test_a_source_layer_of_another_run_is_not_overwritten_unasked(scene, tmp_path):
    (tmp_path / "out.source.tif").write_text("precious")
    with pytest.raises(WriteError, match="exists already"):
        restore(scene / "s2.tif", model="identity", mask="none", out=tmp_path / "out.tif", save=("source",))
    assert (tmp_path / "out.source.tif").read_text() == "precious"


def test_a_folder_that_holds_other_things_is_never_replaced(tmp_path, world):
    bands = write_bands(tmp_path / "bands", world)
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(WriteError, match="more than band files"):
        restore(bands, model="identity", mask="none", out=home, overwrite=True)
    assert (home / "thesis.txt").exists()
    old = write_tif(tmp_path / "old" / "B02.tif", np.ones((1, 4, 4), np.uint16), world.cloudy.grid).parent
    restore(bands, model="identity", mask="none", out=old, overwrite=True)
    assert len(list(old.iterdir())) == 13


@pytest.mark.parametrize("made", ["file", "folder"])
def test_a_file_is_not_replaced_by_a_folder_nor_a_folder_by_a_file(tmp_path, made):
    path = tmp_path / ("out" if made == "file" else "out.tif")
    path.mkdir() if made == "folder" else path.write_text("")
    with pytest.raises(WriteError, match=f"is a {made}"):
        target_for(path, cog=False, overwrite=True)


@pytest.mark.parametrize("key", ["optical", "sar", "mask"])
def test_an_input_is_never_overwritten(scene, key):
    path = scene / {"optical": "s2.tif", "sar": "s1.tif", "mask": "mask.tif"}[key]
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is an input"):
        restore(
            scene / "s2.tif",
            sar=scene / "s1.tif",
            model="identity",
            mask=str(scene / "mask.tif"),
            out=path,
            overwrite=True,
        )
    assert path.read_bytes() == before


def test_an_unknown_suffix_names_the_known_ones():
    with pytest.raises(UsageError, match=r"no output format \.jpg"):
        target_for(Path("x.jpg"), cog=False, overwrite=False)


def test_what_a_killed_run_left_is_cleaned_away(scene, tmp_path):
    stale = tmp_path / ".out.tif.99999.partial.tif"
    stale.write_text("half")
    restore(scene / "s2.tif", model="identity", mask="none", out=tmp_path / "out.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.tif", "out.tif.json", "out.tif.preview.png"]
