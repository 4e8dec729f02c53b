import json

import numpy as np
import pytest
import rasterio
import torch

from eorestore.cli.app import run
from eorestore.errors import GridError, UsageError
from eorestore.layers.halving import halve
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS
from eorestore.raster import SENTINEL2_10M, SENTINEL2_20M, SENTINEL2_L1C
from eorestore.raster.files import open_raster
from eorestore.restorer.coarse_bands import with_repeated_bands
from eorestore.restorer.request import Request
from eorestore.restorer.run import restore_file
from two_grid_scenes import CORNER, ground, write_bands, write_scene

TEN = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


@pytest.fixture
def scene(tmp_path):
    folder = write_scene(tmp_path / "scene", height=60, width=84)
    write_bands(folder, ground(10, 14, seed=9)[:1], SENTINEL2_L1C.select(("B01",)), pixel=60.0)
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    model = build_model("band-sharpening", {"channels": 8, "blocks": 1})
    with torch.no_grad():
        model.leave.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    save_checkpoint(
        tmp_path / "sharp",
        model.eval(),
        PROCESSORS["sentinel2-20m"](),
        task="band-sharpening",
        provenance={},
        tile=32,
        overlap=0,
    )
    return tmp_path / "sharp"


def dn(path):
    with rasterio.open(path) as file:
        return dict(zip(file.descriptions, file.read(), strict=True))


def of_folder(folder, names):
    return {name: dn(folder / f"{name}.tif")[name].astype(np.int64) for name in names}


def test_every_coarse_pixel_is_there_four_times_and_60_m_bands_are_left_out(scene):
    seen, notes, warnings = with_repeated_bands(open_raster(scene))
    assert seen.bands.names == TEN
    raw = seen.read_raw()
    for name, own in of_folder(scene, SENTINEL2_20M.names).items():
        np.testing.assert_array_equal(raw[TEN.index(name)], own.repeat(2, axis=0).repeat(2, axis=1))
    for name, own in of_folder(scene, SENTINEL2_10M.names).items():
        np.testing.assert_array_equal(raw[TEN.index(name)], own)
    assert not any("bilinear" in note for note in notes)
    assert any("repeated 2 x 2" in note for note in notes)
    assert [warning for warning in warnings if "B01" in warning]


def test_a_window_on_edges_of_coarse_pixels_is_taken_and_others_are_refused(scene):
    left, top = CORNER
    whole = open_raster(scene)
    box = (left + 40, top - 300, left + 400, top - 20)
    seen, _, _ = with_repeated_bands(whole.crop(whole.grid.window(box)))
    own = of_folder(scene, ["B05"])["B05"][1:15, 2:20]
    np.testing.assert_array_equal(seen.read_raw()[TEN.index("B05")], own.repeat(2, axis=0).repeat(2, axis=1))
    for shifted in ((left + 50, top - 300, left + 410, top - 20), (left + 40, top - 300, left + 390, top - 20)):
        with pytest.raises(GridError, match="inside a pixel of B05"):
            with_repeated_bands(whole.crop(whole.grid.window(shifted)))


def test_coarse_pixels_that_lie_across_fine_ones_are_refused(tmp_path):
    with pytest.raises(GridError, match="not 2 x 2 pixels"):
        with_repeated_bands(open_raster(write_scene(tmp_path / "scene", shift=0.25)))


def test_bands_that_were_resampled_before_are_told(tmp_path):
    folder = tmp_path / "scene"
    write_bands(folder, ground(32, 40, seed=0), type(SENTINEL2_10M)((*SENTINEL2_10M, *SENTINEL2_20M)), pixel=10.0)
    seen, _, warnings = with_repeated_bands(open_raster(folder))
    assert set(seen.bands.names) == set(TEN)
    assert [warning for warning in warnings if "averaged 2 x 2" in warning]


