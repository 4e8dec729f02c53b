"""A network learns a scene: it gains, the same seed gives the same, the best is kept, and what goes wrong stops it."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from eorestore.data.simulated_thermal import simulate_thermal
from eorestore.errors import DataError, TrainingError
from eorestore.models.scene_enlargement import SceneEnlargement, Stages
from eorestore.models.table import build_model
from eorestore.restorer import scene_learning
from eorestore.restorer.scene_learning import judge_scene, learn_scene
from eorestore.restorer.zero_shot_recipe import LearningRecipe
from small_thermal import as_piece, textured

QUICK = LearningRecipe(steps=6, crop=16, batch=2, judge_every=2, scales=2, precision="fp32")


def network(**settings):
    return build_model("zero-shot-sr", {"channels": 8, "blocks": 1} | settings, seed=1).eval()


def learn(recipe=QUICK, *, net=None, pieces=None, seed=0, stages=None, **more):
    pieces = [as_piece(textured())] if pieces is None else pieces
    return learn_scene(
        network() if net is None else net,
        pieces,
        recipe,
        stages=stages or Stages(2),
        generator=np.random.default_rng(seed),
        **more,
    )


def weights(net):
    return torch.cat([value.flatten() for value in net.state_dict().values()])


def test_a_network_of_drawn_weights_learns_more_than_bicubic_knows():
    scene = simulate_thermal(96, 96, kind="streets", generator=np.random.default_rng(1))
    recipe = replace(QUICK, steps=60, judge_every=30, batch=4, learning_rate=1e-2, crop=20)
    piece = as_piece(scene, low=scene.min(), high=scene.max())
    learned = learn(recipe, net=network(channels=16, blocks=2), pieces=[piece])
    assert learned.before.gain < 0.01
    assert learned.after.network < 0.96 * learned.after.bicubic
    assert learned.after.gain > 0.04
    assert learned.kept_step > 0
    assert learned.after.bicubic == learned.before.bicubic


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    pieces = [as_piece(textured(), held_back=0.0)]  # nothing is judged, so that the last weights are kept
    first, again, other = (weights(learn(seed=seed, pieces=pieces).network) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_network_that_is_given_stays_as_it_is():
    net = network()
    before = copy.deepcopy(net.state_dict())
    learned = learn(net=net, pieces=[as_piece(textured(), held_back=0.0)])
    assert learned.network is not net
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not net.training
    assert not torch.equal(weights(learned.network), weights(net))


def judged_as(monkeypatch, errors):
    """Judgements that say what they are told to, and remember the weights that they saw."""
    seen = []

    class Told:
        def __init__(self, *_):
            pass

        def __call__(self, net):
            seen.append(weights(net).clone())
            error = errors[len(seen) - 1]
            return scene_learning.Judgement(1.0, error, min(error, 1.0), 1.0, 100)

    monkeypatch.setattr(scene_learning, "_Judge", Told)
    return seen


def test_the_weights_of_the_best_judgement_are_kept_and_not_the_last(monkeypatch):
    seen = judged_as(monkeypatch, [1.0, 0.9, 0.5, 0.8, 0.7])
    learned = learn(replace(QUICK, steps=8))
    assert (learned.kept_step, learned.steps, learned.after.network) == (4, 8, 0.5)
    assert torch.equal(weights(learned.network), seen[2])
    assert not torch.equal(weights(learned.network), seen[4])


def test_where_nothing_gets_better_the_weights_that_came_are_kept(monkeypatch):
    judged_as(monkeypatch, [1.0, 1.1, 1.2, 1.3])
    net = network()
    learned = learn(net=net)
    assert learned.kept_step == 0
    assert torch.equal(weights(learned.network), weights(net))
    assert learned.after.network == 1.0


def test_it_stops_after_as_many_judgements_without_gain_as_it_has_patience(monkeypatch):
    judged_as(monkeypatch, [1.0, 0.9, 0.8999, 0.95, 0.92, 0.1])
    learned = learn(replace(QUICK, steps=20, patience=3, least_gain=0.01))
    assert learned.steps == 8
    assert learned.stopped == "no gain in 3 judgements"
    assert learned.kept_step == 4


def test_an_explosion_stops_it_and_what_comes_back_is_finite():
    recipe = replace(QUICK, steps=60, learning_rate=10.0, gradient_clip=0.0, judge_every=0, warmup=0)
    learned = learn(recipe)
    assert "grew" in learned.stopped
    assert learned.steps < 60
    assert weights(learned.network).isfinite().all()
    assert learned.after.network <= learned.before.network


@pytest.mark.parametrize("rate", [1e12, 1e30])
def test_weights_that_are_no_longer_finite_are_judged_as_bad_and_not_kept(rate):
    learned = learn(replace(QUICK, steps=12, learning_rate=rate, judge_every=1, warmup=0, patience=99))
    assert weights(learned.network).isfinite().all()
    assert np.isfinite(learned.after.network)


def test_no_step_leaves_the_weights_and_tells_how_they_do():
    net = network()
    learned = learn(replace(QUICK, steps=0), net=net)
    assert torch.equal(weights(learned.network), weights(net))
    assert (learned.steps, learned.kept_step, learned.stopped) == (0, 0, None)
    assert learned.before == learned.after == judge_scene(net, [as_piece(textured())], Stages(2))


def test_a_scene_that_is_not_finite_is_refused():
    piece = as_piece(np.full((96, 96), np.nan, np.float32))
    with pytest.raises(TrainingError, match="finite"):
        learn(pieces=[piece])


def test_a_flat_scene_changes_nothing_for_the_worse():
    learned = learn(pieces=[as_piece(np.full((96, 96), 300.0, np.float32))])
    assert learned.after.gain == pytest.approx(0, abs=1e-6) or learned.after.bicubic < 1e-6
    assert weights(learned.network).isfinite().all()


def test_too_small_a_scene_is_refused():
    with pytest.raises(DataError, match="12 x 40"):
        learn(pieces=[as_piece(textured((12, 40)))])


def test_without_held_back_squares_the_last_weights_are_kept_and_nothing_is_judged():
    learned = learn(pieces=[as_piece(textured(), held_back=0.0)])
    assert (learned.before, learned.after, learned.kept_step) == (None, None, 6)


def test_time_that_is_over_ends_it_after_the_step_at_hand():
    learned = learn(replace(QUICK, steps=1000, seconds=1e-6))
    assert (learned.steps, learned.stopped) == (1, "1e-06 seconds were over")


def test_progress_is_told_after_every_step():
    told = []
    learn(progress=lambda done, of: told.append((done, of)))
    assert told == [(step, 6) for step in range(1, 7)]


@pytest.mark.parametrize("changes", [{"degradation": "plan"}, {"noise": 0.01}, {"through_projection": False}])
@pytest.mark.parametrize("losses", [{}, {"l1": 0.6, "edge": 0.15, "high_frequency": 0.25}])
def test_every_kind_of_pair_and_loss_can_be_learned_from(changes, losses):
    learned = learn(replace(QUICK, **changes, **losses))
    assert learned.steps == 6
    assert all(np.isfinite(row["loss"]) for row in learned.history)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    recipe = replace(QUICK, steps=20, warmup=4, learning_rate=1e-3, final_rate=0.1, patience=99)
    rates = [row["learning_rate"] for row in learn(recipe).history]
    assert rates[:4] == sorted(rates[:4])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert max(rates) <= 1e-3
    assert rates[-1] == pytest.approx(1e-4, rel=0.1)


def test_squares_are_judged_as_the_definition_says():
    """Errors over judged pixels away from the rim, and the best of all blends."""
    piece, stages = as_piece(textured()), Stages(2, ensemble="none")
    net = network()
    torch.nn.init.normal_(net.trunk.leave.weight, std=0.01, generator=torch.Generator().manual_seed(0))
    found = judge_scene(net, [piece], stages)
    low = piece.image[None].reshape(1, 1, 48, 2, 48, 2).mean((3, 5))
    whole = SceneEnlargement(net, stages)
    with torch.no_grad():
        base, image = whole.base(low), whole(low=low).image
    chosen = piece.judged.clone()
    chosen[:4], chosen[-4:], chosen[:, :4], chosen[:, -4:] = False, False, False, False

    def error(share):
        return float((base + share * (image - base) - piece.image)[..., chosen].double().square().mean().sqrt())

    assert found.pixels == int(chosen.sum())
    assert found.bicubic == pytest.approx(error(0.0), rel=1e-4)
    assert found.network == pytest.approx(error(1.0), rel=1e-4)
    assert found.blend == pytest.approx(min(error(share / 20) for share in range(21)), rel=1e-4)
    assert found.blend == pytest.approx(error(found.share), rel=1e-4)


def test_every_piece_counts_and_one_that_is_too_small_does_not():
    pieces = [as_piece(textured(seed=seed)) for seed in (0, 1)]
    alone = [judge_scene(network(), [piece], Stages(2)) for piece in pieces]
    both = judge_scene(network(), [*pieces, as_piece(textured((10, 10)))], Stages(2))
    assert both.pixels == sum(one.pixels for one in alone)
    mean = np.average([one.bicubic**2 for one in alone], weights=[one.pixels for one in alone])
    assert both.bicubic == pytest.approx(np.sqrt(mean))
    assert judge_scene(network(), [as_piece(textured((10, 10)))], Stages(2)) is None
