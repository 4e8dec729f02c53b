"""Gaussian blending of overlapping patches against MONAI's sliding window and a sum over the whole image."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from monai.utils import BlendMode
from torch.nn import functional as F

from eorestore.errors import UsageError
from eorestore.tiling.overlapping import automatic_patch, overlapping_patches


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def repeated(image: torch.Tensor, scale: int) -> torch.Tensor:
    return image.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)


def less_its_mean(piece: torch.Tensor) -> torch.Tensor:
    """Depends on the whole patch, as a norm does."""
    return piece - piece.mean(dim=(-2, -1), keepdim=True)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 40),
    st.floats(0, 0.5),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([0.02, 0.3, 2.0]),
    st.integers(1, 9),
)
def test_a_model_that_repeats_pixels_gives_the_image_back_bit_by_bit(
    height: int, width: int, patch: int, overlap: float, scale: int, sigma: float, batch: int
):
    image = noise(2, 1, height, width)
    found = overlapping_patches(
        lambda piece: repeated(piece, scale),
        image,
        scale=scale,
        patch=patch,
        overlap=overlap,
        sigma=sigma,
        batch=batch,
    )
    assert torch.equal(found, repeated(image, scale))


@pytest.mark.parametrize("value", [0.3, 300.0, -1e-3])
def test_a_constant_stays_that_constant(value: float):
    image = torch.full((1, 1, 70, 83), value)
    assert torch.equal(overlapping_patches(lambda piece: piece, image, scale=1, patch=32, overlap=0.3), image)


def weights_along(starts: list[int], index: int, length: int, *, sigma: float, fade: bool) -> torch.Tensor:
    """A patch's weights, written pixel by pixel."""
    start, found = starts[index], []
    for pixel in range(length):
        weight = math.exp(-0.5 * ((pixel - (length - 1) / 2) / sigma) ** 2)
        if fade and index > 0:
            weight *= min(1, (pixel + 0.5) / max(starts[index - 1] + length - start, 1))
        if fade and index + 1 < len(starts):
            weight *= min(1, (length - pixel - 0.5) / max(start + length - starts[index + 1], 1))
        found.append(weight)
    return torch.tensor(found, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(4, 24),
    st.sampled_from([0.0, 0.25, 0.3]),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_the_blend_is_the_weighted_mean_over_the_whole_image(
    height: int, width: int, patch: int, overlap: float, scale: int, fade: bool
):
    image = noise(1, 2, height, width)
    total = torch.zeros(1, 2, height * scale, width * scale, dtype=torch.float64)
    weights = torch.zeros(height * scale, width * scale, dtype=torch.float64)
    stride = patch - round(overlap * patch)

    def starts(length: int) -> list[int]:
        found = [0]
        while found[-1] + patch < length:
            found.append(min(found[-1] + stride, length - patch))
        return [start * scale for start in found]

    rows, columns = starts(height), starts(width)
    large = repeated(image, scale)
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        place = slice(row, row + patch * scale), slice(column, column + patch * scale)
        piece = less_its_mean(large[(..., *place)])
        down, across = (
            weights_along(found, index, length, sigma=0.3 * patch * scale, fade=fade)
            for found, index, length in zip((rows, columns), (i, j), piece.shape[-2:], strict=True)
        )
        total[(..., *place)] += torch.outer(down, across) * piece
        weights[place] += torch.outer(down, across)
    found = overlapping_patches(
        lambda piece: repeated(less_its_mean(piece), scale), image, scale=scale, patch=patch, overlap=overlap, fade=fade
    )
    torch.testing.assert_close(found.double(), total / weights, atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(56, 80), (80, 32)])
def test_patches_that_fit_are_blended_as_by_monai(size: tuple[int, int]):
    image = noise(1, 1, *size)
    theirs = sliding_window_inference(
        image, (32, 32), 1, less_its_mean, overlap=0.25, mode=BlendMode.GAUSSIAN, sigma_scale=0.3
    )
    ours = overlapping_patches(less_its_mean, image, scale=1, patch=32, overlap=0.25, sigma=0.3, fade=False)
    # MONAI truncates its Gaussian at four sigma and centres it half a pixel off on even sides.
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
    hard = sliding_window_inference(image, (32, 32), 1, less_its_mean, overlap=0.25, mode=BlendMode.CONSTANT)
    assert (ours - theirs).abs().max() < (hard - theirs).abs().max() / 2


def test_the_fade_takes_away_the_step_that_a_gaussian_leaves_at_the_edge_of_a_patch():
    image = torch.arange(56.0).expand(1, 1, 32, 56)
    largest = {}
    for fade in (False, True):
        found = overlapping_patches(
            lambda piece: piece.mean(dim=-1, keepdim=True).expand_as(piece), image, scale=1, patch=32, fade=fade
        )
        steps = found[0, 0, 5].diff()
        assert (steps >= -1e-5).all()
        assert steps.sum().item() == pytest.approx(24)  # from the mean of columns 0 to 31 to that of 24 to 55
        largest[fade] = steps.max().item()
    assert largest[True] < 0.25 * 24
    assert largest[True] < 0.8 * largest[False]


def test_patches_are_of_one_size_and_an_image_smaller_than_a_patch_is_one():
    shapes = []

    def predict(piece: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(piece.shape))
        return piece

    overlapping_patches(predict, noise(1, 1, 20, 70), scale=1, patch=32)
    assert shapes == [(3, 1, 20, 32)]
    shapes.clear()
    overlapping_patches(predict, noise(1, 1, 20, 30), scale=1, patch=32)
    assert shapes == [(1, 1, 20, 30)]


def test_more_bands_may_come_out_than_went_in():
    image = noise(1, 2, 40, 50)
    found = overlapping_patches(lambda piece: torch.cat([piece, piece], dim=1), image, scale=1, patch=16)
    assert torch.equal(found, torch.cat([image, image], dim=1))


def test_a_network_is_enlarged_as_a_whole_far_from_the_borders_of_patches():
    kernel = noise(4, 1, 3, 3)

    def predict(piece: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return F.pixel_shuffle(F.conv2d(piece, kernel, padding=1), 2)

    image = noise(1, 1, 24, 40)
    found = overlapping_patches(predict, image, scale=2, patch=24)
    whole = predict(image)
    apart = (found - whole).abs().amax(dim=(0, 1, 2))
    assert apart[: 2 * 15].max() < 1e-5  # the second patch begins at column 16
    assert apart.max() > 1e-3


def test_no_gradient_is_kept():
    image = noise(1, 1, 20, 20).requires_grad_()
    assert not overlapping_patches(lambda piece: piece * 2, image, scale=1, patch=8).requires_grad


def test_patches_are_smaller_the_more_they_are_enlarged():
    assert [automatic_patch(scale) for scale in (1, 2, 4, 8, 16, 32)] == [128, 128, 128, 96, 64, 64]
    with pytest.raises(UsageError, match="a scale of 0"):
        automatic_patch(0)


@pytest.mark.parametrize("asked", [{"overlap": 0.6}, {"overlap": -0.1}, {"sigma": 0.0}, {"patch": 0}])
def test_sizes_that_cannot_serve_are_refused(asked: dict[str, float]):
    with pytest.raises(UsageError):
        overlapping_patches(lambda piece: piece, noise(1, 1, 20, 20), **({"scale": 1, "patch": 8} | asked))
