import numpy as np
import pytest
from skimage.measure import block_reduce

from eorestore.errors import DataError
from eorestore.processing.block_means import (
    block_mean,
    filled_from_nearest,
    project,
    repeated,
    smooth_enlargement,
)
from eorestore.processing.resize import enlarge


def image(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(300, 5, shape)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_block_means_agree_with_scikit_image(factor):
    values = image(2, 6 * factor, 7 * factor)
    means, share = block_mean(values, np.ones(values.shape[1:], bool), factor=factor)
    assert np.allclose(means, block_reduce(values, (1, factor, factor), np.mean), rtol=0, atol=1e-10)
    assert (share == 1).all()


def test_only_valid_pixels_count_in_a_block_mean():
    values = image(4, 6)
    valid = np.ones((4, 6), bool)
    valid[0, 0] = valid[1, 0] = False
    valid[2:, 4:] = False
    values[~valid] = np.nan
    means, share = block_mean(values, valid, factor=2)
    assert means[0, 0] == pytest.approx(values[:2, 1].mean(), abs=1e-12)
    assert (share[0, 0], share[1, 2], means[1, 2]) == (0.5, 0.0, 0.0)
    assert np.isfinite(means).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (15, 22)])
def test_the_smooth_surface_has_the_block_means_that_were_given(size, factor):
    low = image(*size)
    surface = smooth_enlargement(low, factor=factor)
    means, _ = block_mean(surface, np.ones(surface.shape, bool), factor=factor)
    assert np.abs(means - low).max() < 1e-10


def test_the_smooth_surface_is_where_back_projection_ends():
    low, factor = image(12, 9), 3
    found = enlarge(low, factor=factor)
    for _ in range(200):
        means = block_reduce(found, (factor, factor), np.mean)
        found = found + enlarge(low - means, factor=factor)
    assert np.abs(found - smooth_enlargement(low, factor=factor)).max() < 1e-9


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "factor", "rmse"),
    [
        ("landsat8_b10", 2, 0.045),
        ("landsat8_b10", 4, 0.185),
        ("mod11a1_1km", 2, 0.216),
        ("ahs_madrid_20m", 2, 1.250),
        ("aster_lst_250m_0", 2, 0.454),
    ],
)
def test_on_thermal_images_the_smooth_surface_is_as_good_as_twenty_rounds_of_back_projection(
    real_data, name, factor, rmse
):
    path = real_data / "thermal" / f"{name}.npy"
    if not path.is_file():
        pytest.skip(f"no {path.name} under EORESTORE_TEST_DATA")
    values = np.load(path).astype(np.float64)
    truth = values[: values.shape[0] // factor * factor, : values.shape[1] // factor * factor]
    low, _ = block_mean(truth, np.ones(truth.shape, bool), factor=factor)
    found = np.sqrt(np.mean((smooth_enlargement(low, factor=factor) - truth) ** 2))
    assert found == pytest.approx(rmse, abs=0.001 + 0.005 * rmse)


def test_projection_gives_the_block_means_where_they_are_known_and_changes_nothing_else():
    low, start = image(5, 4), image(15, 12, seed=1)
    valid = np.ones((5, 4), bool)
    valid[1, 2] = False
    found = project(start, low, valid, factor=3)
    means = block_reduce(found, (3, 3), np.mean)
    assert np.abs(means - low)[valid].max() < 1e-10
    assert (found[3:6, 6:9] == start[3:6, 6:9]).all()
    within = start - repeated(block_reduce(start, (3, 3), np.mean), factor=3)
    assert np.abs(found - repeated(means, factor=3) - within).max() < 1e-10


def test_gaps_take_the_nearest_value():
    values = np.arange(12.0).reshape(3, 4)
    valid = np.ones((3, 4), bool)
    valid[0, 0] = False
    assert filled_from_nearest(values, valid)[0, 0] in (1.0, 4.0)
    assert (filled_from_nearest(values, np.zeros((3, 4), bool)) == 0).all()


def test_images_that_make_no_whole_blocks_are_refused():
    with pytest.raises(DataError, match=r"7 x 8 pixels .* no whole blocks of 2 x 2"):
        block_mean(image(7, 8), np.ones((7, 8), bool), factor=2)
