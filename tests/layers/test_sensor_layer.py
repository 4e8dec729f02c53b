"""What a sensor delivers, against SciPy and block means; what is projected agrees with it, the same in tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import observe, project, repeat
from eorestore.processing.resize import shrink
from eorestore.processing.sensor import Sensor

OBLIQUE = ((0.02, 0.06, 0.05, 0.01), (0.06, 0.15, 0.14, 0.05), (0.04, 0.13, 0.15, 0.06), (0.01, 0.03, 0.03, 0.01))
KERNEL = Sensor("kernel", kernel=OBLIQUE)
SENSORS = {
    "mean": Sensor("mean"),
    "bicubic": Sensor("bicubic"),
    "gaussian": Sensor("gaussian", 0.3),
    "weak gaussian": Sensor("gaussian", 0.1),
    "kernel": KERNEL,
}


@pytest.fixture(params=list(SENSORS))
def sensor(request):
    return SENSORS[request.param]


def image(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_block_means_are_those_of_numpy(factor):
    fine = image(2, 3, 4 * factor, 6 * factor)
    means = fine.numpy().reshape(2, 3, 4, factor, 6, factor).mean(axis=(3, 5))
    assert np.allclose(observe(fine, Sensor("mean"), factor=factor).numpy(), means, atol=1e-14)


def test_the_bicubic_sensor_is_imresize():
    fine = image(1, 24, 18)
    assert torch.allclose(observe(fine, Sensor("bicubic"), factor=2), shrink(fine, factor=2), atol=1e-12)


@pytest.mark.parametrize(("factor", "shape"), [(3, (5, 7)), (2, (6, 4)), (2, (2, 2)), (4, (9, 8)), (3, (4, 4))])
def test_a_kernel_is_correlated_with_the_image(factor, shape):
    """SciPy correlates at every fine pixel; of its results those count whose kernel lies around a coarse pixel."""
    weights = np.random.default_rng(7).uniform(0, 1, shape)
    weights /= weights.sum()
    sensor = Sensor("kernel", kernel=tuple(map(tuple, weights)))
    fine = image(12 * factor, 10 * factor).numpy()
    everywhere = correlate(fine, weights, mode="reflect")  # pixel p: weights begin at p - side // 2
    first = [int(np.floor((factor - side) / 2)) + side // 2 for side in shape]
    expected = everywhere[first[0] :: factor, first[1] :: factor][:12, :10]
    found = observe(torch.from_numpy(fine), sensor, factor=factor).numpy()
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4, 8, 16])
def test_the_mean_of_a_block_is_kept_to_rounding(factor):
    """To 1e-6 of the range in float32, to 1e-10 in float64, whatever the image was."""
    for dtype, bound in ((torch.float32, 1e-6), (torch.float64, 1e-10)):
        low = image(1, 1, 14, 11, dtype=dtype)
        rough = image(1, 1, 14 * factor, 11 * factor, seed=1, dtype=dtype)
        for fine in (enlarge(low, factor=factor), rough):
            found = project(fine, low, Sensor("mean"), factor=factor)
            assert (observe(found, Sensor("mean"), factor=factor) - low).abs().max() < bound


BOUNDS = {"mean": 1e-10, "bicubic": 5e-4, "gaussian": 1e-4, "weak gaussian": 2e-2, "kernel": 1e-2}


@pytest.mark.parametrize("name", list(SENSORS))
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_projected_image_would_have_been_observed_as_the_input(name, factor):
    low = image(1, 1, 32, 29)
    fine = enlarge(low, factor=factor)
    found = project(fine, low, SENSORS[name], factor=factor)
    # a kernel that is not even sees its own mirror image at an edge, where its inverse is another
    seen = (..., *((slice(8, -8),) * 2)) if name == "kernel" else ...
    apart = (observe(found, SENSORS[name], factor=factor) - low)[seen].abs().max()
    assert apart < BOUNDS[name]
    assert apart < 0.2 * (observe(fine, SENSORS[name], factor=factor) - low).abs().max()


def test_an_image_that_agrees_is_left_as_it_is(sensor):
    fine = image(1, 1, 24, 18)
    found = project(fine, observe(fine, sensor, factor=2), sensor, factor=2)
    assert torch.allclose(found, fine, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_a_pixel_beyond_the_reach_changes_nothing(sensor, factor):
    reach = sensor.reach(factor)
    low = image(1, 1, 3, 2 * reach + 9)
    fine = image(1, 1, 3 * factor, low.shape[-1] * factor, seed=1)
    before = project(fine, low, sensor, factor=factor)
    low[..., reach + 4] += 1
    fine[..., (reach + 4) * factor : (reach + 5) * factor] -= 2
    changed = (project(fine, low, sensor, factor=factor) != before).flatten(0, 2).any(0).nonzero().flatten() // factor
    assert int(changed.min()) >= 4
    assert int(changed.max()) <= 2 * reach + 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tile_is_projected_as_the_whole_bit_by_bit(sensor, dtype):
    factor, reach = 2, sensor.reach(2)
    side = 2 * reach + 10
    low = image(1, 1, side + 12, side + 15, dtype=dtype)
    whole = project(enlarge(low, factor=factor), low, sensor, factor=factor)
    rows, columns = slice(5, 5 + side), slice(9, 9 + side)
    halo = reach + 2  # the enlargement itself sees two pixels
    tile = low[..., rows, columns]
    found = project(enlarge(tile, factor=factor), tile, sensor, factor=factor)
    inner = slice(halo * factor, (side - halo) * factor)
    there = whole[
        ..., (5 + halo) * factor : (5 + side - halo) * factor, (9 + halo) * factor : (9 + side - halo) * factor
    ]
    assert torch.equal(found[..., inner, inner], there)


def test_a_repeated_pixel_is_its_own_block_mean():
    low = image(2, 1, 5, 4)
    assert torch.equal(repeat(low, factor=3), torch.kron(low, torch.ones(3, 3, dtype=low.dtype)))
    assert torch.allclose(observe(repeat(low, factor=3), Sensor("mean"), factor=3), low)


def test_a_gradient_passes(sensor):
    low = image(1, 1, 3, 2)
    fine = image(1, 1, 6, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: project(x, low, sensor, factor=2), fine)
