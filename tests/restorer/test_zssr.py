"""ZSSR on scenes of a few thousand pixels: it learns, repeats itself, and agrees with what it was given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eorestore.errors import ConfigError, DataError
from eorestore.layers.resampling import enlarge
from eorestore.layers.sensor import observe
from eorestore.processing.sensor import Sensor
from eorestore.restorer.slope_rule import SlopeSettings
from eorestore.restorer.zssr import ZssrSettings, back_projected, zssr

MEAN = Sensor()


def scene(*, side=96, bands=1, seed=0):
    """Fields with straight edges in kelvin, of which every pixel sees its mean: (band, y, x)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: 4 * side, : 4 * side] / 4
    image = np.zeros(rows.shape)
    for _ in range(14):
        angle, offset = generator.uniform(0, np.pi), generator.uniform(-0.5, 0.5) * side
        beyond = (columns - side / 2) * np.cos(angle) + (rows - side / 2) * np.sin(angle) > offset
        image += generator.normal() * beyond
    image = 290 + 4 * image.reshape(side, 4, side, 4).mean((1, 3))
    return torch.from_numpy(np.stack([image + 3 * band for band in range(bands)])).float()


def quick(**changes):
    return ZssrSettings(**{"steps": 3, **changes})


def test_a_few_steps_beat_bicubic_enlargement_that_is_back_projected_as_often():
    high = scene()
    low = observe(high, MEAN, factor=2)
    assert low.shape == (1, 48, 48)
    plain = back_projected(enlarge(low[None], factor=2), low[None], MEAN, factor=2, rounds=20)[0]
    steady = SlopeSettings(test_every=40)
    result = zssr(low, scale=2, sensor=MEAN, seed=0, settings=quick(steps=120, rate=steady))
    errors = [float((image - high).square().mean().sqrt()) for image in (plain, result.image)]
    assert errors[1] < 0.9 * errors[0]
    assert [note["step"] for note in result.history] == [40, 80, 120]
    assert result.history[-1]["error"] < result.history[0]["error"]
    assert result.steps == 120


@pytest.mark.parametrize("text", ["mean", "bicubic", "gaussian:0.3"])
def test_the_result_seen_by_the_sensor_is_the_scene(text):
    sensor = Sensor.parse(text)
    low = observe(scene(bands=2), sensor, factor=2)
    image = zssr(low, scale=2, sensor=sensor, seed=0, settings=quick()).image
    plain = enlarge(low, factor=2)
    left, before = ((observe(found, sensor, factor=2) - low).square().mean().sqrt() for found in (image, plain))
    assert left < before / 20


def test_the_same_seed_gives_the_same_image_and_another_one_another():
    low = scene(side=32)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    noisy = quick(noise=0.2)
    first, again, other = (zssr(low, scale=2, sensor=MEAN, seed=seed, settings=noisy).image for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.rand(1), expected)


def test_a_constant_stays_constant():
    low = torch.full((2, 20, 20), 287.5)
    result = zssr(low, scale=2, sensor=MEAN, seed=0, settings=quick(steps=60))
    assert torch.equal(result.image, torch.full((2, 40, 40), 287.5))


def test_a_flat_error_stops_it_before_the_last_step():
    often = SlopeSettings(test_every=1, check_every=4, window=4)
    result = zssr(torch.full((1, 16, 16), 3.0), scale=2, sensor=MEAN, seed=0, settings=quick(steps=99, rate=often))
    assert result.steps == 12
    assert result.history[0]["learning_rate"] == 1e-3


def test_another_unit_gives_the_same_image_in_it():
    low = scene(side=24)
    kelvin = zssr(low, scale=2, sensor=MEAN, seed=0, settings=quick()).image
    counts = zssr(100 * low - 20_000, scale=2, sensor=MEAN, seed=0, settings=quick()).image
    assert torch.allclose(kelvin, (counts + 20_000) / 100, atol=2e-2)


@pytest.mark.parametrize(("size", "scale"), [((17, 30), 2), ((25, 26), 3), ((33, 40), 4)])
def test_every_size_and_scale_is_enlarged(size, scale):
    low = scene(side=40)[:, : size[0], : size[1]]
    image = zssr(low, scale=scale, sensor=MEAN, seed=0, settings=quick(least_scale=0.5, rescaled=1.0)).image
    assert image.shape == (1, scale * size[0], scale * size[1])
    assert image.dtype == torch.float32
    assert bool(image.isfinite().all())


def test_scales_on_the_way_learn_as_long_again_and_keep_the_result_consistent():
    low = observe(scene(side=128), MEAN, factor=4)
    result = zssr(low, scale=4, sensor=MEAN, seed=0, settings=quick(steps=8, gradual=(2,)))
    assert result.steps == 16
    assert result.image.shape == (1, 128, 128)
    assert (observe(result.image, MEAN, factor=4) - low).square().mean().sqrt() < 0.1


def test_bf16_comes_near_fp32():
    low = scene(side=32)
    settings = {"steps": 10, "value_range": (270.0, 310.0)}
    exact, short = (
        zssr(low, scale=2, sensor=MEAN, seed=0, settings=quick(**settings, precision=precision)).image
        for precision in ("fp32", "bf16")
    )
    plain = enlarge(low, factor=2)
    assert not torch.equal(exact, short)
    assert (exact - short).abs().mean() < 0.2 * (exact - plain).abs().mean()


def test_back_projection_does_what_it_says():
    low = scene(side=20)[None]
    image = enlarge(low, factor=2) + 1
    once = image + enlarge(low - observe(image, MEAN, factor=2), factor=2)
    assert torch.equal(back_projected(image, low, MEAN, factor=2, rounds=1), once)
    assert back_projected(image, low, MEAN, factor=2, rounds=0) is image


@pytest.mark.parametrize(
    ("low", "words"),
    [
        (torch.zeros(20, 20), "shape"),
        (torch.zeros(1, 15, 40), "too few"),
        (torch.full((1, 20, 20), float("nan")), "not finite"),
    ],
)
def test_what_is_no_scene_to_learn_from_is_refused(low, words):
    with pytest.raises(DataError, match=words):
        zssr(low, scale=2, sensor=MEAN, seed=0)


@pytest.mark.parametrize("gradual", [(2,), (4, 2), (1,)])
def test_scales_must_grow(gradual):
    with pytest.raises(ConfigError, match="grow"):
        zssr(torch.zeros(1, 40, 40), scale=2, sensor=MEAN, seed=0, settings=quick(gradual=gradual))


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"least_scale": 0.0}, {"value_range": (1.0, 1.0)}, {"noise": -1.0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ConfigError):
        ZssrSettings(**wrong)
