"""Bicubic resizing of tensors: as the package's own, the same in a tile, and undone."""

from __future__ import annotations

import pytest
import torch

from eorestore.layers.resampling import enlarge, sharpen, shrink
from eorestore.processing import resize


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [(17, 30), (1, 5), (3, 2)])
def test_both_ways_are_those_of_the_package(factor, size):
    """Which in turn are MATLAB's, see tests/processing/test_resize.py."""
    low = image(2, 3, *size)
    high = resize.enlarge(low, factor=factor)
    assert torch.allclose(enlarge(low, factor=factor), high, atol=1e-6)
    assert torch.allclose(shrink(high, factor=factor), resize.shrink(high, factor=factor), atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("size", [(33, 21), (1, 4), (5, 2)])
def test_what_is_sharpened_first_comes_back_from_enlarging_and_shrinking(factor, size):
    low = image(1, 2, *size)
    again = shrink(enlarge(sharpen(low, factor=factor), factor=factor), factor=factor)
    assert (again - low).abs().max() < 3e-4


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_tile_is_resized_as_the_whole_bit_by_bit(factor):
    low = image(1, 2, 61, 70)
    whole, tile = enlarge(low, factor=factor), enlarge(low[..., 10:43, 20:57], factor=factor)
    rows, columns = slice(12 * factor, 41 * factor), slice(22 * factor, 55 * factor)
    assert torch.equal(tile[..., 2 * factor : -2 * factor, 2 * factor : -2 * factor], whole[..., rows, columns])
    assert torch.equal(
        sharpen(low, factor=factor)[..., 18:30, 28:40], sharpen(low[..., 10:38, 20:48], factor=factor)[..., 8:20, 8:20]
    )


def test_a_gradient_passes():
    low = image(1, 1, 6, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: shrink(enlarge(sharpen(x, factor=2), factor=2), factor=2), low)
