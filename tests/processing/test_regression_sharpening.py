import numpy as np
import pytest
from skimage.measure import block_reduce

from eorestore.errors import DataError, MaskError
from eorestore.processing.block_means import project, smooth_enlargement
from eorestore.processing.regression_sharpening import explain, tsharp
from guided_scenes import place


def rmse(found, truth) -> float:
    return float(np.sqrt(np.mean((np.asarray(found, np.float64) - truth) ** 2)))


def everywhere(size) -> np.ndarray:
    return np.ones(size, bool)


def blocks(values, factor=4) -> np.ndarray:
    return block_reduce(values, (factor, factor), np.mean)


def exact(truth_of, *, seed=0, shape=(1, 64, 80)):
    """A guide and the temperature that follows from it."""
    guide = np.random.default_rng(seed).uniform(-0.2, 0.9, shape)
    return guide, truth_of(guide)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polynomial_of_the_guide_is_recovered_exactly(degree):
    factors = (310.0, -17.0, 6.0, 4.0)[: degree + 1]
    guide, truth = exact(lambda g: sum(c * g[0] ** power for power, c in enumerate(factors)))
    found = tsharp(blocks(truth), everywhere((16, 20)), guide, everywhere((64, 80)), factor=4, degree=degree)
    assert np.abs(found.image - truth).max() < 1e-3
    assert list(found.coefficients.values()) == pytest.approx(factors, abs=1e-3)
    assert found.r2 == pytest.approx(1, abs=1e-6)


def test_several_regressors_agree_with_least_squares_of_numpy():
    rng = np.random.default_rng(3)
    guide = rng.uniform(0, 1, (3, 40, 48))
    low = 300 + blocks(guide[0] * 5 - guide[2] * 9, 2) + rng.normal(0, 0.3, (20, 24))
    parts = explain(low, everywhere((20, 24)), guide, everywhere((40, 48)), factor=2, names=("a", "b", "c"))
    columns = np.stack([np.ones(480), *(blocks(layer, 2).ravel() for layer in guide)], axis=1)
    theirs, *_ = np.linalg.lstsq(columns, low.ravel(), rcond=None)
    assert list(parts.coefficients) == ["intercept", "a", "b", "c"]
    assert list(parts.coefficients.values()) == pytest.approx(theirs.tolist(), abs=1e-5)
    left = low.ravel() - columns @ theirs
    assert parts.r2 == pytest.approx(1 - left.var() / low.var(), abs=1e-6)


def test_regressors_that_repeat_or_never_vary_do_no_harm():
    guide, truth = exact(lambda g: 300 - 8 * g[0])
    twice = np.concatenate([guide, guide, 3 * guide + 1, np.full_like(guide, 0.4)])
    found = tsharp(blocks(truth), everywhere((16, 20)), twice, everywhere((64, 80)), factor=4)
    assert np.abs(found.image - truth).max() < 1e-3
    assert max(abs(value) for value in found.coefficients.values()) < 400


@pytest.mark.parametrize("seed", range(3))
def test_the_residual_matters_more_than_the_regressor(seed):
    scene = place(seed=seed, slope=-12)
    low = scene.low.values[0]
    valid, guide_valid = scene.low.valid, scene.guide.valid
    parts = explain(low, valid, scene.ndvi, guide_valid, factor=4)
    bicubic = smooth_enlargement(low, factor=4)
    alone = rmse(parts.trend + parts.mean, scene.truth)
    corrected = rmse(tsharp(low, valid, scene.ndvi, guide_valid, factor=4).image, scene.truth)
    assert corrected < 0.25 * alone
    assert corrected < 0.5 * rmse(bicubic, scene.truth)
    weak = place(seed=seed, slope=-2)
    parts = explain(weak.low.values[0], valid, weak.ndvi, guide_valid, factor=4)
    plain = rmse(smooth_enlargement(weak.low.values[0], factor=4), weak.truth)
    assert plain < rmse(parts.trend + parts.mean, weak.truth)


def test_block_means_are_those_that_came_in():
    scene = place(noise=1.0)
    low = scene.low.values[0]
    found = tsharp(low, scene.low.valid, scene.ndvi, scene.guide.valid, factor=4)
    assert found.image.dtype == np.float32
    assert np.abs(blocks(found.image.astype(np.float64)) - low).max() < 1e-4


