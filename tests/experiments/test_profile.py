from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from eorestore.errors import UnknownNameError
from eorestore.experiments.profile import load_network, profile_models, time_in_turns
from eorestore.models.model import Model, Output, Settings


@dataclass(frozen=True)
class WideSettings(Settings):
    channels: int = 64


class Wide(Model):
    """Holds `channels` maps at once: channels x y x x x 4 bytes."""

    settings_type = WideSettings
    multiple_of = 16

    def __init__(self, settings: WideSettings) -> None:
        super().__init__(settings)
        self.widen = nn.Conv2d(13, settings.channels, 1)
        self.narrow = nn.Conv2d(settings.channels, 13, 1)

    def forward(self, *, cloudy):
        return Output(self.narrow(self.widen(cloudy)))


class Doomed(Wide):
    """Is killed by the system on any image above 64 pixels, in a process of its own."""

    def forward(self, *, cloudy):
        if cloudy.shape[-1] > 64:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(cloudy=cloudy)


def load_wide(name: str) -> Model:
    torch.manual_seed(0)
    return Doomed(WideSettings()).eval() if name == "doomed" else Wide(WideSettings(int(name))).eval()


def test_models_take_turns():
    calls: list[str] = []
    times = time_in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert [len(seconds) for seconds in times.values()] == [3, 3]


@pytest.fixture(scope="module")
def profiles():
    return profile_models(["64", "256"], sizes=(256, 500), rounds=3, load=load_wide)


def test_a_wider_model_costs_more_flops_time_and_memory(profiles):
    narrow, wide = profiles
    assert (narrow.parameters, wide.parameters) == (64 * 13 + 64 + 13 * 64 + 13, 256 * 13 + 256 + 13 * 256 + 13)
    for small, large in zip(narrow.sizes, wide.sizes, strict=True):
        assert large.flops == 4 * small.flops
        assert small.ratio == 1.0 < large.ratio
        assert large.megapixels_per_second < small.megapixels_per_second


def test_flops_are_those_of_the_size_that_the_model_takes(profiles):
    assert [size.side for size in profiles[0].sizes] == [256, 512]
    assert [size.flops for size in profiles[0].sizes] == [2 * 2 * 13 * 64 * side**2 for side in (256, 512)]


def test_peak_memory_is_that_of_the_maps_alive_at_once(profiles):
    for profile, channels in zip(profiles, (64, 256), strict=True):
        for size in profile.sizes:
            maps = 4 * size.side**2 * (channels + 13)  # input or output, and the wide maps
            assert maps <= size.memory_bytes <= 1.6 * maps + 30e6


def test_speed_and_time_say_the_same(profiles):
    for size in profiles[1].sizes:
        assert size.megapixels_per_second == pytest.approx(size.side**2 / 1e3 / size.milliseconds)


def test_a_size_that_a_model_does_not_survive_is_left_out():
    (doomed,) = profile_models(["doomed"], sizes=(64, 128), rounds=1, load=load_wide)
    assert [size.side for size in doomed.sizes] == [64]


class Coarse(Wide):
    multiple_of = 64


def load_coarse(name: str) -> Model:
    return Coarse(WideSettings()).eval() if name == "coarse" else load_wide(name)


def test_a_size_that_a_model_takes_only_as_another_one_asked_for_is_measured_once():
    fine, coarse = profile_models(["64", "coarse"], sizes=(32, 64), rounds=1, load=load_coarse)
    assert [size.side for size in fine.sizes] == [32, 64]
    assert [size.side for size in coarse.sizes] == [64]


def test_baselines_and_presets_have_a_network():
    assert load_network("inpaint").needs_scene
    assert load_network("glf-cr-v0").training is False
    with pytest.raises(UnknownNameError):
        load_network("nobody")
