"""Windows through a function: order, batches, and what is refused."""

from __future__ import annotations

import pytest
import torch

from eorestore.errors import UsageError
from eorestore.raster.grid import Window
from eorestore.tiling.patches import enlarged, predicted_windows

IMAGE = torch.arange(2 * 3 * 6 * 8.0).reshape(2, 3, 6, 8)
WINDOWS = [Window(row, column, 2, 3) for row in (0, 2, 4) for column in (0, 5, 1)]


@pytest.mark.parametrize("batch", [1, 2, 4, 9, 20])
def test_windows_come_back_in_their_order_in_batches_of_any_size(batch: int):
    sizes = []

    def predict(pieces: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pieces))
        return pieces + 1

    found = [*predicted_windows(predict, IMAGE, WINDOWS, scale=1, batch=batch)]
    assert len(found) == len(WINDOWS)
    for window, piece in zip(WINDOWS, found, strict=True):
        assert torch.equal(piece, IMAGE[..., window.rows, window.columns] + 1)
    assert max(sizes) == 2 * min(batch, 9)
    assert sum(sizes) == 2 * 9


def test_a_prediction_of_another_size_is_refused():
    with pytest.raises(UsageError, match="came back as"):
        [*predicted_windows(lambda pieces: pieces, IMAGE, WINDOWS, scale=2, batch=4)]
    with pytest.raises(UsageError, match="came back as"):
        [*predicted_windows(lambda pieces: pieces[:1], IMAGE, WINDOWS, scale=1, batch=4)]


def test_an_image_without_a_batch_axis_is_refused():
    with pytest.raises(UsageError, match="an image of shape"):
        [*predicted_windows(lambda pieces: pieces, IMAGE[0], WINDOWS, scale=1, batch=4)]


@pytest.mark.parametrize("asked", [{"scale": 0, "batch": 1}, {"scale": 1, "batch": 0}])
def test_counts_below_one_are_refused(asked: dict[str, int]):
    with pytest.raises(UsageError, match="at a time"):
        [*predicted_windows(lambda pieces: pieces, IMAGE, WINDOWS, **asked)]


def test_a_window_of_the_input_is_the_same_place_in_the_output():
    image = IMAGE.repeat_interleave(3, dim=-1).repeat_interleave(3, dim=-2)
    window = Window(1, 2, 3, 4)
    large = enlarged(window, 3)
    assert torch.equal(image[..., large.rows, large.columns][..., ::3, ::3], IMAGE[..., window.rows, window.columns])
    assert large.size == (9, 12)