def test_the_fit_is_taken_from_homogeneous_pixels():
    rng = np.random.default_rng(5)
    inside = rng.uniform(0.1, 0.9, (30, 30))
    mixed = rng.random((30, 30)) < 0.5
    guide = np.repeat(np.repeat(inside, 4, 0), 4, 1)
    swing = np.where(np.indices((120, 120)).sum(axis=0) % 2, 0.1, -0.1)
    guide = guide + swing * np.repeat(np.repeat(mixed, 4, 0), 4, 1)
    low = 310 - 10 * inside + np.where(mixed, 8 * inside, 0)
    found = tsharp(low, everywhere((30, 30)), guide, everywhere((120, 120)), factor=4, names=("ndvi",))
    assert found.coefficients["ndvi"] == pytest.approx(-10, abs=1e-3)
    over_all = explain(low, everywhere((30, 30)), guide, everywhere((120, 120)), factor=4, names=("ndvi",))
    assert over_all.coefficients["ndvi"] > -8


def test_a_constant_added_to_the_temperature_is_added_to_the_image():
    scene = place()
    low = scene.low.values[0].astype(np.float64)
    first, second = (
        tsharp(low + shift, scene.low.valid, scene.ndvi, scene.guide.valid, factor=4) for shift in (0.0, 25.0)
    )
    assert np.abs(second.image - first.image - 25).max() < 1e-4


def test_invalid_coarse_pixels_are_gaps_and_no_others():
    scene = place()
    valid = scene.low.valid.copy()
    valid[3, 4] = valid[10:14, 20:] = valid[0, 0] = False
    low = np.where(valid, scene.low.values[0], np.nan)
    found = tsharp(low, valid, scene.ndvi, scene.guide.valid, factor=4)
    assert (found.valid == np.repeat(np.repeat(valid, 4, 0), 4, 1)).all()
    assert np.isfinite(found.image).all()
    assert np.abs(blocks(found.image.astype(np.float64)) - low)[valid].max() < 1e-4
    whole = tsharp(scene.low.values[0], scene.low.valid, scene.ndvi, scene.guide.valid, factor=4)
    assert rmse(found.image[found.valid], scene.truth[found.valid]) < 1.3 * rmse(whole.image, scene.truth)


def test_where_the_guide_is_missing_the_image_is_the_smooth_surface():
    scene = place()
    low = scene.low.values[0].astype(np.float64)
    guide_valid = scene.guide.valid.copy()
    guide_valid[:40, :60] = False
    guide_valid[42:44, 80:84] = False
    guide = np.where(guide_valid, scene.ndvi, np.nan)
    found = tsharp(low, scene.low.valid, guide, guide_valid, factor=4)
    plain = smooth_enlargement(low, factor=4)
    assert found.valid.all()
    assert np.abs(found.image[:40, :60] - plain[:40, :60]).max() < 1e-4
    assert np.abs(blocks(found.image.astype(np.float64)) - low).max() < 1e-4
    # half of this coarse pixel has a guide: what is missing differs from the surface by a constant
    apart = (found.image - plain)[42:44, 80:84]
    assert np.ptp(apart) < 1e-4
    assert rmse(found.image[:, 88:], scene.truth[:, 88:]) < 0.5 * rmse(plain[:, 88:], scene.truth[:, 88:])


def test_without_any_guide_the_image_is_the_smooth_surface_throughout():
    scene = place()
    low = scene.low.values[0].astype(np.float64)
    nothing = np.zeros(scene.guide.valid.shape, bool)
    found = tsharp(low, scene.low.valid, np.full(scene.ndvi.shape, np.nan), nothing, factor=4)
    plain = project(smooth_enlargement(low, factor=4), low, scene.low.valid, factor=4)
    assert np.abs(found.image - plain).max() < 1e-4
    assert (found.coefficients, found.r2) == ({}, 0.0)


def test_what_does_not_fit_is_refused():
    scene = place()
    low, valid, guide_valid = scene.low.values[0], scene.low.valid, scene.guide.valid
    with pytest.raises(DataError, match="do not fit at a factor of 3"):
        tsharp(low, valid, scene.ndvi, guide_valid, factor=3)
    with pytest.raises(DataError, match="degree of 0"):
        tsharp(low, valid, scene.ndvi, guide_valid, factor=4, degree=0)
    with pytest.raises(MaskError, match="no pixel"):
        tsharp(low, np.zeros_like(valid), scene.ndvi, guide_valid, factor=4)
    with pytest.raises(DataError, match="guide has values that are not finite"):
        tsharp(low, valid, np.full_like(scene.ndvi, np.nan), guide_valid, factor=4)
