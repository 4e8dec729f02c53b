"""Seam strength: images with and without steps at known borders, and a count pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eorestore.errors import DataError, UsageError
from eorestore.metrics.seams import patch_borders, seam_strength
from eorestore.tiling.shifted import plan_shifted
from eorestore.tiling.tiles import plan_tiles

ROWS, COLUMNS = [64, 128, 192], [64, 128, 192]
ALL = torch.ones(1, 256, 256, dtype=torch.bool)


def white(seed: int, *, size: int = 256) -> torch.Tensor:
    return torch.randn(1, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def levels(step: float) -> torch.Tensor:
    """Squares of 64 pixels, each other one higher by `step`."""
    place = torch.arange(256) // 64
    return step * ((place[:, None] + place) % 2).double()[None]


def test_an_image_without_steps_has_strength_one():
    assert seam_strength(white(0), valid=ALL, rows=ROWS, columns=COLUMNS).item() == pytest.approx(1, abs=0.05)


def test_steps_at_the_borders_show_and_larger_ones_more():
    found = [
        seam_strength(white(0) + levels(step), valid=ALL, rows=ROWS, columns=COLUMNS).item() for step in (0, 2, 5, 20)
    ]
    assert found == sorted(found)
    assert found[1] > 1.2
    assert found[3] > 5


def test_steps_elsewhere_are_no_seams():
    rolled = torch.roll(white(0) + levels(5), (20, 20), dims=(-2, -1))
    assert seam_strength(rolled, valid=ALL, rows=ROWS, columns=COLUMNS).item() < 1


def test_a_slope_is_no_seam_and_a_kink_is():
    place = torch.arange(256.0, dtype=torch.float64)
    noise = 0.01 * white(0)
    slope = noise + place[:, None]
    kink = noise + (place - 128).abs()[:, None]
    assert seam_strength(slope, valid=ALL, rows=[128]).item() == pytest.approx(1, abs=0.15)
    assert seam_strength(kink, valid=ALL, rows=[128]).item() > 10


def test_an_image_rougher_down_than_across_has_strength_one_all_the_same():
    rough = white(0) + 20 * white(1)[:, :, :1]
    found = seam_strength(rough, valid=ALL, rows=[128], columns=list(range(8, 256, 8)))
    assert found.item() == pytest.approx(1, abs=0.15)


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 20), st.integers(3, 20), st.data())
def test_it_is_the_ratio_counted_pixel_by_pixel(height: int, width: int, data: st.DataObject):
    rows = data.draw(st.lists(st.integers(1, height - 1), max_size=3))
    columns = data.draw(st.lists(st.integers(1, width - 1), max_size=3))
    generator = np.random.default_rng(height * width)
    image, valid = generator.normal(size=(height, width)), generator.random((height, width)) > 0.1
    found = expected = 0.0
    for x, seen, places in ((image, valid, rows), (image.T, valid.T, columns)):
        at, elsewhere = [], []
        for i in range(1, x.shape[0] - 1):
            across = any(i - 1 < place <= i + 1 for place in places)
            for j in range(x.shape[1]):
                if seen[i - 1 : i + 2, j].all():
                    (at if across else elsewhere).append(abs(x[i - 1, j] - 2 * x[i, j] + x[i + 1, j]))
        if at and elsewhere:
            found += sum(at)
            expected += len(at) * sum(elsewhere) / len(elsewhere)
    score = seam_strength(
        torch.from_numpy(image)[None], valid=torch.from_numpy(valid)[None], rows=rows, columns=columns
    )
    assert score.item() == pytest.approx(found / expected if expected else math.nan, nan_ok=True)


def test_invalid_pixels_cannot_change_the_score():
    valid = ALL.clone()
    valid[:, 100:140, 30:90] = False
    image = white(0) + levels(2)
    before = seam_strength(image, valid=valid, rows=ROWS, columns=COLUMNS)
    image[~valid] = math.nan
    assert torch.equal(seam_strength(image, valid=valid, rows=ROWS, columns=COLUMNS), before)
    assert before.isfinite()


def test_the_edge_of_a_gap_is_no_seam():
    valid = ALL.clone()
    valid[:, 64:] = False
    image = torch.where(valid, white(0) + 300, 0.0)
    assert seam_strength(image, valid=valid, rows=[32, 64]).item() == pytest.approx(1, abs=0.1)


def test_an_item_of_a_batch_scores_as_it_does_alone_and_bands_are_averaged():
    images = torch.stack([torch.cat([white(0), white(1) + levels(3)]), torch.cat([white(2), white(3)])])
    valid = ALL.expand(2, 1, 256, 256)
    together = seam_strength(images, valid=valid, rows=ROWS, columns=COLUMNS)
    alone = [seam_strength(image, valid=ALL, rows=ROWS, columns=COLUMNS) for image in images]
    assert torch.equal(together, torch.stack(alone))
    bands = [seam_strength(images[0, band : band + 1], valid=ALL, rows=ROWS, columns=COLUMNS) for band in (0, 1)]
    assert alone[0].item() == pytest.approx(torch.stack(bands).mean().item())


def test_without_a_border_or_without_any_variation_there_is_no_score():
    assert seam_strength(white(0), valid=ALL).isnan()
    assert seam_strength(white(0), valid=~ALL, rows=[64]).isnan()
    assert seam_strength(torch.full((1, 256, 256), 3.0), valid=ALL, rows=[64]).isnan()
    assert seam_strength(levels(1), valid=ALL, rows=ROWS, columns=COLUMNS).isinf()


@pytest.mark.parametrize("rows", [[0], [256], [64, -1]])
def test_a_border_outside_the_image_is_refused(rows: list[int]):
    with pytest.raises(UsageError, match="no border lies before row"):
        seam_strength(white(0), valid=ALL, rows=rows)


def test_an_image_without_a_band_axis_is_refused():
    with pytest.raises(DataError, match="cannot be compared"):
        seam_strength(white(0)[0], valid=ALL[0], rows=[64])


def test_borders_are_those_of_the_plan():
    assert patch_borders(plan_shifted((40, 30), patch=16, shift=(3, 0)), scale=2) == ([6, 38, 70], [32])
    assert patch_borders(plan_tiles((30, 12), tile=12, overlap=4)) == ([8, 12, 16, 18, 20, 28], [])
