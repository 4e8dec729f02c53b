"""Masks of a manifest's scenes: files of 0 and 1, classes, other grids, and the built-in rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eorestore.data.manifest import SceneRow
from eorestore.data.scene_masks import scene_mask
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import MaskError
from eorestore.processing.cloud_mask import cloud_and_shadow, shadow_limits, widen
from eorestore.raster import Raster
from small_scenes import make_world, write_tif


@pytest.fixture(scope="module")
def cloudy() -> Raster:
    return make_world((64, 48), cover=0.4).cloudy


def _row(mask: str | None) -> SceneRow:
    return SceneRow("one", "here", "train", Path("s2.tif"), Path("s1.tif"), mask=mask)


def test_a_file_of_zeros_and_ones_is_all_cloud(tmp_path, cloudy):
    drawn = np.random.default_rng(0).random((1, 64, 48)) > 0.6
    path = write_tif(tmp_path / "mask.tif", drawn.astype(np.uint8), cloudy.grid)
    found = scene_mask(_row(str(path)), cloudy)
    assert np.array_equal(found.cloud, drawn[0])
    assert not found.shadow.any()


def test_classes_are_chosen_and_looked_up_on_a_coarser_grid(tmp_path, cloudy):
    classes = np.random.default_rng(1).integers(0, 12, (1, 32, 24)).astype(np.uint8)
    path = write_tif(tmp_path / "SCL.tif", classes, cloudy.grid.resize(32, 24))
    found = scene_mask(_row(f"{path}:3,8,9"), cloudy)
    assert np.array_equal(found.cloud, np.isin(classes[0].repeat(2, 0).repeat(2, 1), [3, 8, 9]))


def test_the_built_in_rule_serves_rows_without_mask(cloudy):
    cloud, shadow = cloud_and_shadow(cloudy, shadow_limits([cloudy]))
    found = scene_mask(_row(None), cloudy)
    assert found.cloud.any()
    assert np.array_equal(found.cloud, widen(cloud))
    assert np.array_equal(found.shadow, widen(shadow))


def test_a_scene_without_the_bands_of_the_rule_is_told_of_the_column():
    four = synthetic_scene((32, 32), generator=np.random.default_rng(0)).optical.select(["B02", "B03", "B04", "B08"])
    with pytest.raises(MaskError, match="one: the built-in cloud mask needs B01, B11") as caught:
        scene_mask(_row(None), four)
    assert "column mask" in caught.value.fix


def test_other_values_bands_and_classes_than_announced_are_refused(tmp_path, cloudy):
    values = np.full((1, 64, 48), 7, np.uint8)
    path = write_tif(tmp_path / "mask.tif", values, cloudy.grid)
    with pytest.raises(MaskError, match="holds 7"):
        scene_mask(_row(str(path)), cloudy)
    with pytest.raises(MaskError, match="names no classes"):
        scene_mask(_row(f"{path}:cloud"), cloudy)
    two = write_tif(tmp_path / "two.tif", np.zeros((2, 64, 48), np.uint8), cloudy.grid, names=("a", "b"))
    with pytest.raises(MaskError, match="2 bands"):
        scene_mask(_row(str(two)), cloudy)
