"""Variances of errors: known weights are found again, and nine of ten errors lie where they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eorestore.data.simulated_thermal import simulate_thermal
from eorestore.layers.sensor import observe
from eorestore.models.scene_enlargement import SceneEnlargement, Stages
from eorestore.models.table import build_model
from eorestore.processing.sensor import Sensor
from eorestore.restorer.scene_uncertainty import calibrated, fit_variance
from small_thermal import as_piece


def columns(count=40_000, seed=0):
    generator = np.random.default_rng(seed)
    return np.stack([np.ones(count), generator.gamma(1.0, 0.02, count), generator.gamma(0.7, 3.0, count)], axis=1)


def model(factor=2, *, ensemble="mean", share=1.0):
    network = build_model("zero-shot-sr", {"channels": 8, "blocks": 1}, seed=1).eval()
    torch.nn.init.normal_(network.trunk.leave.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    return SceneEnlargement(network, Stages(factor, ensemble=ensemble, share=share)).eval()


@pytest.mark.parametrize("weights", [(0.05, 4.0, 0.3), (0.0, 10.0, 0.0), (1.0, 0.0, 0.02), (1e-8, 1e-6, 1e-8)])
def test_the_weights_that_errors_were_drawn_with_are_found_again(weights):
    rows = columns()
    errors = np.random.default_rng(1).standard_normal(len(rows)) * np.sqrt(rows @ np.array(weights))
    found = fit_variance(rows, errors)
    share = np.array(weights) * rows.mean(axis=0)
    assert np.array(found) * rows.mean(axis=0) == pytest.approx(share, abs=0.12 * share.sum())


def test_nine_of_ten_errors_lie_within_the_factor_of_a_normal_distribution_whatever_theirs_is():
    rows = columns()
    heavy = np.random.default_rng(2).standard_t(3, len(rows)) * np.sqrt(rows @ np.array([0.1, 1.0, 0.2]))
    sigma = np.sqrt(rows @ np.array(fit_variance(rows, heavy)))
    assert np.mean(np.abs(heavy) < 1.6448536 * sigma) == pytest.approx(0.9, abs=0.002)


def test_errors_that_are_all_zero_have_no_variance():
    assert fit_variance(columns(500), np.zeros(500)) == (0.0, 0.0, 0.0)


def test_columns_that_are_all_zero_do_no_harm():
    rows = columns(2000) * [1, 0, 0]
    found = fit_variance(rows, np.random.default_rng(0).standard_normal(2000))
    assert np.isfinite(found).all()
    assert found[0] == pytest.approx(1.0, rel=0.15)


@pytest.mark.parametrize(("kind", "ensemble", "share"), [("mixed", "mean", 1.0), ("fields", "none", 1.0),
                                                         ("coastline", "mean", 0.0)])  # fmt: skip
def test_nine_of_ten_errors_of_a_simulated_scene_lie_within_the_interval(kind, ensemble, share):
    """Of the scene itself, whose truth is finer than anything that was seen."""
    truth = simulate_thermal(256, 256, kind=kind, generator=np.random.default_rng(4))
    scene = observe(torch.from_numpy(truth)[None, None], Sensor("mean"), factor=2)
    low, high = np.percentile(scene, (1, 99))
    piece = as_piece(scene[0, 0].numpy(), low=low, high=high)
    told, known = calibrated(model(ensemble=ensemble, share=share), [piece])
    assert known.pixels > 1000
    with torch.no_grad():
        found = told(low=piece.image[None])
    errors = (found.image - (torch.from_numpy(truth)[None, None] - low) / (high - low)).abs()
    sigma = found.extras["sigma"]
    assert 0.8 < float((errors < 1.6449 * sigma).float().mean()) < 0.98
    half = sigma.median()
    assert errors[sigma > half].mean() > 2 * errors[sigma <= half].mean()


def test_a_small_scene_tells_its_uncertainty_by_all_its_pixels_and_by_coarser_stages():
    piece = as_piece(simulate_thermal(12, 12, kind="fields", generator=np.random.default_rng(0)))
    two, four = (calibrated(SceneEnlargement(model().network, Stages(factor)).eval(), [piece])[1] for factor in (2, 4))
    assert (two.factor, four.factor) == (2, 2)
    assert four.weights == pytest.approx([2 * weight for weight in two.weights], rel=1e-3)


def test_a_scene_of_a_few_pixels_tells_no_uncertainty():
    piece = as_piece(simulate_thermal(7, 7, kind="fields", generator=np.random.default_rng(0)))
    given = model()
    told, known = calibrated(given, [piece])
    assert told is given
    assert known is None
