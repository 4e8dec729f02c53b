import numpy as np
import pytest
from skimage.measure import block_reduce

from eorestore.errors import DataError
from eorestore.processing.area_to_point_kriging import atprk, krige
from eorestore.processing.block_means import smooth_enlargement
from eorestore.processing.block_variogram import CORRELATIONS, Variogram, deconvolved_variogram
from eorestore.processing.regression_sharpening import explain, tsharp
from guided_scenes import gaussian_field, place

POINTS = Variogram("exponential", 2.0, 9.0)


def residual(height=14, width=17, *, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (height, width))


def means(image, factor=4) -> np.ndarray:
    return block_reduce(np.asarray(image, np.float64), (factor, factor), np.mean)


def rmse(found, truth) -> float:
    return float(np.sqrt(np.mean((np.asarray(found, np.float64) - truth) ** 2)))


def directly(blocks, known, variogram, factor, pixel) -> float:
    """One fine pixel by the equations of ordinary kriging, every covariance a mean over pairs of points."""
    home = pixel[0] // factor, pixel[1] // factor
    near = [
        (row, column)
        for row in range(home[0] - 2, home[0] + 3)
        for column in range(home[1] - 2, home[1] + 3)
        if 0 <= row < blocks.shape[0] and 0 <= column < blocks.shape[1] and known[row, column]
    ]
    places = np.stack(np.meshgrid(np.arange(factor), np.arange(factor), indexing="ij"), -1).reshape(-1, 2)
    points = [places + factor * np.array(block) for block in near]

    def covariance(first, second) -> float:
        apart = np.linalg.norm(first[:, None] - second[None], axis=-1) / variogram.range
        return float(variogram.sill * CORRELATIONS[variogram.model](apart).mean())

    count = len(near)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = [[covariance(one, other) for other in points] for one in points]
    system[:count, count] = system[count, :count] = 1
    wanted = [*(covariance(np.array([pixel]), other) for other in points), 1.0]
    weights = np.linalg.solve(system, wanted)[:count]
    return float(weights @ [blocks[block] for block in near])


