"""Masks that leave out the rim of clouds or shadows."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter

from eorestore.models.mask_rim import MOST, STEP, missed_rim, widen_mask, with_wider_mask
from eorestore.models.model import SceneSample

SIDE = 96


def ground(*, bands=13, coast=False):
    """(band, y, x): smooth texture in which bands move together; with `coast` the left half is dark."""
    generator = np.random.default_rng(0)
    texture = gaussian_filter(generator.normal(size=(SIDE, SIDE)), 2.0) * 7
    own = gaussian_filter(generator.normal(size=(bands, SIDE, SIDE)), (0, 1, 1)) * 0.01
    values = 0.15 + 0.03 * texture + own
    if coast:
        values[:, :, : SIDE // 2] *= 0.3
    return values


def holes():
    """Distance (y, x) in pixels into the clouds, below 0 outside them."""
    cloud = np.zeros((SIDE, SIDE), dtype=bool)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for row, column in ((24, 24), (70, 30), (30, 70), (72, 74)):
        cloud |= np.hypot(rows - row, columns - column) < 14
    return distance_transform_edt(cloud) - distance_transform_edt(~cloud)


def piece(values, hidden):
    return torch.from_numpy(values.astype(np.float32))[None], torch.from_numpy(hidden.astype(np.float32))[None, None]


def under_cloud(values, *, opacity=1.0):
    share = opacity * np.clip(holes() / 3, 0, 1)
    return values * (1 - share) + 0.6 * share


def in_shadow(values):
    return values * (1 - 0.5 * np.clip(holes() / 3, 0, 1))


@pytest.mark.parametrize(("sky", "bands"), [(under_cloud, 13), (under_cloud, 4), (in_shadow, 13)])
def test_a_mask_that_leaves_out_the_rim_is_found_and_one_that_fits_is_not(sky, bands):
    seen = sky(ground(bands=bands))
    assert missed_rim([piece(seen, holes() > 0)]) == 0
    assert missed_rim([piece(seen, holes() > 2)]) == STEP


def test_a_rim_wider_than_one_step_takes_two():
    assert missed_rim([piece(under_cloud(ground()), holes() > 7)]) == MOST


def test_a_coast_is_no_rim():
    seen = under_cloud(ground(coast=True))
    assert missed_rim([piece(seen, holes() > 0)]) == 0
    assert missed_rim([piece(seen, holes() > 2)]) == STEP


def test_pieces_of_a_large_scene_count_together():
    seen, hidden = under_cloud(ground()), holes() > 2
    quarters = [
        piece(seen[:, rows, columns], hidden[rows, columns])
        for rows in (slice(0, 48), slice(48, None))
        for columns in (slice(0, 48), slice(48, None))
    ]
    assert missed_rim(quarters) == STEP


@pytest.mark.parametrize("hidden", [holes() > 100, holes() > -100, holes() > -8])
def test_where_nothing_can_be_told_the_mask_is_believed(hidden):
    assert missed_rim([piece(under_cloud(ground()), hidden)]) == 0


def test_masks_grow_by_distance():
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4, 4] = 1
    wider = widen_mask(mask, 2)
    assert wider.sum() == 13  # the pixels at most 2 away, of which the corners of the square are none
    assert torch.equal(widen_mask(mask, 0), mask)
    assert not widen_mask(torch.zeros(1, 1, 9, 9), 2).any()


def test_a_coarse_overview_grows_by_whole_blocks():
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 4, 4] = 1
    scene = SceneSample({"mask": mask, "sar": mask}, ({"mask": mask},), factor=3)
    wider = with_wider_mask(scene, 4)
    assert torch.equal(wider.overview["mask"], widen_mask(mask, 2))
    assert torch.equal(wider.windows[0]["mask"], widen_mask(mask, 4))
    assert wider.overview["sar"] is mask
    assert with_wider_mask(scene, 0) is scene
