"""Scenes restored in memory and from file to file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window as RasterioWindow

import eorestore
from eorestore.api import restore
from eorestore.errors import BandError, GridError, MaskError, UsageError
from eorestore.raster import Raster, Window
from eorestore.restorer import restore_raster
from small_scenes import NAMES, make_world, read_tif, tiny_checkpoint, write_bands, write_tif, write_world


@pytest.fixture(scope="module")
def world():
    return make_world((100, 84), seed=8)


@pytest.fixture
def scene(tmp_path, world):
    return write_world(tmp_path / "in", world)


def test_a_raster_comes_out_as_a_raster(world):
    result = eorestore.restore(world.cloudy, sar=world.place.sar, model="sar-regression", mask=world.mask)
    assert isinstance(result, Raster)
    assert (result.bands, result.grid) == (world.cloudy.bands, world.cloudy.grid)
    assert np.array_equal(result.values[:, ~world.mask], world.cloudy.values[:, ~world.mask])
    clear = world.place.optical.values[:, world.mask]
    before, after = (np.abs(raster.values[:, world.mask] - clear).mean() for raster in (world.cloudy, result))
    assert after < 0.5 * before


def test_a_dataarray_comes_out_as_a_dataarray_with_its_crs(world):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("rioxarray")
    grid = world.cloudy.grid
    values = world.cloudy.values.copy()
    values[:, :5] = np.nan

    def array(values, names):
        rows, columns = np.arange(grid.height), np.arange(grid.width)
        coords = {
            "band": list(names),
            "y": [grid.position(row + 0.5, 0)[1] for row in rows],
            "x": [grid.position(0, column + 0.5)[0] for column in columns],
        }
        made = xarray.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs={"place": "somewhere"})
        return made.rio.write_crs(grid.crs)

    optical, sar = array(values, NAMES), array(world.place.sar.values, ("VV", "VH"))
    result = eorestore.restore(optical, sar=sar, model="sar-regression", mask=world.mask)
    assert isinstance(result, xarray.DataArray)
    assert result.rio.crs == optical.rio.crs
    assert result.rio.transform() == optical.rio.transform()
    assert result.attrs == optical.attrs
    assert list(result.band.values) == list(NAMES)
    assert np.isnan(result.values[:, :5]).all()
    assert np.isfinite(result.values[:, 5:]).all()
    np.testing.assert_array_equal(
        result.values[:, 5:][:, ~world.mask[5:]], world.cloudy.values[:, 5:][:, ~world.mask[5:]]
    )
    assert not np.array_equal(result.values[:, 5:], world.cloudy.values[:, 5:])


def test_values_under_the_mask_change_nothing_in_a_model_that_ignores_them(tmp_path, world):
    results = []
    for value in (None, 65535, 1):
        dn = world.dn.copy()
        if value is not None:
            dn[:, world.mask] = value
        folder = write_world(tmp_path / str(value), world, dn=dn)
        out = restore(folder / "s2.tif", model="inpaint", mask=str(folder / "mask.tif"), out=folder / "out.tif")
        results.append(read_tif(out))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_values_under_the_mask_change_nothing_in_an_estimate_network(tmp_path, world):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8, start="estimate"))
    results = []
    for value in (None, 1.0, 0.0):
        values = world.cloudy.values.copy()
        if value is not None:
            values[:, world.mask] = value
        rasters = {"cloudy": replace(world.cloudy, values=values), "sar": world.place.sar}
        results.append(restore_raster(checkpoint, rasters, mask=world.mask).raster.values[:, world.mask])
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("kind", ["uint16", "offset", "int16", "float32", "scaled"])
@pytest.mark.parametrize("model", ["inpaint", "sar-regression"])
def test_clear_pixels_are_copied_bit_by_bit(tmp_path, world, kind, model):
    dn, options, known = world.dn, {}, {}
    if kind == "offset":
        dn, known = dn + np.uint16(1000), {"s2_offset": 1000}
    elif kind == "int16":
        dn = np.minimum(dn, 32000).astype(np.int16)
        dn[3] -= 40
    elif kind == "float32":
        dn = world.cloudy.values
    folder = write_world(tmp_path / "in", world, dn=dn, **options)
    if kind == "scaled":
        with rasterio.open(folder / "s2.tif", "r+") as file:
            file.scales, file.offsets = [1e-4] * 13, [0.0] * 13
    before = read_tif(folder / "s2.tif")
    out = restore(
        folder / "s2.tif",
        sar=folder / "s1.tif",
        model=model,
        mask=str(folder / "mask.tif"),
        out=tmp_path / "o.tif",
        **known,
    )
    after = read_tif(out)
    assert after.dtype == before.dtype
    assert np.array_equal(after[:, ~world.mask], before[:, ~world.mask])
    assert (after != before)[:, world.mask].mean() > 0.8


def test_the_offset_of_the_input_is_the_offset_of_the_output(tmp_path, world):
    """Restored reflectance is the same with and without the +1000 of later baselines."""
    results = {}
    for offset in (0, 1000):
        folder = write_world(
            tmp_path / str(offset), world, dn=world.dn + np.uint16(offset), tags={"RADIO_ADD_OFFSET": str(-offset)}
        )
        out = restore(folder / "s2.tif", model="inpaint", mask=str(folder / "mask.tif"), out=folder / "out.tif")
        results[offset] = read_tif(out).astype(int) - offset
    assert np.abs(results[0] - results[1000]).max() <= 1


def test_nodata_in_is_nodata_out(tmp_path, world):
    dn = world.dn.copy()
    dn[:, 40:60, 30:50] = 0
    folder = write_world(tmp_path / "in", world, dn=dn, nodata=0)
    for model, mask in (("inpaint", str(folder / "mask.tif")), ("identity", "none")):
        out = restore(folder / "s2.tif", model=model, mask=mask, out=tmp_path / f"{model}.tif", save=("source",))
        after = read_tif(out)
        assert (after[:, 40:60, 30:50] == 0).all()
        assert (after.max(axis=0) > 0).sum() == 100 * 84 - 400
        assert np.array_equal(read_tif(tmp_path / f"{model}.source.tif")[0] == 0, (dn == 0).all(axis=0))


def test_nan_in_is_nan_out(tmp_path, world):
    values = world.cloudy.values.copy()
    values[:, :20] = np.nan
    folder = write_world(tmp_path / "in", world, dn=values)
    out = restore(folder / "s2.tif", model="inpaint", mask=str(folder / "mask.tif"), out=tmp_path / "out.tif")
    after = read_tif(out)
    assert np.isnan(after[:, :20]).all()
    assert np.isfinite(after[:, 20:]).all()


def test_mask_none_rewrites_every_pixel_and_says_so(tmp_path, scene, world, caplog):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8))
    with caplog.at_level("INFO", logger="eorestore"):
        out = restore(scene / "s2.tif", sar=scene / "s1.tif", model=checkpoint, mask="none", out=tmp_path / "out.tif")
    assert (read_tif(out) != world.dn).mean() > 0.9
    assert "every valid pixel of the scene is rewritten" in caplog.text


def test_identity_with_mask_none_gives_the_file_back(tmp_path, scene, world):
    out = restore(scene / "s2.tif", model="identity", mask="none", out=tmp_path / "out.tif", tile=32)
    assert np.array_equal(read_tif(out), world.dn)


def test_a_box_gives_what_the_cropped_file_gives(tmp_path, scene, world):
    grid = world.cloudy.grid
    inner = Window(20, 12, 60, 50)
    (left, top), (right, bottom) = grid.position(20, 12), grid.position(80, 62)
    whole, cut = scene / "s2.tif", tmp_path / "cut"
    small = grid.crop(inner)
    for name, names in (("s2.tif", NAMES), ("s1.tif", ("VV", "VH")), ("mask.tif", None)):
        with rasterio.open(scene / name) as file:
            values = file.read(window=RasterioWindow(12, 20, 50, 60))
        write_tif(cut / name, values, small, names=names)
    options = {"model": "sar-regression", "mask": str(scene / "mask.tif")}
    boxed = restore(whole, sar=scene / "s1.tif", out=tmp_path / "boxed.tif", bbox=(left, bottom, right, top), **options)
    plain = restore(cut / "s2.tif", sar=cut / "s1.tif", out=tmp_path / "plain.tif", **options)
    with rasterio.open(boxed) as one, rasterio.open(plain) as two:
        assert one.transform == two.transform
        assert np.array_equal(one.read(), two.read())


def test_a_level_2a_folder_without_b10_is_restored(tmp_path, world, scene):
    bands = write_bands(tmp_path / "bands", world)
    (bands / "B10.tif").unlink()
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8, start="estimate"))
    for model in ("inpaint", checkpoint):
        out = restore(
            bands,
            sar=scene / "s1.tif",
            model=model,
            mask=str(scene / "mask.tif"),
            out=tmp_path / "out.tif",
            overwrite=True,
        )
        with rasterio.open(out) as file:
            assert file.count == 12
            assert "B10" not in file.descriptions
            assert np.array_equal(file.read(2)[~world.mask], world.dn[1][~world.mask])


def test_a_mask_that_marks_nothing_gives_the_scene_back(world):
    result = restore_raster("inpaint", {"cloudy": world.cloudy}, mask=np.zeros_like(world.mask))
    assert np.array_equal(result.raster.values, world.cloudy.values)
    assert (result.source == 1).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"mask": np.ones((3, 3), bool)}, UsageError, "scene's size"),
        ({"mask": "clouds"}, UsageError, "no mask is called"),
        ({"out": "x.tif"}, UsageError, "go with paths"),
        ({"sar": None}, UsageError, "sar"),
        ({"mask": np.ones((100, 84), bool)}, MaskError, "clear"),
    ],
)
def test_what_cannot_be_done_in_memory_is_said(world, change, error, words):
    options = {"sar": world.place.sar, "model": "sar-regression", "mask": world.mask} | change
    with pytest.raises(error) as caught:
        eorestore.restore(world.cloudy, **options)
    assert words in f"{caught.value.message} {caught.value.fix}"


def test_sar_on_another_grid_is_refused_in_memory(world):
    sar = world.place.sar.crop(Window(0, 0, 50, 84))
    with pytest.raises(GridError, match="another grid"):
        eorestore.restore(world.cloudy, sar=sar, model="sar-regression", mask=world.mask)


def test_a_missing_band_is_named(tmp_path, world):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny"))
    few = world.cloudy.select(("B02", "B03", "B04"))
    with pytest.raises(BandError, match="B01"):
        eorestore.restore(few, sar=world.place.sar, model=checkpoint, mask=world.mask)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": None}, "no output"),
        ({"tiles": 3}, "takes no tiles"),
        ({"mask": np.ones((2, 2), bool)}, "no mask for a file"),
        ({"sar": np.ones((2, 2, 2))}, "SAR is none"),
        ({"precision": "fp8"}, "fp8"),
        ({"batch": 0}, "batch"),
        ({"tile": 4}, "too small"),
        ({"device": "tpu"}, "tpu"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"resume": True, "journal": False}, "journal"),
    ],
)
def test_options_that_make_no_sense_are_refused(scene, tmp_path, options, words):
    with pytest.raises(UsageError, match=words):
        restore(scene / "s2.tif", **({"out": tmp_path / "out.tif", "model": "identity"} | options))
    assert not list(tmp_path.glob("out*"))


def test_a_model_by_name_is_a_network_in_eval_mode(tmp_path):
    import torch

    folder = tiny_checkpoint(tmp_path / "tiny")
    model = eorestore.load_model(folder)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    with torch.inference_mode():
        image = model(cloudy=torch.rand(1, 13, 32, 32), sar=torch.rand(1, 2, 32, 32)).image
    assert image.shape == (1, 13, 32, 32)
    assert not eorestore.load_model("identity").training
    with pytest.raises(UsageError, match="without weights"):
        eorestore.load_model("glf-cr-v0")