@pytest.mark.parametrize("model", ["exponential", "spherical"])
def test_kriging_agrees_with_its_equations_pixel_by_pixel(model):
    blocks, known = residual(), np.ones((14, 17), bool)
    known[4, 5] = known[0, 1] = known[9:11, 8] = False
    variogram = Variogram(model, 2.0, 9.0)
    found = krige(blocks, known, variogram, factor=3)
    for pixel in [(20, 25), (0, 0), (15, 18), (41, 50), (4, 1), (26, 26)]:
        assert known[pixel[0] // 3, pixel[1] // 3]
        assert found[pixel] == pytest.approx(directly(blocks, known, variogram, 3, pixel), abs=1e-9)


@pytest.mark.parametrize("length", [1.0, 9.0, 80.0])
@pytest.mark.parametrize("neighbours", [3, 5, 7])
def test_means_of_kriged_blocks_are_the_blocks_without_any_projection(length, neighbours):
    blocks, known = residual(), np.random.default_rng(2).random((14, 17)) > 0.15
    found = krige(blocks, known, Variogram("exponential", 1.0, length), factor=4, neighbours=neighbours)
    assert np.abs(means(found) - blocks)[known].max() < 1e-6
    assert (means(found)[~known] == 0).all()


def test_a_constant_residual_stays_constant():
    known = np.random.default_rng(2).random((14, 17)) > 0.15
    found = krige(np.full((14, 17), 3.5), known, POINTS, factor=4)
    assert np.abs(found - 3.5)[np.repeat(np.repeat(known, 4, 0), 4, 1)].max() < 1e-9


def test_kriging_is_linear_and_moves_with_the_image():
    known = np.ones((14, 17), bool)
    first, second = residual(), residual(seed=1)
    both = krige(first + 2 * second, known, POINTS, factor=3)
    apart = krige(first, known, POINTS, factor=3) + 2 * krige(second, known, POINTS, factor=3)
    assert np.abs(both - apart).max() < 1e-10
    moved = krige(first[2:, 3:], known[2:, 3:], POINTS, factor=3)
    whole = krige(first, known, POINTS, factor=3)[6:, 9:]
    assert np.abs(moved - whole)[6:, 6:].max() < 1e-12
    turned = np.rot90(krige(np.rot90(first), known.T, POINTS, factor=3), -1)
    assert np.abs(turned - krige(first, known, POINTS, factor=3)).max() < 1e-10


def test_what_is_not_known_cannot_change_what_is():
    known = np.random.default_rng(2).random((14, 17)) > 0.2
    first, second = (krige(np.where(known, residual(), other), known, POINTS, factor=3) for other in (0.0, np.nan))
    assert (first == second).all()


def test_a_residual_without_variance_is_kept():
    assert (krige(np.zeros((3, 4)), np.ones((3, 4), bool), Variogram("exponential", 0.0, 3.0), factor=2) == 0).all()


@pytest.mark.parametrize("length", [3.0, 12.0])
@pytest.mark.parametrize("factor", [2, 4])
def test_kriging_a_field_of_its_model_beats_the_smooth_surface_and_repetition(length, factor):
    truth = gaussian_field((240, 240), length, seed=1)
    blocks, known = means(truth, factor), np.ones((240 // factor, 240 // factor), bool)
    found = deconvolved_variogram(blocks, known, factor=factor)
    kriged = rmse(krige(blocks, known, found, factor=factor), truth)
    assert kriged < rmse(smooth_enlargement(blocks, factor=factor), truth)
    assert kriged < 0.99 * rmse(np.repeat(np.repeat(blocks, factor, 0), factor, 1), truth)
    best = rmse(krige(blocks, known, Variogram("exponential", 4.0, length), factor=factor), truth)
    assert kriged == pytest.approx(best, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_atprk_beats_the_smooth_surface_with_its_block_means_and_the_regression_alone(seed):
    scene = place(seed=seed)
    low, valid, guide_valid = scene.low.values[0], scene.low.valid, scene.guide.valid
    sharpened = rmse(atprk(low, valid, scene.ndvi, guide_valid, factor=4).image, scene.truth)
    parts = explain(low, valid, scene.ndvi, guide_valid, factor=4)
    assert sharpened < 0.2 * rmse(smooth_enlargement(low, factor=4), scene.truth)
    assert sharpened < 0.2 * rmse(parts.trend + parts.mean, scene.truth)


def test_an_exact_relation_is_recovered_exactly():
    scene = place(field=0, noise=0)
    found = atprk(scene.low.values[0], scene.low.valid, scene.ndvi, scene.guide.valid, factor=4, names=("ndvi",))
    assert np.abs(found.image - scene.truth).max() < 1e-3
    assert found.coefficients["ndvi"] == pytest.approx(-15, abs=1e-3)


def test_gaps_stay_gaps_and_block_means_hold_everywhere_else():
    scene = place(noise=0.5)
    valid, guide_valid = scene.low.valid.copy(), scene.guide.valid.copy()
    valid[3, 4] = valid[10:14, 20:] = False
    guide_valid[60:75, 10:50] = False
    guide_valid[::13, ::7] = False
    low = np.where(valid, scene.low.values[0], np.nan)
    found = atprk(low, valid, np.where(guide_valid, scene.ndvi, np.nan), guide_valid, factor=4)
    assert (found.valid == np.repeat(np.repeat(valid, 4, 0), 4, 1)).all()
    assert np.isfinite(found.image).all()
    assert np.abs(means(found.image) - low)[valid].max() < 1e-4


def test_a_constant_added_to_the_temperature_is_added_to_the_image():
    scene = place()
    low = scene.low.values[0].astype(np.float64)
    first, second = (
        atprk(low + shift, scene.low.valid, scene.ndvi, scene.guide.valid, factor=4) for shift in (0.0, 25.0)
    )
    assert np.abs(second.image - first.image - 25).max() < 1e-4
    assert second.variogram["range"] == pytest.approx(first.variogram["range"], rel=1e-3)


def test_an_even_number_of_neighbours_is_refused():
    with pytest.raises(DataError, match="4 x 4 neighbours"):
        krige(residual(), np.ones((14, 17), bool), POINTS, factor=2, neighbours=4)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 2), (3, 4), (6, 5)])
@pytest.mark.parametrize("factor", [1, 2, 5])
@pytest.mark.parametrize("method", [tsharp, atprk])
def test_images_of_any_size_with_gaps_are_finite_and_keep_their_block_means(size, factor, method):
    rng = np.random.default_rng(7)
    fine = size[0] * factor, size[1] * factor
    valid, guide_valid = rng.random(size) > 0.3, rng.random(fine) > 0.3
    valid[0, 0] = True
    low = np.where(valid, rng.normal(300, 5, size), np.nan)
    guide = np.where(guide_valid, rng.random((2, *fine)), np.inf)
    found = method(low, valid, guide, guide_valid, factor=factor, degree=2)
    assert np.isfinite(found.image).all()
    assert np.abs(means(found.image, factor) - low)[valid].max() < 1e-4
