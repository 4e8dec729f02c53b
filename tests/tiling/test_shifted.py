"""Passes on shifted grids: every pixel once a pass, and no border in the same place twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eorestore.errors import UsageError
from eorestore.metrics.seams import patch_borders, seam_strength
from eorestore.tiling.shifted import plan_shifted, shifted_passes

SIDES = st.integers(1, 90)
PATCHES = st.integers(1, 40)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def repeated(image: torch.Tensor, scale: int) -> torch.Tensor:
    return image.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)


def less_its_mean(piece: torch.Tensor) -> torch.Tensor:
    """Depends on the whole patch, as a norm does."""
    return piece - piece.mean(dim=(-2, -1), keepdim=True)


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, PATCHES, st.integers(0, 40), st.integers(0, 40))
def test_every_pixel_is_answered_for_once(height: int, width: int, patch: int, down: int, right: int):
    plan = plan_shifted((height, width), patch=patch, shift=(down, right))
    covered = np.zeros((height, width), int)
    for tile in plan:
        covered[tile.core.rows, tile.core.columns] += 1
        inner = tile.core.relative_to(tile.window)
        assert min(inner.row, inner.column, tile.window.row, tile.window.column) >= 0
        assert inner.row + inner.height <= tile.window.height
        assert inner.column + inner.width <= tile.window.width
        assert tile.window.row + tile.window.height <= height
        assert tile.window.column + tile.window.width <= width
        assert tile.window.size == (min(patch, height), min(patch, width))
        assert min(tile.core.size) >= 1
    assert (covered == 1).all()


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, PATCHES, st.integers(1, 7), st.floats(0, 1), st.integers(0, 2**31), st.sampled_from([1, 2, 4]))
def test_a_model_that_repeats_pixels_gives_the_image_back_bit_by_bit(
    height: int, width: int, patch: int, passes: int, offset: float, seed: int, scale: int
):
    image = noise(1, 2, height, width)
    found = shifted_passes(
        lambda piece: repeated(piece, scale),
        image,
        scale=scale,
        patch=patch,
        passes=passes,
        offset=offset,
        seed=seed,
        batch=32,
    )
    assert torch.equal(found, repeated(image, scale))


def test_cuts_lie_a_patch_apart_from_the_shift_on():
    plan = plan_shifted((100, 70), patch=32, shift=(10, 0))
    assert patch_borders(plan) == ([10, 42, 74], [32, 64])
    first, last = plan.rows[0][0], plan.rows[-1][-1]
    assert (first.core.size, first.window.row) == ((10, 32), 0)
    assert (last.core.size, last.window.row, last.window.column) == ((26, 6), 68, 38)


def test_an_axis_no_longer_than_a_patch_is_not_cut():
    plan = plan_shifted((32, 20), patch=32, shift=(10, 5))
    assert [(tile.core, tile.window) for tile in plan] == [(plan.rows[0][0].core, plan.rows[0][0].core)]
    assert plan.rows[0][0].core.size == (32, 20)


@pytest.mark.parametrize(("passes", "offset"), [(4, 0.33), (30, 0.07)])
def test_the_mean_is_that_of_the_single_passes_drawn_twice_or_not(passes: int, offset: float):
    image = noise(1, 1, 50, 61)
    shifts = torch.randint(round(offset * 16) + 1, (passes, 2), generator=torch.Generator().manual_seed(3)).tolist()
    expected = torch.zeros_like(image)
    for down, right in shifts:
        for tile in plan_shifted((50, 61), patch=16, shift=(down, right)):
            inner = tile.core.relative_to(tile.window)
            piece = less_its_mean(image[..., tile.window.rows, tile.window.columns])
            expected[..., tile.core.rows, tile.core.columns] += piece[..., inner.rows, inner.columns] / passes
    found = shifted_passes(less_its_mean, image, scale=1, patch=16, passes=passes, offset=offset, seed=3)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_seed_gives_the_same_result_and_another_seed_another():
    image = noise(1, 1, 50, 61)
    one, same, other = (shifted_passes(less_its_mean, image, scale=1, patch=16, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_random_state_of_the_process_is_not_touched():
    before = torch.random.get_rng_state()
    shifted_passes(less_its_mean, noise(1, 1, 50, 61), scale=1, patch=16, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_shifts_reach_up_to_their_share_of_a_patch_and_not_beyond():
    image = torch.arange(64.0).expand(1, 1, 8, 64)

    def predict(piece: torch.Tensor) -> torch.Tensor:
        firsts.extend(piece[:, 0, 0, 0].int().tolist())
        return piece

    firsts: list[int] = []
    shifted_passes(predict, image, scale=1, patch=16, passes=200, offset=0.33, seed=0)
    inner = {start % 16 for start in firsts if 0 < start < 48}
    assert inner == set(range(6))


def test_more_passes_make_the_seams_weaker():
    # A slow wave whose level a patch loses: each patch comes out on a level of its own.
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    image = (torch.sin(y / 17) + torch.cos(x / 23))[None, None]
    valid = torch.ones(1, 1, 128, 128, dtype=torch.bool)
    rows, columns = patch_borders(plan_shifted((128, 128), patch=32))
    strengths = []
    for passes, offset in ((1, 0.0), (12, 0.33)):
        found = shifted_passes(less_its_mean, image, scale=1, patch=32, passes=passes, offset=offset, seed=5)
        strengths.append(seam_strength(found, valid=valid, rows=rows, columns=columns).item())
    assert strengths[0] > 20
    assert strengths[1] < strengths[0] / 4


def test_an_image_no_larger_than_a_patch_is_predicted_once():
    calls = []

    def predict(piece: torch.Tensor) -> torch.Tensor:
        calls.append(tuple(piece.shape))
        return less_its_mean(piece)

    image = noise(1, 1, 30, 20)
    found = shifted_passes(predict, image, scale=1, patch=32, seed=0)
    assert calls == [(1, 1, 30, 20)]
    assert torch.equal(found, less_its_mean(image))


@pytest.mark.parametrize("asked", [{"passes": 0}, {"offset": -0.1}, {"offset": 1.5}, {"patch": 0}])
def test_sizes_that_cannot_serve_are_refused(asked: dict[str, float]):
    with pytest.raises(UsageError):
        shifted_passes(lambda piece: piece, noise(1, 1, 20, 20), **({"scale": 1, "patch": 8, "seed": 0} | asked))


def test_a_negative_shift_is_refused():
    with pytest.raises(UsageError, match="shifted by"):
        plan_shifted((20, 20), patch=8, shift=(-1, 0))
