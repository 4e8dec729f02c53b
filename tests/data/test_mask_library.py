"""Real cloud masks from .npy files."""

import numpy as np
import pytest

from eorestore.data.mask_library import load_masks
from eorestore.errors import MaskError


def test_all_shapes_are_read_and_masks_without_cloud_left_out(tmp_path):
    series = np.zeros((3, 6, 5, 1), dtype=np.uint8)
    series[0, 1, 2], series[2, 3, 4] = 1, 255
    np.save(tmp_path / "a.npy", series)
    np.save(tmp_path / "b.npy", np.eye(4, dtype=bool))
    masks = load_masks(tmp_path)
    assert [(mask.shape, mask.dtype, int(mask.sum())) for mask in masks] == [
        ((6, 5), bool, 1),
        ((6, 5), bool, 1),
        ((4, 4), bool, 4),
    ]


def test_a_file_alone_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(4))
    assert len(load_masks(tmp_path / "a.npy")) == 1


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.zeros((0, 4, 4))])
def test_masks_without_any_cloud_are_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(MaskError, match="no cloud mask"):
        load_masks(tmp_path)


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4, 3)])
def test_another_shape_is_refused(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.ones(shape))
    with pytest.raises(MaskError, match="has the shape"):
        load_masks(tmp_path)


def test_an_empty_folder_a_missing_file_and_a_pickle_are_refused(tmp_path):
    with pytest.raises(MaskError, match="no cloud mask"):
        load_masks(tmp_path)
    with pytest.raises(MaskError, match="not a readable mask"):
        load_masks(tmp_path / "absent.npy")
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(MaskError, match="not a readable mask"):
        load_masks(tmp_path / "a.npy")


@pytest.mark.real
def test_the_eolearn_series_has_masks_with_cloud(real_data):
    masks = load_masks(real_data / "cloud" / "masks" / "eolearn" / "CLM.npy")
    assert 5 < len(masks) <= 68
    assert all(mask.shape == (101, 100) for mask in masks)
