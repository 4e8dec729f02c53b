"""Scenes of any bands, units and shapes through a model that enlarges, in memory."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.registration import phase_cross_correlation

from eorestore.errors import UsageError
from eorestore.processing.resize import enlarge, shrink
from eorestore.raster import RGB, SENTINEL2_L1C, Band, BandSet, Raster, Unit
from eorestore.restorer import load_restorer, restore_raster
from eorestore.restorer.inference import Execution
from eorestore.restorer.plan import enlarging
from eorestore.tiling.compositing import Source
from small_enlargers import light_checkpoint, smooth, utm_grid

FOUR = SENTINEL2_L1C.select(("B02", "B03", "B04", "B08"))


@pytest.fixture(scope="module")
def light(tmp_path_factory) -> str:
    return str(light_checkpoint(tmp_path_factory.mktemp("models") / "light"))


def scene(bands: BandSet = FOUR, size=(45, 38), *, gap: bool = False, gain: float = 0.5, offset: float = 0.0) -> Raster:
    valid = np.ones(size, bool)
    if gap:
        valid[10:19, 14:30] = False
        valid[:, -5:] = False
    values = gain * smooth(len(bands), size) + np.float32(offset)
    return Raster(values.astype(np.float32), valid, bands, utm_grid(size))


def tiled(model: str, raster: Raster, tile: int, **options):
    return restore_raster(load_restorer(model, bands=raster.bands, tile=tile), {"low": raster}, **options)


@pytest.mark.parametrize("kind", ["convolution", "attention", "large-kernel"])
@pytest.mark.parametrize("size", [(45, 38), (70, 91)])
def test_tiled_is_the_whole_bit_by_bit(tmp_path, kind, size):
    """Odd sizes, gaps, bands in groups, back-projected."""
    model = str(light_checkpoint(tmp_path / "m", kind=kind))
    given = scene(size=size, gap=True)
    whole = tiled(model, given, 256).raster
    assert np.array_equal(tiled(model, given, 24).raster.values, whole.values)
    loose, other = (tiled(model, given, tile, consistent=False).raster.values for tile in (32, 256))
    assert np.array_equal(loose, other)


def test_the_grid_is_four_times_finer_over_the_same_ground(light):
    given = scene()
    found = restore_raster(light, {"low": given}).raster
    assert found.grid.size == (180, 152)
    assert found.grid.transform == (2.5, 0.0, 600_000.0, 0.0, -2.5, 5_400_000.0)
    assert found.grid.bounds == given.grid.bounds
    assert found.bands == given.bands


def test_a_pixel_without_observation_is_a_block_of_them(light):
    given = scene(gap=True)
    found = restore_raster(light, {"low": given})
    assert np.array_equal(found.raster.valid, np.kron(given.valid, np.ones((4, 4))).astype(bool))
    assert np.array_equal(found.source == Source.NODATA, ~found.raster.valid)


def test_what_lies_under_a_gap_cannot_change_its_surroundings(light):
    given, other = scene(gap=True), scene(gap=True)
    other.values[:, ~other.valid] = 1e6
    first, second = (restore_raster(light, {"low": one}).raster for one in (given, other))
    assert np.array_equal(first.values[:, first.valid], second.values[:, first.valid])


@pytest.mark.parametrize(
    ("bands", "gain", "offset"),
    [
        (SENTINEL2_L1C, 0.4, 0.0),
        (FOUR, 3.0, -0.5),
        (RGB, 255.0, 0.0),
        (BandSet((Band("thermal", Unit.KELVIN, 10.9),)), 30.0, 280.0),
        (BandSet((Band("VV", Unit.DECIBEL), Band("VH", Unit.DECIBEL))), 20.0, -25.0),
        (BandSet((Band("p", Unit.COUNT),)), 40_000.0, 100.0),
    ],
    ids=["13 bands", "beyond 0 and 1", "picture", "kelvin", "decibel", "count"],
)
def test_shrunk_again_it_is_the_scene_in_any_unit(light, bands, gain, offset):
    given = scene(bands, gain=gain, offset=offset)
    found = restore_raster(light, {"low": given}).raster
    assert np.abs(shrink(found.values.astype(np.float64), factor=4) - given.values).max() < 1e-4 * gain
    loose = restore_raster(light, {"low": given}, consistent=False).raster
    assert np.abs(shrink(loose.values.astype(np.float64), factor=4) - given.values).max() > 1e-3 * gain


def test_values_beyond_the_range_survive(light):
    given = scene(RGB, gain=600.0, offset=-200.0)
    found = restore_raster(light, {"low": given}).raster.values
    assert found.min() < -150
    assert found.max() > 350


def test_the_bands_of_the_model_go_through_it_as_they_are(light):
    """Those of a picture in another order, too."""
    given = scene(RGB, gain=255.0)
    turned = given.select(("blue", "red", "green"))
    found, other = (restore_raster(light, {"low": one}).raster for one in (given, turned))
    assert np.array_equal(found.values, other.select(RGB.names).values)
    fitted, done = load_restorer(light, bands=RGB).fitted(_pixels(given), consistent=None)
    assert done.groups == ()
    assert fitted.processor.inputs["low"].names == RGB.names


def test_the_range_of_other_units_is_taken_once_and_told(light):
    given = scene(BandSet((Band("thermal", Unit.KELVIN, 10.9),)), gain=30.0, offset=280.0)
    _, done = load_restorer(light, bands=given.bands).fitted(_pixels(given), consistent=None)
    assert done.ranges["thermal"] == pytest.approx(tuple(np.percentile(given.values[:, ::2, ::2], (1, 99))))
    assert done.groups == (("thermal",) * 3,)


def test_the_gain_and_offset_of_a_band_come_out_again_and_change_nothing_else(light):
    given = scene()
    gain, offset = (np.float32(one).reshape(4, 1, 1) for one in ([1.0, 0.1, 3.0, 0.5], [0.0, 0.2, -0.1, 0.05]))
    other = Raster(given.values * gain + offset, given.valid, given.bands, given.grid)
    found, changed = (restore_raster(light, {"low": one}).raster.values for one in (given, other))
    assert np.allclose(changed, found * gain + offset, atol=1e-5)


def test_a_constant_scene_stays_constant(light):
    given = scene(BandSet((Band("thermal", Unit.KELVIN, 10.9),)), gain=0.0, offset=300.0)
    assert np.allclose(restore_raster(light, {"low": given}).raster.values, 300.0, atol=1e-3)


@pytest.mark.parametrize("model", ["bicubic", "light"])
def test_the_result_lies_where_the_input_lies(light, model):
    """Within a twentieth of an output pixel, by phase correlation with the input enlarged by blocks."""
    given = scene(size=(64, 64))
    found = restore_raster(light if model == "light" else model, {"low": given}).raster
    for band in range(4):
        blocks = np.kron(given.values[band], np.ones((4, 4)))
        shift, *_ = phase_cross_correlation(blocks, found.values[band], upsample_factor=100, normalization=None)
        assert np.abs(shift).max() <= 0.05


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_is_bicubic_at_any_scale_and_not_corrected_unless_asked(scale):
    given = scene()
    found = restore_raster("bicubic", {"low": given}, scale=scale).raster
    np.testing.assert_allclose(found.values, enlarge(given.values, factor=scale), atol=1e-6)
    asked = restore_raster("bicubic", {"low": given}, scale=scale, consistent=True).raster
    assert np.abs(shrink(asked.values, factor=scale) - given.values).max() < 1e-4


def test_self_ensemble_stays_consistent(light):
    given = scene(size=(32, 24))
    found = restore_raster(light, {"low": given}, execution=Execution(tta=True)).raster
    assert np.abs(shrink(found.values, factor=4) - given.values).max() < 1e-4
    assert not np.array_equal(found.values, restore_raster(light, {"low": given}).raster.values)


def test_a_model_that_enlarges_takes_no_mask(light):
    with pytest.raises(UsageError, match="every pixel"):
        restore_raster(light, {"low": scene()}, mask="csmask")
    with pytest.raises(UsageError, match="every pixel"):
        restore_raster(light, {"low": scene()}, mask=np.ones((45, 38), bool))


def test_a_model_that_does_not_enlarge_cannot_be_made_consistent():
    with pytest.raises(UsageError, match="does not enlarge"):
        enlarging(load_restorer("identity", bands=FOUR).facts, True)


def test_the_reach_that_is_planned_with_is_that_of_the_network_and_more(light):
    loaded = load_restorer(light, bands=FOUR)
    fitted, _ = loaded.fitted(_pixels(scene()), consistent=None)
    assert fitted.facts.rule.reach == fitted.model.reach + 8
    assert fitted.model.reach == loaded.model.reach + 12


def test_a_dataarray_comes_out_finer_with_its_place():
    import rioxarray  # noqa: F401 - adds .rio to arrays
    import xarray

    import eorestore

    given = scene()
    a, _, left, _, e, top = given.grid.transform
    rows, columns = (np.arange(side) + 0.5 for side in given.grid.size)
    coords = {"band": list(FOUR.names), "y": e * rows + top, "x": a * columns + left}
    array = xarray.DataArray(given.values, dims=("band", "y", "x"), coords=coords).rio.write_crs(given.grid.crs)
    found = eorestore.restore(array, model="bicubic", scale=2)
    assert found.shape == (4, 90, 76)
    assert tuple(found.rio.transform())[:6] == (5.0, 0.0, left, 0.0, -5.0, top)
    assert found.rio.crs == array.rio.crs
    assert found.rio.bounds() == array.rio.bounds()
    np.testing.assert_allclose(found.values, enlarge(given.values, factor=2), atol=1e-6)


def _pixels(raster: Raster):
    from eorestore.raster import MemoryPixels

    return MemoryPixels(raster)
