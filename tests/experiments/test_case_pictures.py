"""Pictures of cases: which are kept, how they are called, how large they get."""

import io
from dataclasses import dataclass, field

import numpy as np
import pytest

from eorestore.data.manifest import SceneRow
from eorestore.experiments.case_pictures import CasePictures, draw_case, encode_small
from eorestore.experiments.cases import Case
from eorestore.experiments.evaluation_table import EvaluationRow
from eorestore.raster import SENTINEL1, SENTINEL2_L1C, Grid, Raster

SIZE = (24, 30)


@dataclass(frozen=True)
class Restored:
    raster: Raster
    extras: dict = field(default_factory=dict)


def case(scene: str = "a", size=SIZE, cover: float | None = 0.4) -> Case:
    grid = Grid("EPSG:32632", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), *size)
    generator = np.random.default_rng(0)
    bands = SENTINEL2_L1C.select(("B02", "B03", "B04"))
    everywhere = np.ones(size, bool)
    target = Raster(generator.random((3, *size), dtype=np.float32), everywhere, bands, grid)
    sar = Raster(generator.normal(-12, 3, (2, *size)).astype(np.float32), everywhere, SENTINEL1, grid)
    row = SceneRow(scene, "p", "test", *[None] * 2)
    return Case(row, target, sar, target, everywhere, everywhere, ~everywhere, cover, None if cover is None else 1)


def watched(values: dict[str, float], *, metric: str = "psnr", model: str = "m") -> CasePictures:
    pictures = CasePictures()
    for scene, value in values.items():
        one = case(scene)
        row = EvaluationRow(model, scene, "p", 0.4, 1, 1.0, {metric: value, f"{metric}_cloud": value})
        pictures.add(one, row, Restored(one.target))
    return pictures


def test_worst_median_and_best_are_written_and_say_what_they_are(tmp_path):
    pictures = watched({"a": 30.0, "b/1": 20.0, "c": 25.0, "d": 40.0, "e": 35.0})
    written = pictures.write(tmp_path)
    assert [(picture.name, picture.scene, picture.value) for picture in written] == [
        ("worst", "b/1", 20.0), ("median", "a", 30.0), ("best", "d", 40.0),
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "cases").iterdir()) == [
        "best-d-cover40-seed1.png", "median-a-cover40-seed1.png", "worst-b-1-cover40-seed1.png",
    ]  # fmt: skip
    text = "\n".join(pictures.to_markdown(written))
    assert "![Worst: b/1, 40 % cover, seed 1, PSNR dB inside cloud 20.00](cases/worst-b-1-cover40-seed1.png)" in text


def test_a_low_error_is_the_best_and_a_case_without_cloud_is_left_out(tmp_path):
    written = watched({"a": 0.1, "b": 0.3, "c": 0.2, "d": float("nan")}, metric="mae").write(tmp_path)
    assert [picture.scene for picture in written] == ["b", "c", "a"]


def test_of_few_cases_none_is_drawn_twice(tmp_path):
    assert [p.name for p in watched({"a": 30.0}).write(tmp_path)] == ["worst"]
    assert [p.name for p in watched({"a": 30.0, "b": 20.0}).write(tmp_path)] == ["worst", "best"]
    assert len(list((tmp_path / "cases").iterdir())) == 2  # the former ones are gone
    assert CasePictures().write(tmp_path) == ()
    assert CasePictures().to_markdown(()) == []


def test_only_the_first_model_is_drawn(tmp_path):
    pictures = watched({"a": 30.0})
    one = case("b")
    pictures.add(one, EvaluationRow("other", "b", "p", 0.4, 1, 1.0, {"psnr_cloud": 1.0}), Restored(one.target))
    assert [picture.scene for picture in pictures.write(tmp_path)] == ["a"]


def test_the_panels_are_cloudy_sar_restored_target_and_error():
    one = case()
    wrong = one.target.values.copy()
    wrong[:, :12] += 0.1
    pixels = draw_case(one, Raster(wrong, one.target.valid, one.target.bands, one.target.grid))
    height, width = SIZE
    assert pixels.shape == (height, 5 * width + 4 * 4, 3)
    panels = [pixels[:, start : start + width] for start in range(0, pixels.shape[1], width + 4)]
    assert np.array_equal(panels[0], panels[3])
    assert np.array_equal(panels[1][..., 0], panels[1][..., 2])
    assert not np.array_equal(panels[2], panels[3])
    assert np.array_equal(panels[2][12:], panels[3][12:])
    assert (panels[4][:12] == 255).mean() > 0.4  # rounding leaves some at 254
    assert (panels[4][:12] >= 254).all()
    assert (panels[4][12:] == 0).all()


def test_large_scenes_are_thinned():
    assert draw_case(case(size=(600, 300)), case(size=(600, 300)).target).shape == (200, 516, 3)


@pytest.mark.parametrize("limit", [300_000, 40_000])
def test_a_picture_shrinks_until_it_fits(limit):
    noise = np.random.default_rng(0).integers(0, 256, (256, 640, 3), dtype=np.uint8)
    from matplotlib.image import imread

    data = encode_small(noise, limit=limit)
    assert len(data) <= limit
    shape = imread(io.BytesIO(data)).shape
    assert shape[0] / shape[1] == pytest.approx(256 / 640, rel=0.02)