def test_a_folder_is_restored_to_ten_bands_of_10_m_that_halve_to_what_was_there(scene, checkpoint, tmp_path):
    out = tmp_path / "sharp.tif"
    assert run(["restore", "-m", str(checkpoint), str(scene), "-o", str(out)]) == 0
    found = dn(out)
    assert tuple(found) == TEN
    for name, own in of_folder(scene, SENTINEL2_10M.names).items():
        np.testing.assert_array_equal(found[name], own)
    changed = 0
    for name, own in of_folder(scene, SENTINEL2_20M.names).items():
        small = halve(torch.from_numpy(found[name].astype(np.float64))[None, None])[0, 0].numpy()
        assert np.abs(small - own).max() <= 0.5 + 1e-6  # DN are whole numbers
        changed += np.abs(found[name] - own.repeat(2, axis=0).repeat(2, axis=1)).max() > 50
    assert changed == 6
    with rasterio.open(out) as file, rasterio.open(scene / "B02.tif") as fine:
        assert file.transform == fine.transform
    facts = json.loads((tmp_path / "sharp.tif.json").read_text())
    assert facts["mask"] == "none"
    assert any("repeated 2 x 2" in note for note in facts["notes"])


def test_tiles_give_the_pixels_of_the_whole_scene(scene, checkpoint, tmp_path):
    whole, tiled = tmp_path / "whole.tif", tmp_path / "tiled.tif"
    restore_file(Request(scene, whole, model=str(checkpoint), tile=512))
    restore_file(Request(scene, tiled, model=str(checkpoint), tile=16))
    for name, expected in dn(whole).items():
        # float32 sums of another order may fall on the other side of a half
        assert np.abs(dn(tiled)[name].astype(int) - expected.astype(int)).max() <= 1, name


def test_baselines_sharpen_a_scene_by_name(scene, tmp_path):
    """The bands of this ground are mixtures of four fields, which high-pass injection can find from four fine bands."""
    truth, errors = ground(60, 84, seed=0)[4], {}
    for name in ("bicubic-20m", "high-pass-injection"):
        out = tmp_path / f"{name}.tif"
        assert run(["restore", "-m", name, str(scene), "-o", str(out)]) == 0
        assert tuple(dn(out)) == TEN
        errors[name] = np.abs(dn(out)["B05"] / 1e4 - truth).mean()
    assert errors["high-pass-injection"] < 0.002 < 0.01 < errors["bicubic-20m"] < 0.05


def test_a_folder_of_bands_cannot_hold_the_result(scene, checkpoint, tmp_path):
    with pytest.raises(UsageError, match="every band keeps its own pixels"):
        restore_file(Request(scene, tmp_path / "folder", model=str(checkpoint)))


def test_the_estimate_tells_the_bands_of_the_result(scene, checkpoint, tmp_path):
    from eorestore.restorer.estimate import estimate

    facts = estimate(Request(scene, tmp_path / "sharp.tif", model=str(checkpoint)))
    assert facts["bands"] == list(TEN)


@pytest.mark.real
def test_a_real_scene_of_three_resolutions_comes_out_on_its_10_m_grid(real_data, checkpoint, tmp_path):
    folder, out = real_data / "cloud" / "majortom" / "0U_199R", tmp_path / "sharp.tif"
    restore_file(Request(folder, out, model=str(checkpoint), tile=256, s2_offset=1000))
    found = dn(out)
    with rasterio.open(out) as file, rasterio.open(folder / "B02.tif") as fine:
        assert (file.shape, file.transform, file.crs) == (fine.shape, fine.transform, fine.crs)
        np.testing.assert_array_equal(found["B02"], fine.read(1))
    with rasterio.open(folder / "B11.tif") as file:
        own = file.read(1).astype(float)
    small = halve(torch.from_numpy(found["B11"].astype(np.float64))[None, None])[0, 0].numpy()
    assert np.abs(small - own).max() <= 0.5 + 1e-6
