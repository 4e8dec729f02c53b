"""Clouded scenes as tensors: SAR bands that get lost or were never there, and what a model is shown of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eorestore.data.scene_encoding import CloudedScene, SceneEncoder, Variation
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import BandError, ConfigError
from eorestore.models.model import Prepared
from eorestore.processing.processor import Processor, glf_cr_processor
from eorestore.raster import Band, BandSet, Unit

SAR = ("sar",)


@pytest.fixture(scope="module")
def scene() -> CloudedScene:
    place = synthetic_scene((32, 32), generator=np.random.default_rng(0))
    none = np.zeros((32, 32), bool)
    return CloudedScene(place.optical, place.sar, place.optical, none, ~none, none, none)


def _encoded(scene: CloudedScene, seed: int = 0, *, variation: Variation = Variation(), **options):  # noqa: B008
    encoder = SceneEncoder(glf_cr_processor(), variation=variation, **({"optional_inputs": SAR} | options))
    return encoder.encode(scene, generator=np.random.default_rng(1), losses=np.random.default_rng(seed))[0]


def test_lost_bands_are_nan_throughout_and_the_others_stay(scene):
    whole = _encoded(scene)["sar"]
    none = _encoded(scene, variation=Variation(drop_sar=1.0))["sar"]
    first = _encoded(scene, variation=Variation(drop_vh=1.0))["sar"]
    assert whole.isfinite().all()
    assert none.isnan().all()
    assert torch.equal(first[0], whole[0])
    assert first[1].isnan().all()


def test_shares_of_lost_bands_are_those_asked_for(scene):
    variation = Variation(drop_sar=0.25, drop_vh=0.5)
    states = [tuple(_encoded(scene, seed, variation=variation)["sar"][:, 0, 0].isnan().tolist()) for seed in range(200)]
    assert set(states) == {(True, True), (False, True), (False, False)}
    assert states.count((True, True)) / 200 == pytest.approx(0.25, abs=0.1)
    assert states.count((False, True)) / 200 == pytest.approx(0.5, abs=0.1)


def test_what_gets_lost_changes_no_other_draw(scene):
    variation = Variation(turns=True, speckle=True, sar_shift_px=0.5)
    plain = _encoded(scene, variation=variation)
    lossy = _encoded(scene, variation=replace(variation, drop_vh=1.0))
    assert torch.equal(plain["cloudy"], lossy["cloudy"])
    assert torch.equal(plain["sar"][0], lossy["sar"][0])


def test_prepare_sees_the_loss(scene):
    seen = []

    def prepare(sample):
        seen.append(sample.windows[0]["sar"])
        return Prepared()

    _encoded(scene, variation=Variation(drop_sar=1.0), prepare=prepare)
    assert seen[0].isnan().all()


def test_a_scene_with_one_polarisation_serves_models_that_can_do_with_it(scene):
    single = replace(scene, sar=scene.sar.select(["VV"]))
    found = _encoded(single)["sar"]
    assert torch.equal(found[0], _encoded(scene)["sar"][0])
    assert found[1].isnan().all()
    with pytest.raises(BandError, match="VH"):
        _encoded(single, optional_inputs=())


def test_a_scene_whose_sar_saw_nothing_has_no_sar(scene):
    blind = replace(scene.sar, valid=np.zeros_like(scene.sar.valid))
    assert _encoded(replace(scene, sar=blind))["sar"].isnan().all()


def test_a_polarisation_that_no_model_takes_is_refused(scene):
    bands = BandSet((Band("HH", Unit.DECIBEL), Band("HV", Unit.DECIBEL)))
    with pytest.raises(BandError, match="HH"):
        _encoded(replace(scene, sar=replace(scene.sar, bands=bands)))


def test_losses_are_refused_where_model_or_processor_cannot_do_without(scene):
    with pytest.raises(ConfigError, match="can do without SAR"):
        _encoded(scene, variation=Variation(drop_sar=0.1), optional_inputs=())
    processor = glf_cr_processor()
    single = Processor(dict(processor.inputs) | {"sar": processor.inputs["sar"].select(["VV"])}, processor.output)
    with pytest.raises(ConfigError, match="takes VV"):
        SceneEncoder(single, variation=Variation(drop_vh=0.1), optional_inputs=SAR)
