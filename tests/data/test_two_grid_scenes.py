from pathlib import Path

import numpy as np
import pytest

from eorestore.config import DataSettings
from eorestore.data.rows import rows_of
from eorestore.data.two_grid_scenes import read_scene_rows, read_two_grids
from eorestore.errors import BandError, DataError, GridError, MissingError, UnknownNameError
from eorestore.raster import SENTINEL2_20M
from two_grid_scenes import ground, write_scene

HEADER = "id,place,split,scene,s2_offset\n"


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / "scenes.csv"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def test_a_folder_of_band_files_gives_both_grids_as_reflectance(tmp_path):
    scene = read_two_grids(write_scene(tmp_path / "s", height=32, width=48, seed=3))
    assert (scene.fine.shape, scene.coarse.shape, scene.valid.shape) == ((4, 32, 48), (6, 16, 24), (16, 24))
    np.testing.assert_allclose(scene.fine, ground(32, 48, seed=3)[:4], atol=1e-4)
    assert scene.valid.all()


def test_the_offset_of_later_products_is_taken_off(tmp_path):
    folder = write_scene(tmp_path / "s", height=32, width=48, scaled=False)
    plain, shifted = (read_two_grids(folder, s2_offset=offset) for offset in (0, 1000))
    np.testing.assert_allclose(plain.coarse - shifted.coarse, 0.1, atol=1e-6)
    np.testing.assert_allclose(plain.fine - shifted.fine, 0.1, atol=1e-6)


def test_pixels_without_values_are_filled_and_marked(tmp_path):
    values = ground(32, 48, seed=0)
    values[:4, 4, 6] = 0
    write_scene(tmp_path / "s", height=32, width=48, values=values)
    scene = read_two_grids(tmp_path / "s")
    assert scene.fine.min() > 0.01
    assert np.argwhere(~scene.valid).tolist() == [[2, 3]]


def test_grids_that_cover_different_ground_are_refused(tmp_path):
    with pytest.raises(GridError, match="different ground"):
        read_two_grids(write_scene(tmp_path / "s", shift=0.25))


def test_a_scene_without_a_band_is_refused(tmp_path):
    folder = write_scene(tmp_path / "s")
    (folder / "B11.tif").unlink()
    with pytest.raises(DataError, match="B11"):
        read_two_grids(folder)


def test_anything_else_is_no_scene(tmp_path):
    (tmp_path / "s.tif").write_bytes(b"")
    with pytest.raises(DataError, match="no scene on two grids"):
        read_two_grids(tmp_path / "s.tif")
    (tmp_path / "s").mkdir()
    with pytest.raises(BandError):
        read_two_grids(tmp_path / "s")


def test_a_matlab_file_needs_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "s.mat").write_bytes(b"")
    with pytest.raises(MissingError, match="h5py") as caught:
        read_two_grids(tmp_path / "s.mat")
    assert "eorestore[hdf]" in caught.value.fix


def test_a_matlab_file_gives_its_bands_in_the_order_of_sentinel2(tmp_path):
    h5py = pytest.importorskip("h5py")
    im10, im20 = (np.random.default_rng(0).integers(1, 9000, (n, s, s)).astype(np.float32) for n, s in ((4, 8), (6, 4)))
    im10[1, 2, 3] = 0
    with h5py.File(tmp_path / "s.mat", "w") as file:
        file["im10"], file["im20"] = im10, im20
    scene = read_two_grids(tmp_path / "s.mat", s2_offset=1000)
    known = (im10 > 0).all(axis=0)
    for row, source in enumerate((2, 1, 0, 3)):
        np.testing.assert_allclose(scene.fine[row][known], (im10[source][known] - 1000) / 1e4, atol=1e-6)
    np.testing.assert_allclose(scene.coarse, (im20 - 1000) / 1e4, atol=1e-6)
    assert not scene.valid[1, 1]
    assert scene.valid.sum() == 15
    with h5py.File(tmp_path / "s.mat", "w") as file:
        file["im10"] = im10
    with pytest.raises(DataError, match="im10 and im20"):
        read_two_grids(tmp_path / "s.mat")


@pytest.mark.real
def test_the_crops_of_dsen2_have_blue_brightest_and_red_darkest_at_their_darkest(real_data):
    """What air scatters into the sensor's view is the darkest that a band of the top of the atmosphere ever is."""
    pytest.importorskip("h5py")
    for path in sorted((real_data / "sr" / "DSen2").glob("*.mat")):
        scene = read_two_grids(path)
        blue, green, red, _ = scene.fine.min(axis=(1, 2))
        assert blue > green > red
        assert scene.coarse.shape == (len(SENTINEL2_20M), 300, 300)


def test_rows_are_read_with_their_offset_and_found_by_the_task(tmp_path):
    write_scene(tmp_path / "a")
    path = manifest(tmp_path, "one,p,train,a,1000", "two,q,validation,a,")
    rows = read_scene_rows(path)
    assert [(row.id, row.s2_offset, row.files) for row in rows] == [
        ("one", 1000, (tmp_path / "a",)),
        ("two", None, (tmp_path / "a",)),
    ]
    assert rows_of("band-sharpening", DataSettings(manifest=str(path))) == rows


@pytest.mark.parametrize(
    ("lines", "error", "match"),
    [
        (["one,p,train,a,", "one,q,train,a,"], DataError, "names the id one twice"),
        (["one,p,train,a,", "two,p,test,a,"], DataError, "place p stands in train and in test"),
        (["one,p,train,b,"], DataError, "there is no"),
        (["one,p,train,,"], DataError, "has no scene"),
        (["one,p,train,a,7"], DataError, "s2_offset '7'"),
        (["one,p,training,a,"], UnknownNameError, "training"),
    ],
)
def test_manifests_that_cannot_be_are_refused(tmp_path, lines, error, match):
    (tmp_path / "a").mkdir()
    with pytest.raises(error, match=match):
        read_scene_rows(manifest(tmp_path, *lines))


def test_headers_that_cannot_be_are_refused(tmp_path):
    path = tmp_path / "scenes.csv"
    with pytest.raises(DataError, match="no manifest at"):
        read_scene_rows(path)
    path.write_text("id,place,split\n")
    with pytest.raises(DataError, match="no manifest of scenes"):
        read_scene_rows(path)
    path.write_text(HEADER.strip() + ",sar\n")
    with pytest.raises(UnknownNameError):
        read_scene_rows(path)
