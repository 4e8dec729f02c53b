import numpy as np
import pytest

from eorestore.errors import BandError, GridError
from eorestore.processing.units import convert
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, THERMAL, BandSet, Grid, Raster, Unit
from eorestore.reports import picture as pictures
from eorestore.reports.picture import NEUTRAL, Stretch, colour_map, picture, shrink


def scene(bands: BandSet = SENTINEL2_L1C, *, height: int = 20, width: int = 30, seed: int = 0) -> Raster:
    values = np.random.default_rng(seed).uniform(0.05, 0.4, (len(bands), height, width)).astype(np.float32)
    if all(band.unit is Unit.DECIBEL for band in bands):
        values = 40 * values - 25
    grid = Grid("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), height, width)
    return Raster(values, np.ones((height, width), dtype=bool), bands, grid)


def test_true_colour_takes_red_green_blue_by_name_whatever_the_order_of_bands() -> None:
    raster = scene()
    turned = raster.select(raster.bands.names[::-1])
    assert np.array_equal(picture(raster), picture(turned))
    assert np.array_equal(picture(raster), picture(raster, bands=("B04", "B03", "B02")))


def test_the_stretch_is_the_percentiles_that_numpy_finds() -> None:
    raster = scene()
    stretch = Stretch.of(raster)
    red = raster.values[raster.bands.index("B04")]
    assert stretch.low[0] == pytest.approx(np.percentile(red, 2))
    assert stretch.high[0] == pytest.approx(np.percentile(red, 98))


def test_the_rescaled_picture_agrees_with_scikit_image() -> None:
    from skimage.exposure import rescale_intensity

    raster = scene()
    stretch = Stretch.of(raster)
    red = raster.values[raster.bands.index("B04")].astype(float)
    theirs = rescale_intensity(red, in_range=(stretch.low[0], stretch.high[0]), out_range=(0.0, 255.0))
    assert np.abs(picture(raster)[..., 0] - theirs).max() <= 0.51


def test_one_stretch_keeps_equal_values_equal_in_both_pictures() -> None:
    before, after = scene(), scene(seed=1)
    after.values[:, 3, 4] = before.values[:, 5, 6]
    stretch = Stretch.of(after)
    assert np.array_equal(picture(before, stretch=stretch)[5, 6], picture(after, stretch=stretch)[3, 4])


def test_invalid_pixels_are_grey_and_cannot_change_the_stretch() -> None:
    raster = scene()
    before = Stretch.of(Raster(raster.values, raster.valid & (np.arange(30) < 25), raster.bands, raster.grid))
    raster.values[:, :, 25:] = np.nan
    raster.valid[:, 25:] = False
    assert Stretch.of(raster) == before
    image = picture(raster)
    assert (image[:, 25:] == NEUTRAL).all()
    assert image[:, :25].std() > 10


def test_a_scene_without_a_valid_pixel_is_grey_all_over() -> None:
    raster = scene()
    raster.valid[:] = False
    assert (picture(raster) == NEUTRAL).all()


def test_a_constant_scene_has_a_finite_picture() -> None:
    raster = scene()
    raster.values[:] = 0.2
    assert np.ptp(picture(raster)) == 0


def test_radar_in_power_gives_the_picture_of_radar_in_decibel() -> None:
    decibel = scene(SENTINEL1)
    power = convert(decibel, Unit.POWER)
    assert np.abs(picture(decibel).astype(int) - picture(power)).max() <= 1


def test_the_blue_of_radar_is_the_ratio_of_the_polarisations() -> None:
    raster = scene(SENTINEL1)
    difference = (raster.values[0] - raster.values[1]).ravel()
    blue = picture(raster)[..., 2].ravel()
    order = np.argsort(difference)
    assert (np.diff(blue[order].astype(int)) >= 0).all()


def test_one_band_goes_through_a_map_whose_lightness_rises() -> None:
    raster = scene(THERMAL)
    values = raster.values[0]
    order = np.argsort(values.ravel())
    lightness = (picture(raster).reshape(-1, 3).astype(float) @ [0.2126, 0.7152, 0.0722])[order]
    assert (np.diff(lightness) >= -1.0).all()
    assert lightness[-1] - lightness[0] > 200


def test_the_heat_map_stays_near_inferno_of_matplotlib() -> None:
    import matplotlib

    steps = np.linspace(0, 1, 201)
    theirs = matplotlib.colormaps["inferno"](steps)[:, :3] * 255
    assert np.abs(colour_map(steps[None])[0] - theirs).max() < 16
    assert (colour_map(np.array([[np.nan, np.inf]])) == NEUTRAL).all()


def test_two_bands_make_no_picture() -> None:
    with pytest.raises(BandError, match="2 bands make no picture"):
        picture(scene(), bands=("B04", "B03"))


def test_a_stretch_of_radar_is_refused_for_one_band() -> None:
    with pytest.raises(BandError, match="3 channels"):
        picture(scene(THERMAL), stretch=Stretch.of(scene(SENTINEL1)))


def test_shrinking_agrees_with_block_means_of_scikit_image() -> None:
    from skimage.measure import block_reduce

    raster = scene(height=40, width=60)
    small = shrink(raster, longest=15)
    assert small.grid.size == (10, 15)
    assert np.allclose(small.values, block_reduce(raster.values, (1, 4, 4), np.mean), atol=1e-6)
    assert small.grid.bounds == pytest.approx(raster.grid.bounds)


def test_shrinking_leaves_invalid_pixels_out_of_the_means() -> None:
    raster = scene(height=9, width=9)
    raster.values[:, 0, 0] = np.nan
    raster.valid[0, 0] = False
    raster.valid[4:8, 4:8] = False
    small = shrink(raster, longest=3)
    whole = raster.values[:, :3, :3].reshape(13, 9)[:, 1:].mean(axis=1)
    assert np.allclose(small.values[:, 0, 0], whole, atol=1e-6)
    assert np.isfinite(small.values).all()
    assert small.valid.all()


def test_shrinking_a_side_that_does_not_divide_keeps_the_pixels_in_place() -> None:
    raster = scene(height=10, width=7)
    small = shrink(raster, longest=4)
    assert small.grid.size == (4, 3)
    assert small.grid.position(1, 1) == pytest.approx(raster.grid.position(3, 3))
    assert np.allclose(small.values[:, 3, 2], raster.values[:, 9, 6])


def test_radar_is_averaged_as_power() -> None:
    raster = scene(SENTINEL1, height=2, width=2)
    raster.values[0] = [[-10, -10], [-10, -20]]
    mean = shrink(raster, longest=1).values[0, 0, 0]
    assert mean == pytest.approx(10 * np.log10((0.1 * 3 + 0.01) / 4), abs=1e-4)


def test_the_error_is_the_mean_over_the_common_bands() -> None:
    restored, reference = scene(), scene(seed=1).select(["B02", "B08"])
    reference.valid[0, 0] = False
    error = pictures.mean_absolute_error(restored, reference)
    by_hand = np.abs(restored.select(["B02", "B08"]).values - reference.values).mean(axis=0)
    assert np.isnan(error[0, 0])
    assert np.allclose(error.ravel()[1:], by_hand.ravel()[1:])


def test_errors_of_other_sizes_or_bands_are_refused() -> None:
    with pytest.raises(GridError, match="reference"):
        pictures.mean_absolute_error(scene(), scene(height=21))
    with pytest.raises(BandError, match="no band of"):
        pictures.mean_absolute_error(scene(), scene(THERMAL))


def test_the_key_of_an_error_map_has_the_colours_of_the_map() -> None:
    error = np.array([[0.0, 0.025, 0.05, 0.5, np.nan]], dtype=np.float32)
    image, limit = pictures.error_picture(error, limit=0.05)
    key = {text: colour for colour, text in pictures.error_key(limit)}
    assert key["0"] == "#" + bytes(image[0, 0]).hex()
    assert key["0.025"] == "#" + bytes(image[0, 1]).hex()
    assert key["0.05 and more"] == "#" + bytes(image[0, 2]).hex() == "#" + bytes(image[0, 3]).hex()


def test_a_perfect_restoration_has_a_dark_error_map() -> None:
    image, limit = pictures.error_picture(np.zeros((3, 3), np.float32))
    assert limit > 0
    assert image.max() < 10


def test_classes_take_their_colours_and_others_are_grey() -> None:
    image = pictures.class_picture(np.array([[0, 1, 7]]), {0: "#102030", 1: "#ff0000"})
    assert image.tolist() == [[[16, 32, 48], [255, 0, 0], [NEUTRAL] * 3]]
