"""Windows against the shifted-window attention of torchvision and against their definition."""

import pytest
import torch
from torchvision.models.swin_transformer import ShiftedWindowAttention

from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows, relative_position_index, shift_mask


def test_merging_undoes_cutting():
    features = torch.randn(2, 3, 16, 24)
    assert torch.equal(merge_windows(cut_windows(features, 8), 8, height=16, width=24), features)


def test_windows_follow_each_other_row_by_row_within_an_image():
    place = torch.arange(2 * 16 * 24).view(2, 1, 16, 24)
    windows = cut_windows(place, 8)
    assert windows.shape == (12, 64, 1)
    assert torch.equal(windows[5, :, 0], place[0, 0, 8:16, 16:24].flatten())
    assert torch.equal(windows[6, :, 0], place[1, 0, :8, :8].flatten())


def test_a_shift_rolls_up_and_left_and_its_opposite_rolls_back():
    features = torch.arange(12.0).view(1, 1, 3, 4)
    shifted = cyclic_shift(features, 1)
    assert shifted[0, 0, 0, 0] == features[0, 0, 1, 1]
    assert torch.equal(cyclic_shift(shifted, -1), features)


def test_the_position_index_is_that_of_torchvision():
    theirs = ShiftedWindowAttention(4, [8, 8], [0, 0], 1).relative_position_index.view(64, 64)
    assert torch.equal(relative_position_index(8), theirs)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (32, 8)])
def test_two_tokens_may_meet_where_they_were_neighbours_before_the_shift(height, width):
    size, shift = 8, 4
    rows = torch.arange(height).view(1, 1, -1, 1).expand(1, 1, height, width)
    columns = torch.arange(width).view(1, 1, 1, -1).expand(1, 1, height, width)
    rows, columns = (cut_windows(cyclic_shift(place, shift), size)[..., 0] for place in (rows, columns))
    near = ((rows[:, :, None] - rows[:, None]).abs() < size) & ((columns[:, :, None] - columns[:, None]).abs() < size)
    if min(height, width) == size:
        # one window wraps onto itself there, so that nearness cannot tell its two sides apart
        same_y = (rows < shift)[:, :, None] == (rows < shift)[:, None] if height == size else True
        same_x = (columns < shift)[:, :, None] == (columns < shift)[:, None] if width == size else True
        near = near & same_y & same_x
    mask = shift_mask(height, width, size=size, shift=shift)
    assert torch.equal(mask == 0, near)
    assert set(mask.unique().tolist()) == {-100.0, 0.0}
