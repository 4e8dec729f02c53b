"""A scene by strips and tiles against the scene as one piece."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eorestore.errors import DataError, WriteError
from eorestore.models.catalogue import BASELINES, SizeRule
from eorestore.models.model import Model, Output, Prepared, Settings
from eorestore.raster import MemoryPixels
from eorestore.restorer import survey as survey_module
from eorestore.restorer.inference import Execution
from eorestore.restorer.memory import restore_raster
from eorestore.restorer.plan import ModelFacts
from eorestore.restorer.restore import Restorer, baseline_processor, load_restorer
from eorestore.restorer.scene import Scene
from small_scenes import make_world, tiny_checkpoint


@pytest.fixture(scope="module")
def world():
    return make_world((150, 133), seed=1)


def restored(world, model, *, mask="given", **options):
    execution = options.pop("execution", None)
    loaded = load_restorer(model, bands=world.cloudy.bands, **options)
    rasters = {"cloudy": world.cloudy, "sar": world.place.sar}
    mask = world.mask if isinstance(mask, str) else mask
    return restore_raster(loaded, rasters, mask=mask, execution=execution)


@pytest.mark.parametrize("model", ["inpaint", "sar-regression", "band-mean"])
@pytest.mark.parametrize("tile", [16, 37, 64, 100])
def test_a_cropped_model_gives_the_same_pixels_with_any_tile(world, model, tile):
    whole = restored(world, model, tile=512)
    tiled = restored(world, model, tile=tile)
    assert np.abs(whole.raster.values - tiled.raster.values).max() == 0
    assert np.array_equal(whole.source, tiled.source)
    assert not np.array_equal(whole.raster.values, world.cloudy.values)


def test_more_than_one_tile_a_forward_changes_next_to_nothing(world):
    one, four = (restored(world, "sar-regression", tile=32, execution=Execution(batch=count)) for count in (1, 4))
    np.testing.assert_allclose(one.raster.values, four.raster.values, atol=1e-6)


@pytest.mark.parametrize("size", [(33, 95), (50, 41), (129, 64)])
def test_a_blended_network_takes_odd_sizes(tmp_path, size):
    world = make_world(size, seed=2)
    checkpoint = tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8)
    result = restored(world, str(checkpoint), mask=None)
    assert result.raster.values.shape == world.cloudy.values.shape
    assert np.isfinite(result.raster.values).all()
    assert (result.source == 2).all()


def test_a_blended_network_leaves_clear_pixels_alone(tmp_path, world):
    checkpoint = tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8)
    result = restored(world, str(checkpoint))
    assert np.array_equal(result.raster.values[:, ~world.mask], world.cloudy.values[:, ~world.mask])
    assert (result.raster.values != world.cloudy.values)[:, world.mask].mean() > 0.9


class Counting(Model):
    """Returns its input, and counts the tiles it is given."""

    settings_type = Settings
    reach = 0
    tiling = "crop"

    def __init__(self):
        super().__init__(Settings())
        self.tiles = 0

    def forward(self, *, cloudy):
        self.tiles += len(cloudy)
        return Output(cloudy)


def counting(bands, *, tile=16, model=None):
    rule = SizeRule()
    facts = ModelFacts(load_restorer("identity", bands=bands).facts.resolved, rule, tile, 0, {})
    return Restorer("counting", model or Counting(), baseline_processor(bands), facts, None, Execution())


def test_tiles_without_a_masked_pixel_never_reach_the_model():
    world = make_world((160, 160), seed=3)
    mask = np.zeros((160, 160), bool)
    mask[72, 88] = True
    restorer = counting(world.cloudy.bands)
    restore_raster(restorer, {"cloudy": world.cloudy}, mask=mask)
    # The pixel's own tile, and those within the 32 pixels that the seam looks at: 5 x 5 tiles of 16.
    assert 1 <= restorer.model.tiles <= 25
    restore_raster(restorer, {"cloudy": world.cloudy}, mask=np.zeros_like(mask))
    assert restorer.model.tiles <= 25


def test_tiles_without_a_valid_pixel_never_reach_the_model():
    world = make_world((64, 64), seed=3)
    valid = np.zeros((64, 64), bool)
    valid[:16, :16] = True
    restorer = counting(world.cloudy.bands)
    result = restore_raster(restorer, {"cloudy": replace(world.cloudy, valid=valid)}, mask=None)
    assert restorer.model.tiles == 1
    assert np.array_equal(result.source > 0, valid)


class BrokenPixels(MemoryPixels):
    """Reads twice, then the disk is gone."""

    def read_raw(self, window=None):
        if window is not None and window.row > 32:
            raise DataError("the disk is gone", fix="bring it back")
        return super().read_raw(window)


def test_an_error_of_the_reader_comes_out_as_it_is():
    world = make_world((96, 64), seed=3)
    restorer = counting(world.cloudy.bands)
    scene = Scene({"cloudy": BrokenPixels(world.cloudy)}, "cloudy")
    with pytest.raises(DataError, match="disk is gone"):
        restorer.run(scene, lambda *_: None, mask=None, prepared=Prepared(), factor=1)


def test_an_error_of_the_writer_comes_out_as_it_is():
    world = make_world((96, 64), seed=3)
    restorer = counting(world.cloudy.bands)
    scene = Scene({"cloudy": MemoryPixels(world.cloudy)}, "cloudy")

    def full(rows):
        if rows.first >= 32:
            raise WriteError("no space left", fix="make room")

    with pytest.raises(WriteError, match="no space left"):
        restorer.run(scene, full, mask=None, prepared=Prepared(), factor=1)


class Diverging(Counting):
    """Gives NaN."""

    def forward(self, *, cloudy):
        return Output(cloudy / 0 * 0)


def test_values_that_are_not_finite_never_reach_the_file():
    world = make_world((96, 64), seed=3)
    with pytest.raises(DataError, match="not finite near row 0, column 0"):
        restore_raster(counting(world.cloudy.bands, model=Diverging()), {"cloudy": world.cloudy}, mask=None)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (5, 3)])
@pytest.mark.parametrize("model", ["identity", "inpaint", "sar-regression", "network"])
def test_the_smallest_scenes_are_restored(tmp_path, world, size, model):
    from eorestore.raster import Window

    window = Window(0, 0, *size)
    rasters = {"cloudy": world.cloudy.crop(window), "sar": world.place.sar.crop(window)}
    mask = np.zeros(size, bool)
    mask[0, -1] = True
    if model == "network":
        model = str(tiny_checkpoint(tmp_path / "tiny"))
    elif mask.all() and model != "identity":
        pytest.skip("nothing clear to learn from")
    elif model == "sar-regression" and mask.size < 30:
        pytest.skip("too few clear pixels for seven coefficients a band")
    result = restore_raster(model, rasters, mask=mask)
    assert np.isfinite(result.raster.values).all()
    assert result.source[0, -1] == 2


class Failing(Counting):
    """Raises in forward."""

    def forward(self, *, cloudy):
        raise RuntimeError(f"no room for {cloudy.shape}")


def test_an_error_of_the_model_ends_reader_and_writer():
    import threading

    world = make_world((96, 64), seed=3)
    with pytest.raises(RuntimeError, match="no room"):
        restore_raster(counting(world.cloudy.bands, model=Failing()), {"cloudy": world.cloudy}, mask=None)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("eorestore")]


@pytest.mark.parametrize("model", ["inpaint", "sar-regression", "band-mean"])
def test_a_scene_larger_than_the_overview_is_restored_sanely(world, monkeypatch, model):
    small = restored(world, model, tile=64)
    monkeypatch.setattr(survey_module, "OVERVIEW", 40)
    large = restored(world, model, tile=64)
    clear = world.place.optical.values
    errors = [float(np.abs(one.raster.values - clear)[:, world.mask].mean()) for one in (small, large)]
    untouched = float(np.abs(world.cloudy.values - clear)[:, world.mask].mean())
    assert errors[1] < max(2 * errors[0], 0.5 * untouched)
    assert large.raster.values.min() > -0.1
    assert large.raster.values.max() < 1.5


def test_a_large_scene_with_an_estimate_model_is_restored_sanely(tmp_path, world, monkeypatch):
    monkeypatch.setattr(survey_module, "OVERVIEW", 40)
    checkpoint = tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8, start="estimate")
    result = restored(world, str(checkpoint))
    assert np.isfinite(result.raster.values).all()
    assert np.array_equal(result.raster.values[:, ~world.mask], world.cloudy.values[:, ~world.mask])


def test_the_self_ensemble_of_a_symmetric_model_changes_nothing(world):
    plain, mean = (restored(world, "identity", execution=Execution(tta=value)) for value in (False, True))
    np.testing.assert_allclose(plain.raster.values, mean.raster.values, atol=1e-6)


def test_the_self_ensemble_of_a_network_is_another_image(tmp_path, world):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=64, overlap=8))
    plain, mean = (restored(world, checkpoint, execution=Execution(tta=value)) for value in (False, True))
    assert np.isfinite(mean.raster.values).all()
    assert np.abs(plain.raster.values - mean.raster.values).max() > 1e-5


def test_the_self_ensemble_works_with_what_prepare_learned(world):
    """Maps and constants of `prepare` are turned along with the tiles."""
    plain, mean = (restored(world, "inpaint", tile=64, execution=Execution(tta=value)) for value in (False, True))
    np.testing.assert_allclose(plain.raster.values, mean.raster.values, atol=1e-5)
    plain, mean = (
        restored(world, "sar-regression", tile=64, execution=Execution(tta=value)) for value in (False, True)
    )
    np.testing.assert_allclose(plain.raster.values, mean.raster.values, atol=1e-4)


def test_bf16_stays_near_fp32(tmp_path, world):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=64, overlap=8))
    exact, coarse = (restored(world, checkpoint, execution=Execution(precision=name)) for name in ("fp32", "bf16"))
    assert np.abs(exact.raster.values - coarse.raster.values).max() < 0.1


def test_the_table_of_baselines_tells_the_truth_about_them():
    from eorestore.models.table import build_model

    for name, rule in BASELINES.items():
        model = build_model(name, {})
        assert {field: getattr(model, field) for field in SizeRule.__dataclass_fields__} == {
            field: getattr(rule, field) for field in SizeRule.__dataclass_fields__
        }
