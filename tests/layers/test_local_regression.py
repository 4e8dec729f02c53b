import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import uniform_filter

from eorestore.layers.halving import halve
from eorestore.layers.local_regression import REACH, high_pass, local_detail


def noise(bands, height, width, *, seed=0):
    return torch.rand(1, bands, height, width, generator=torch.Generator().manual_seed(seed))


def cubic(image):
    return F.interpolate(image, scale_factor=2, mode="bicubic")


def test_the_high_pass_is_what_scipys_mean_leaves():
    image = noise(3, 12, 9)[0].numpy()
    expected = image - uniform_filter(image, (0, 3, 3), mode="nearest")
    np.testing.assert_allclose(high_pass(torch.from_numpy(image)[None])[0], expected, atol=1e-6)


def test_a_pixel_takes_the_weights_that_numpys_least_squares_find_around_it():
    """Both fits written as ordinary least squares with added rows, for the coarse pixel in the middle."""
    fine, coarse = noise(4, 64, 64), noise(2, 32, 32, seed=1)
    guide, wanted = (high_pass(part)[0].double().numpy() for part in (halve(fine), coarse))
    around = {radius: slice(16 - radius, 17 + radius) for radius in (3, 12)}
    spread = np.sqrt((guide[:, around[12], around[12]] ** 2).mean(axis=(1, 2)))

    def fitted(radius, ridge, towards):
        side = around[radius]
        count = (2 * radius + 1) ** 2
        left = (guide[:, side, side].reshape(4, -1) / spread[:, None]).T / np.sqrt(count)
        right = wanted[:, side, side].reshape(2, -1).T / np.sqrt(count)
        rows = np.vstack([left, np.sqrt(ridge) * np.eye(4)])
        return np.linalg.lstsq(rows, np.vstack([right, np.sqrt(ridge) * towards]))[0]

    weights = fitted(3, 0.1, fitted(12, 0.01, np.zeros((4, 2)))) / spread[:, None]
    found = local_detail(fine, coarse)
    near = found[0, :, 32:34, 32:34].numpy()
    missed = (fine - cubic(halve(fine)))[0, :, 32:34, 32:34].numpy()
    exact = np.einsum("fyx,fc->cyx", missed, weights)
    # interpolation mixes in a quarter of the neighbours' weights on each axis, which differ little
    assert np.corrcoef(near.ravel(), exact.ravel())[0, 1] > 0.98


def test_bands_that_are_mixtures_of_fine_ones_are_found():
    fine = noise(4, 64, 80)
    truth = torch.einsum("bfyx,cf->bcyx", fine, torch.tensor([[0.5, -1, 2, 0], [1, 1, 0, 1.0]])) + 0.3
    coarse = halve(truth)
    missed = truth - cubic(coarse)
    found = local_detail(fine, coarse)
    assert (found - missed).square().mean() < 1e-3 * missed.square().mean()


@pytest.mark.parametrize("blur", [0.0, 0.5])
def test_a_gain_or_offset_of_any_band_passes_through(blur):
    fine, coarse = noise(4, 32, 40), noise(3, 16, 20, seed=1)
    plain = local_detail(fine, coarse, blur=blur)
    gains = torch.tensor([0.2, 3, 1, 0.7])[:, None, None]
    torch.testing.assert_close(local_detail(gains * fine - 0.4, coarse, blur=blur), plain, atol=1e-4, rtol=1e-3)
    wanted = torch.tensor([2.0, 0.1, 5])[:, None, None]
    torch.testing.assert_close(local_detail(fine, wanted * coarse + 1, blur=blur), wanted * plain, atol=1e-4, rtol=1e-3)


def test_even_ground_has_no_detail():
    assert not local_detail(torch.ones(1, 4, 16, 16), torch.ones(1, 6, 8, 8)).any()


def test_nothing_beyond_the_reach_is_seen():
    fine, coarse = noise(4, 8, 80), noise(2, 4, 40, seed=1)
    before = local_detail(fine, coarse)
    fine[..., :2] += 1
    coarse[..., :1] += 1
    changed = (local_detail(fine, coarse) != before).any(dim=(0)).any(dim=0).any(dim=0).nonzero()
    assert int(changed.max()) // 2 <= REACH
