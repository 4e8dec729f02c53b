import numpy as np
import pytest

from eorestore.errors import UnknownNameError
from eorestore.processing.block_variogram import CORRELATIONS, block_correlations, deconvolved_variogram
from guided_scenes import gaussian_field


def blocks(values, factor) -> np.ndarray:
    height, width = (side // factor for side in values.shape)
    return values.reshape(height, factor, width, factor).mean(axis=(1, 3))


@pytest.mark.parametrize("model", ["exponential", "spherical"])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_block_correlations_are_means_over_all_pairs_of_points(model, factor):
    found = block_correlations(model, 3.5, factor=factor, radius=2)
    for down, across in [(0, 0), (1, -2), (-2, 0), (2, 2)]:
        for row, column in [(0, 0), (factor - 1, 0)]:
            total = 0.0
            for other_row in range(factor):
                for other_column in range(factor):
                    lag = np.hypot(
                        down * factor + other_row - row,
                        across * factor + other_column - column,
                    )
                    total += float(CORRELATIONS[model](np.array(lag / 3.5)))
            assert found.point_block[down + 2, across + 2, row, column] == pytest.approx(total / factor**2, abs=1e-12)
    assert np.abs(found.point_block.mean(axis=(2, 3)) - found.block_block).max() < 1e-14
    assert np.abs(found.block_block - found.block_block[::-1, ::-1]).max() < 1e-12


def test_correlations_fall_from_one_with_distance():
    distance = np.linspace(0, 3, 50)
    for correlation in CORRELATIONS.values():
        assert correlation(distance)[0] == 1
        assert (np.diff(correlation(distance)) <= 0).all()
    assert (CORRELATIONS["spherical"](np.array([1.0, 2.0])) == 0).all()


@pytest.mark.parametrize(("model", "length"), [("exponential", 8.0), ("spherical", 30.0)])
def test_the_variogram_of_points_is_found_from_block_means(model, length):
    found = [
        deconvolved_variogram(
            blocks(gaussian_field((480, 480), length, model=model, seed=seed), 4),
            np.ones((120, 120), bool),
            factor=4,
            model=model,
        )
        for seed in range(4)
    ]
    assert np.mean([item.range for item in found]) == pytest.approx(length, rel=0.2)
    assert np.mean([item.sill for item in found]) == pytest.approx(4, rel=0.15)


def test_block_means_vary_less_than_the_points_that_are_found_behind_them():
    seen = blocks(gaussian_field((240, 240), 4.0), 4)
    found = deconvolved_variogram(seen, np.ones((60, 60), bool), factor=4)
    assert found.sill > 1.5 * seen.var()


def test_unknown_blocks_cannot_change_the_variogram():
    seen = blocks(gaussian_field((240, 240), 6.0), 4)
    known = np.random.default_rng(1).random((60, 60)) > 0.2
    first = deconvolved_variogram(np.where(known, seen, 0), known, factor=4)
    assert first == deconvolved_variogram(np.where(known, seen, 1e6), known, factor=4)
    assert first.range == pytest.approx(deconvolved_variogram(seen, known | True, factor=4).range, rel=0.3)


def test_images_that_do_not_vary_or_hardly_exist_have_a_variogram_too():
    flat = deconvolved_variogram(np.zeros((20, 20)), np.ones((20, 20), bool), factor=3)
    assert (flat.sill, flat.range) == (0.0, 3.0)
    tiny = deconvolved_variogram(np.array([[1.0, 3.0]]), np.ones((1, 2), bool), factor=3)
    assert (tiny.sill, tiny.range) == (1.0, 3.0)
    assert deconvolved_variogram(np.zeros((4, 4)), np.zeros((4, 4), bool), factor=3).sill == 0


def test_an_unknown_model_is_named():
    with pytest.raises(UnknownNameError, match="spherica"):
        block_correlations("spherica", 1.0, factor=2, radius=1)
