"""Pairs from one scene: no gap and no judged square is a target, detail is drawn more often, seeds decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eorestore.data import single_scene
from eorestore.data.single_scene import (
    PairSettings,
    Piece,
    ScenePairs,
    hold_back,
    plan_degradation,
    sensor_degradation,
)
from eorestore.errors import DataError
from eorestore.layers.sensor import observe
from eorestore.processing.sensor import Sensor

MEAN = sensor_degradation(Sensor("mean"))
ALONE = PairSettings(crop=12, batch=6, scales=1, busy_share=0.0)
GAP = 1000.0  # what stands in a gap here, so that it shows wherever it gets to


def piece(size=(96, 80), *, gap=None, judged=None, seed=0) -> Piece:
    values = gaussian_filter(np.random.default_rng(seed).standard_normal(size), 1.5).astype(np.float32)
    valid = torch.ones(size, dtype=torch.bool)
    if gap is not None:
        valid[gap] = False
        values[gap] = GAP
    held = torch.zeros(size, dtype=torch.bool) if judged is None else judged
    return Piece(torch.from_numpy(values)[None], valid, held)


def pairs(pieces, settings=ALONE, *, degrade=MEAN, seed=0):
    return ScenePairs([pieces] if isinstance(pieces, Piece) else pieces, settings, degrade=degrade,
                      generator=np.random.default_rng(seed))  # fmt: skip


def drawn(source, times=25):
    return [source.draw() for _ in range(times)]


def test_the_coarse_crop_is_what_the_sensor_delivers_of_the_target():
    for batch in drawn(pairs(piece()), 5):
        assert batch["target"].shape == (6, 1, 24, 24)
        assert batch["known"].shape == (6, 1, 24, 24)
        assert torch.equal(batch["low"], observe(batch["target"], Sensor("mean"), factor=2))
        assert batch["known"].all()


def test_a_target_is_a_square_of_the_scene_turned_in_eight_ways():
    scene = piece()
    squares = scene.image[0].unfold(0, 24, 1).unfold(1, 24, 1).reshape(-1, 24, 24)
    ways = set()
    for batch in drawn(pairs(scene), 12):
        for target in batch["target"][:, 0]:
            turns = [torch.rot90(flipped, k, (0, 1)) for flipped in (target, target.flip(1)) for k in range(4)]
            found = [index for index, turned in enumerate(turns) if (squares == turned).flatten(1).all(1).any()]
            assert len(found) == 1
            ways.add(found[0])
    assert ways == set(range(8))


@pytest.mark.parametrize("busy", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("scales", [1, 4])
def test_no_crop_holds_a_gap_where_crops_without_one_exist(busy, scales):
    """Only a band of 34 rows is whole: few of the places that a crop can be drawn at are without a gap."""
    scene = piece((160, 128), gap=np.s_[34:, 7::9])
    settings = replace(ALONE, busy_share=busy, scales=scales)
    for batch in drawn(pairs(scene, settings)):
        assert batch["target"].abs().max() < 10
        assert batch["known"].all()


def test_of_two_windows_the_one_without_gaps_is_learned_from():
    lost = piece((64, 64), gap=np.s_[::5, ::5])
    for batch in drawn(pairs([*[lost] * 12, piece((64, 64), seed=1)]), 10):
        assert batch["target"].abs().max() < 10


def test_where_every_crop_has_a_gap_its_pixels_are_not_known():
    scene = piece((64, 64), gap=np.s_[::9, ::9])
    for batch in drawn(pairs(scene)):
        assert torch.equal(batch["target"] == GAP, ~batch["known"])
        assert batch["known"].float().mean() > 0.5


@pytest.mark.parametrize("scales", [1, 5])
@pytest.mark.parametrize("size", [(96, 80), (200, 150)])
def test_judged_squares_and_gaps_never_leak_into_what_is_known(size, scales):
    """They hold other values in a second scene; targets and what is known of them may not notice."""
    judged = hold_back(torch.ones(size, dtype=torch.bool), 0.2)
    first = piece(size, judged=judged)
    first.valid[10:30, 12:15] = False
    second = replace(first, image=torch.where(judged | ~first.valid, GAP, first.image))
    settings = replace(ALONE, scales=scales, least_scale=0.45)
    for old, new in zip(drawn(pairs(first, settings)), drawn(pairs(second, settings)), strict=True):
        assert torch.equal(old["known"], new["known"])
        assert torch.allclose(old["target"][old["known"]], new["target"][old["known"]], atol=1e-4)
        assert 0.3 < float(old["known"].float().mean()) <= 1


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 1 / 3, 0.5])
@pytest.mark.parametrize("size", [(64, 64), (120, 194), (256, 256), (1024, 700)])
def test_about_the_asked_share_is_held_back_in_squares_spread_over_the_scene(size, share):
    judged = hold_back(torch.ones(size, dtype=torch.bool), share)
    assert float(judged.float().mean()) == pytest.approx(share, abs=0.09)
    if min(size) < 100 and share < 0.2:
        return  # a few squares cannot be everywhere
    halves = [judged[: size[0] // 2], judged[size[0] // 2 :], judged[:, : size[1] // 2], judged[:, size[1] // 2 :]]
    assert min(float(half.float().mean()) for half in halves) > 0.4 * share
    for lines in (judged, judged.T):
        assert not (lines.float().mean(dim=0) > 0.9).any(), "squares, not stripes"


def test_nothing_is_held_back_for_a_share_of_none():
    assert not hold_back(torch.ones(40, 50, dtype=torch.bool), 0.0).any()


def test_windows_that_overlap_hold_back_the_same_pixels():
    whole = hold_back(torch.ones(400, 400, dtype=torch.bool), 0.2)
    valid = torch.ones(256, 256, dtype=torch.bool)
    for row, column in ((0, 0), (13, 29), (144, 100)):
        window = hold_back(valid, 0.2, origin=(row, column))
        assert torch.equal(window, whole[row : row + 256, column : column + 256])


def test_busy_crops_are_centred_on_detail():
    values = np.zeros((120, 120), np.float32)
    values[70:74, 30:34] = np.random.default_rng(0).uniform(5, 9, (4, 4))
    flat = Piece(torch.from_numpy(values)[None], *(torch.full((120, 120), state) for state in (True, False)))
    settings = replace(ALONE, crop=10, busy_share=1.0)
    # a fifth of the pixels is busy here, most of them by nothing: ties; those with energy lie around the spot
    father = single_scene._father(flat, 1.0)[0]
    strongest = father.busy[(father.busy - torch.tensor([71, 31])).abs().amax(1) < 8]
    assert len(strongest) > 150
    only = replace(father, busy=strongest)
    corners = [only.corner(20, settings, np.random.default_rng(seed)) for seed in range(60)]
    centres = np.array(corners) + 10
    assert np.abs(centres - [72, 32]).max() <= 9
    assert np.abs(centres.mean(axis=0) - [72, 32]).max() < 3


def test_detail_is_drawn_more_often_than_by_chance():
    values = np.random.default_rng(1).standard_normal((128, 128)).astype(np.float32)
    values[:, 32:] *= 1e-3
    scene = Piece(torch.from_numpy(values)[None], *(torch.full((128, 128), state) for state in (True, False)))
    shares = []
    for busy in (0.0, 1.0):
        source = pairs(scene, replace(ALONE, crop=8, busy_share=busy))
        shares.append(np.mean([float(target.std() > 0.1) for b in drawn(source, 40) for target in b["target"]]))
    assert shares[1] > 0.95
    assert shares[0] < 0.55


@pytest.mark.parametrize(("size", "factor"), [((15, 40), 2), ((30, 30), 4), ((3, 3), 2)])
def test_a_scene_that_is_too_small_is_refused_with_a_way_out(size, factor):
    with pytest.raises(DataError, match=f"{size[0]} x {size[1]}") as caught:
        pairs(piece(size), replace(ALONE, factor=factor))
    assert "steps=0" in caught.value.fix


def test_a_scene_of_which_nothing_may_be_a_target_is_refused():
    with pytest.raises(DataError, match="target"):
        pairs(piece((64, 64), judged=torch.ones(64, 64, dtype=torch.bool)))


@pytest.mark.parametrize("scales", [1, 4])
def test_a_small_scene_has_smaller_crops(scales):
    source = pairs(piece((20, 30)), replace(ALONE, crop=48, scales=scales, least_scale=0.9))
    assert source.crop == (10 if scales == 1 else 9)
    assert source.draw()["low"].shape[-2:] == (source.crop,) * 2


def test_the_seed_decides():
    settings = PairSettings(crop=12, jitter=0.1)
    first, again, other = (
        drawn(pairs(piece(), settings, degrade=plan_degradation, seed=seed), 5) for seed in (1, 1, 2)
    )
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(first[0]["target"], other[0]["target"])


def test_without_jitter_values_are_those_of_the_scene_and_with_it_they_are_not():
    scene = piece()
    known = set(scene.image.flatten().tolist())
    plain, shaken = (drawn(pairs(scene, replace(ALONE, jitter=jitter)), 10) for jitter in (0.0, 0.1))
    assert all(set(batch["target"].flatten().tolist()) <= known for batch in plain)
    changed = [not set(target.flatten().tolist()) <= known for batch in shaken for target in batch["target"]]
    assert 0.3 < np.mean(changed) < 0.75  # either of two, each for 3 of 10


def test_a_guide_is_cut_and_turned_with_its_scene():
    scene = piece()
    source = pairs(replace(scene, guide=torch.cat([2 * scene.image, scene.image + 1])))
    for batch in drawn(source, 5):
        assert torch.equal(batch["guide"], torch.cat([2 * batch["target"], batch["target"] + 1], dim=1))


def test_noise_has_the_standard_deviation_asked_for():
    high = piece((128, 128)).image[None]
    generator = np.random.default_rng(0)
    apart = sensor_degradation(Sensor("mean"), noise=0.3)(high, 2, generator) - observe(high, Sensor("mean"), factor=2)
    assert float(apart.std()) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_degradation_of_the_plan_is_no_block_mean(factor):
    high = piece((128, 128)).image[None]
    mean = observe(high, Sensor("mean"), factor=factor)
    low = plan_degradation(high, factor, np.random.default_rng(0))
    assert low.shape == mean.shape
    assert (low - mean).abs().max() > 0.1 * mean.std()


def test_the_degradation_of_the_plan_does_not_clip():
    high = 50 * piece((64, 64)).image[None]
    low = [plan_degradation(high, 4, np.random.default_rng(seed)) for seed in range(6)]
    assert max(float(value.max()) for value in low) > 1
    assert min(float(value.min()) for value in low) < 0
