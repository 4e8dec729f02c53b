"""A scene made ready for its network: pieces, falling back, weights to begin with, what a resumed run is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eorestore.errors import DataError, UsageError
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.table import build_model
from eorestore.processing.sensor import Sensor
from eorestore.processing.table import PROCESSORS
from eorestore.raster import Band, BandSet, Raster, Unit
from eorestore.raster.pixels import MemoryPixels
from eorestore.restorer.inference import Execution
from eorestore.restorer.scene_learning import Judgement
from eorestore.restorer.zero_shot import (
    begin,
    decide,
    learn,
    learned_before,
    observation,
    own_scale,
    scaling_of,
    scene_pieces,
    scene_restorer,
    stage_factors,
)
from eorestore.restorer.zero_shot_recipe import SceneTask, load_recipe
from small_enlargers import utm_grid
from small_thermal import gaps, textured

SMALL = ["start=none", "settings.channels=8", "settings.blocks=1", "steps=3", "batch=2", "precision=fp32"]


def task(*overrides: str, scale: int = 2, size=(64, 64)) -> SceneTask:
    return SceneTask(load_recipe("balanced", [*SMALL, *overrides]), scale).settled(size)


def pixels(values: np.ndarray, valid=None, *, unit=Unit.KELVIN) -> MemoryPixels:
    values = values if values.ndim == 3 else values[None]
    bands = BandSet(tuple(Band(f"B{number}", unit) for number in range(len(values))))
    seen = np.ones(values.shape[1:], bool) if valid is None else valid
    return MemoryPixels(Raster(values.astype(np.float32), seen, bands, utm_grid(values.shape[1:])))


def test_a_small_scene_is_one_piece_a_band_scaled_without_a_clip():
    scene, lost = np.stack([textured((60, 70)), textured((60, 70), seed=1) + 9]), gaps((60, 70), 0.2)
    given = pixels(scene, ~lost)
    scaling = scaling_of(task(), given)
    pieces = scene_pieces(given, scaling, held_back=0.2)
    assert len(pieces) == 2
    for piece, band, values in zip(pieces, scaling.bands, scene, strict=True):
        assert np.array_equal(piece.valid.numpy(), ~lost)
        back = piece.image[0].numpy() * (band.high - band.low) + band.low
        assert np.abs(back - values)[~lost].max() < 1e-3
        assert piece.image.isfinite().all()
        assert float(piece.image.max()) > 1
        assert float(piece.image.min()) < 0


def test_windows_of_a_long_scene_overlap_and_hold_back_the_same_pixels():
    """What one window judges may be no target of another."""
    place = np.arange(1100 * 330, dtype=np.float32).reshape(1100, 330)
    given = pixels(place)
    pieces = scene_pieces(given, scaling_of(task("normalize=absolute"), given), held_back=0.2)
    assert len(pieces) == 16
    judged, learned = set(), set()
    for piece in pieces:
        numbers = (piece.image[0] * 120 + 200).double().round().long()
        judged |= set(numbers[piece.judged].tolist())
        learned |= set(numbers[~piece.judged].tolist())
    assert len(judged | learned) < sum(piece.valid.numel() for piece in pieces)
    assert len(judged & learned) < 0.001 * len(judged)


def test_a_scene_without_a_valid_pixel_has_no_pieces():
    given = pixels(np.zeros((40, 40)), np.zeros((40, 40), bool))
    with pytest.raises(DataError, match="valid"):
        scene_pieces(given, scaling_of(task(), given), held_back=0.2)


def test_absolute_bounds_are_for_kelvin_alone():
    (band,) = scaling_of(task("normalize=absolute"), pixels(textured())).bands
    assert (band.low, band.high, band.clip) == (200.0, 320.0, False)
    with pytest.raises(UsageError, match="count"):
        scaling_of(task("normalize=absolute"), pixels(textured(), unit=Unit.COUNT))


@pytest.mark.parametrize(
    ("blend", "share", "margin", "expected"),
    [
        (0.9, 0.7, 0.02, (0.7, "zero-shot")),
        (0.99, 0.7, 0.02, (0.0, "bicubic, projected")),
        (1.0, 0.0, 0.0, (0.0, "bicubic, projected")),
        (1.0, 0.0, -1.0, (1.0, "zero-shot")),
    ],
)
def test_the_network_is_used_where_it_gains_by_the_margin(blend, share, margin, expected):
    judged = Judgement(1.0, 1.0, blend, share, 100)
    assert decide(judged, task(f"margin={margin}")) == expected


def test_without_a_judgement_bicubic_enlargement_is_returned():
    assert decide(None, task()) == (0.0, "bicubic, projected")
    assert decide(None, task("margin=-1")) == (1.0, "zero-shot")


@pytest.mark.parametrize(("scale", "own", "factors"), [(2, 2, [2]), (3, 3, [3]), (16, 2, [2, 4, 8, 16])])
def test_stages_are_of_the_networks_own_scale(scale, own, factors):
    assert own_scale(task(scale=scale)) == own
    assert stage_factors(scale, own) == factors
    assert own_scale(task("gradual=false", scale=scale)) == scale


def saved(folder, *, scale=2, bands=1) -> str:
    model = build_model("zero-shot-sr", {"channels": 8, "blocks": 1, "scale": scale, "bands": bands}, seed=5)
    save_checkpoint(
        folder, model, PROCESSORS[f"thermal-x{scale}"](), task="zero-shot", provenance={}, tile=64, overlap=8
    )
    return str(folder)


def start(folder: str, *overrides: str, scale: int = 2) -> SceneTask:
    return SceneTask(load_recipe("balanced", [f"start={folder}", *overrides]), scale).settled((64, 64))


def test_weights_to_begin_with_are_those_of_the_checkpoint(tmp_path):
    folder = saved(tmp_path / "start")
    network, sha256 = begin(start(folder, "settings.channels=8"))
    expected = build_model("zero-shot-sr", {"channels": 8, "blocks": 1}, seed=5)
    assert torch.equal(network.trunk.leave.weight, expected.trunk.leave.weight)
    assert len(sha256) == 64


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    folder = saved(tmp_path / "start")
    for wrong, told in ((start(folder, "settings.channels=16"), "channels 16"), (start(folder, scale=3), "2 times")):
        with pytest.raises(UsageError, match=told) as caught:
            begin(wrong)
        assert "network.start=none" in caught.value.fix or "none" in caught.value.fix
    with pytest.raises(UsageError, match="one band"):
        begin(start(saved(tmp_path / "two", bands=2)))


def test_learning_leaves_the_random_state_and_the_restorer_as_they_are():
    given = pixels(textured((64, 64)))
    asked = task("margin=-1", "held_back=0")
    restorer, _ = scene_restorer(asked, given, Execution())
    before = {name: value.clone() for name, value in restorer.model.network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    found = learn(asked, given, restorer)
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(value, before[name]) for name, value in restorer.model.network.state_dict().items())
    assert not torch.equal(found.model.network.trunk.leave.weight, before["trunk.leave.weight"])


def test_what_was_learned_before_is_the_same_model():
    given = pixels(textured((96, 96)))
    asked = task("ensemble=mean", "margin=-1", size=(96, 96))
    restorer, _ = scene_restorer(asked, given, Execution())
    found = learn(asked, given, restorer)
    told = {"stages": found.stages_json()}
    again = learned_before(scene_restorer(asked, given, Execution())[0], found.model.network.state_dict(), told)
    low = torch.rand(1, 1, 20, 20)
    with torch.no_grad():
        one, two = found.model(low=low), again(low=low)
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.extras["sigma"], two.extras["sigma"])
    assert one.extras["sigma"].max() > 0


def test_noise_is_given_in_the_unit_of_the_scene(monkeypatch):
    from eorestore.restorer import zero_shot

    seen = {}

    def learning(_, __, recipe, **___):
        seen["noise"] = recipe.noise
        raise DataError("enough", fix="")

    monkeypatch.setattr(zero_shot, "learn_scene", learning)
    given = pixels(textured((64, 64)))
    asked = task("noise=0.5")
    restorer, _ = scene_restorer(asked, given, Execution())
    learn(asked, given, restorer)
    band = restorer.processor.inputs["low"].bands[0]
    assert seen["noise"] == pytest.approx(0.5 / (band.high - band.low))


def test_a_result_is_compared_by_the_sensor_of_the_recipe():
    fine = np.random.default_rng(0).uniform(280, 300, (1, 12, 8))
    means = fine.reshape(1, 6, 2, 4, 2).mean(axis=(2, 4))
    assert np.allclose(observation(task())(fine), means)
    assert not np.allclose(observation(task("sensor=gaussian:0.2"))(fine), means, atol=0.1)
    with pytest.raises(UsageError):
        observation(task("sensor=lens"))


def test_tiles_and_batches_get_smaller_where_the_result_is_much_larger():
    given = pixels(textured((64, 64)))
    made = {scale: scene_restorer(task(scale=scale), given, Execution())[0] for scale in (2, 4, 8, 16)}
    tiles = [restorer.facts.tile for restorer in made.values()]
    assert tiles == sorted(tiles, reverse=True)
    assert [restorer.execution.batch for restorer in made.values()] == [4, 1, 1, 1]
    assert made[2].model.stages.sensor == Sensor("mean")
