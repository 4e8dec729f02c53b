"""One clear scene in one .npz."""

import numpy as np
import pytest

from eorestore.data.scene_arrays import load_scene, save_scene
from eorestore.errors import BandError, DataError, GridError, UnitError
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster, Unit, Window

GRID = Grid('LOCAL_CS["somewhere"]', (10.0, 0.0, 500000.0, 0.0, -10.0, 4600000.0), 6, 5)


def scene() -> tuple[Raster, Raster]:
    rng = np.random.default_rng(0)
    optical = rng.random((13, 6, 5), dtype=np.float32)
    sar = rng.uniform(-25, 0, (2, 6, 5)).astype(np.float32)
    valid = np.ones((6, 5), dtype=bool)
    valid[0, 0] = False
    return (
        Raster(optical, valid, SENTINEL2_L1C, GRID),
        Raster(sar, np.ones((6, 5), dtype=bool), SENTINEL1, GRID),
    )


def test_a_scene_comes_back_as_it_was(tmp_path):
    optical, sar = scene()
    save_scene(tmp_path / "a.npz", optical=optical, sar=sar)
    loaded = load_scene(tmp_path / "a.npz")
    for before, after in ((optical, loaded.optical), (sar, loaded.sar)):
        assert np.array_equal(before.values, after.values)
        assert np.array_equal(before.valid, after.valid)
        assert (before.bands, before.grid) == (after.bands, after.grid)


def test_a_scene_without_sar_has_none(tmp_path):
    save_scene(tmp_path / "a.npz", optical=scene()[0])
    assert load_scene(tmp_path / "a.npz").sar is None


def test_nothing_but_the_scene_is_left_in_the_folder(tmp_path):
    save_scene(tmp_path / "a.npz", optical=scene()[0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_of_plain_arrays_is_read_and_nan_is_not_valid(tmp_path):
    optical = scene()[0].values.copy()
    optical[3, 2, 1] = np.nan
    np.savez(
        tmp_path / "a.npz", optical=optical, bands=["B1", *SENTINEL2_L1C.names[1:]], crs="x", transform=GRID.transform
    )
    loaded = load_scene(tmp_path / "a.npz").optical
    assert loaded.bands.names[0] == "B01"
    assert np.isfinite(loaded.values).all()
    assert np.argwhere(~loaded.valid).tolist() == [[2, 1]]


def test_sar_on_another_grid_is_refused(tmp_path):
    optical, sar = scene()
    with pytest.raises(GridError, match="another grid"):
        save_scene(tmp_path / "a.npz", optical=optical, sar=sar.crop(Window(0, 0, 5, 5)))


def test_sar_in_power_is_refused(tmp_path):
    optical, sar = scene()
    power = Raster(sar.values, sar.valid, sar.bands.with_unit(Unit.POWER), sar.grid)
    with pytest.raises(UnitError, match="the sar scene is in power"):
        save_scene(tmp_path / "a.npz", optical=optical, sar=power)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"does not end in \.npz"):
        save_scene(tmp_path / "a.tif", optical=scene()[0])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"\x80\x04N.", b"II*\x00"])
def test_a_file_that_is_no_scene_says_so(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz is not a readable scene"):
        load_scene(tmp_path / "a.npz")


def test_a_truncated_scene_says_so(tmp_path):
    path = tmp_path / "a.npz"
    save_scene(path, optical=scene()[0])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="not a readable scene"):
        load_scene(path)


def test_objects_in_the_file_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", optical=np.array([object()], dtype=object))
    with pytest.raises(DataError, match="not a readable scene"):
        load_scene(tmp_path / "a.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no scene at"):
        load_scene(tmp_path / "a.npz")


@pytest.mark.parametrize("key", ["optical", "bands", "crs", "transform"])
def test_a_missing_array_is_named(tmp_path, key):
    arrays = {"optical": scene()[0].values, "bands": SENTINEL2_L1C.names, "crs": "x", "transform": GRID.transform}
    np.savez(tmp_path / "a.npz", **{name: value for name, value in arrays.items() if name != key})
    with pytest.raises(DataError, match=f"has no {key}"):
        load_scene(tmp_path / "a.npz")


def test_an_unknown_band_is_named(tmp_path):
    names = ["B99", *SENTINEL2_L1C.names[1:]]
    np.savez(tmp_path / "a.npz", optical=scene()[0].values, bands=names, crs="x", transform=GRID.transform)
    with pytest.raises(BandError, match="B99"):
        load_scene(tmp_path / "a.npz")


def test_a_single_picture_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", optical=np.ones((6, 5)), bands=["B02"], crs="x", transform=GRID.transform)
    with pytest.raises(DataError, match=r"shape \(6, 5\)"):
        load_scene(tmp_path / "a.npz")


def test_a_mask_of_another_size_is_refused(tmp_path):
    arrays = {"optical": scene()[0].values, "bands": SENTINEL2_L1C.names, "crs": "x", "transform": GRID.transform}
    np.savez(tmp_path / "a.npz", **arrays, valid=np.ones((5, 6), dtype=bool))
    with pytest.raises(DataError, match=r"valid is \(5, 6\), the scene \(6, 5\)"):
        load_scene(tmp_path / "a.npz")
