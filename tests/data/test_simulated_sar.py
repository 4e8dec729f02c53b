import numpy as np
import pytest
from scipy.stats import gamma, kstest

from eorestore.data.simulated_sar import LOOKS, reflectivity, simulated_sar, speckle


def lag_one(values: np.ndarray) -> list[float]:
    pairs = ((values[1:], values[:-1]), (values[:, 1:], values[:, :-1]))
    return [float(np.corrcoef(one.ravel(), other.ravel())[0, 1]) for one, other in pairs]


@pytest.mark.parametrize("looks", [1.0, 4.4, 7.0])
def test_speckle_is_gamma_distributed_with_the_looks_asked_for(looks):
    values = speckle((256, 256), looks=looks, generator=np.random.default_rng(0))
    apart = values[::6, ::6].ravel()  # far enough that they are independent
    assert kstest(apart, gamma(looks, scale=1 / looks).cdf).pvalue > 0.01
    assert values.mean() == pytest.approx(1, abs=0.02)
    assert values.mean() ** 2 / values.var() == pytest.approx(looks, rel=0.05)


def test_neighbours_correlate_as_in_oversampled_products():
    values = 10 * np.log10(speckle((256, 256), looks=4.4, generator=np.random.default_rng(0)))
    assert lag_one(values) == pytest.approx([0.75, 0.75], abs=0.02)


def test_the_ground_is_smooth_and_the_scene_is_not():
    generator = np.random.default_rng(3)
    ground = reflectivity((128, 128), generator=generator)
    assert min(lag_one(ground)) > 0.9
    assert ground.std() > 0.5


@pytest.mark.parametrize(("polarisation", "low", "high"), [("VV", -30, 10), ("VH", -38, 2)])
def test_scenes_lie_in_the_window_of_their_polarisation(polarisation, low, high):
    for seed in range(4):
        scene = simulated_sar((96, 96), polarisation=polarisation, generator=np.random.default_rng(seed))
        assert scene.valid.all()
        assert scene.bands.names == (polarisation,)
        assert ((scene.values > low) & (scene.values < high)).mean() > 0.98
    assert LOOKS == (3.5, 7.0)


def test_the_generator_decides_the_scene():
    first, again, other = (
        simulated_sar((40, 40), polarisation="VV", generator=np.random.default_rng(seed)).values for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
