"""From SAR to the ground of one scene: what it finds, and how far it believes what it found."""

import pytest
import torch

from eorestore.errors import MaskError
from eorestore.models.scene_regression import (
    WAVES,
    apply_regression,
    fit_ground,
    fit_regression,
    ground_from_sar,
    widened,
)

SIZE = 96


def features(bands: int = 3) -> torch.Tensor:
    return torch.rand(1, bands, SIZE, SIZE, generator=torch.Generator().manual_seed(2))


def hidden(share: float = 0.3) -> torch.Tensor:
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., : int(share * SIZE), :] = 1
    return mask


def error(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).square().mean().sqrt())


def linear(seen: torch.Tensor) -> torch.Tensor:
    return torch.stack([0.2 + 0.3 * seen[:, 0] - 0.1 * seen[:, 1], 0.1 + 0.2 * seen[:, 2]], dim=1)


def test_a_linear_relation_is_found():
    seen = features()
    truth = linear(seen)
    plain = apply_regression(seen, fit_regression([(seen, truth, hidden())]))
    ground = ground_from_sar(seen, fit_ground([(seen, truth, hidden())]))
    assert error(plain, truth) < 0.002
    assert error(ground, truth) < 0.005


def test_a_bent_relation_is_found_better_than_by_a_line():
    seen = features()
    truth = (2 * seen[:, :1] - 1).square()
    plain = apply_regression(seen, fit_regression([(seen, truth, hidden())]))
    ground = ground_from_sar(seen, fit_ground([(seen, truth, hidden())]))
    assert error(ground, truth) < 0.6 * error(plain, truth)


def test_what_does_not_hold_elsewhere_is_not_believed():
    seen, mask = features(), hidden()
    sign = torch.ones(1, 1, SIZE, SIZE)
    sign[..., SIZE // 2 :] = -1
    truth = 0.3 + 0.2 * sign * (seen[:, :1] - 0.5) + 0.1 * seen[:, 1:2] * (sign > 0)
    found = ground_from_sar(seen, fit_ground([(seen, truth, mask)]))
    believed = ground_from_sar(seen, fit_ground([(seen, linear(seen), mask)]))
    assert float(found.std()) < 0.5 * float(truth.std())
    assert float(believed.std()) > 0.95 * float(linear(seen).std())
    assert float(found.mean()) == pytest.approx(float(truth[..., int(0.3 * SIZE) :, :].mean()), abs=0.005)


def test_many_windows_are_one_scene():
    seen, mask = features(), hidden()
    truth = linear(seen)
    halves = [(seen[..., :48], truth[..., :48], mask[..., :48]), (seen[..., 48:], truth[..., 48:], mask[..., 48:])]
    whole, parts = fit_ground([(seen, truth, mask)]), fit_ground(halves)
    assert torch.allclose(ground_from_sar(seen, whole), ground_from_sar(seen, parts), atol=2e-3)


def test_strips_are_the_whole(monkeypatch):
    seen = features()
    coefficients = fit_ground([(seen, linear(seen), hidden())])
    whole = ground_from_sar(seen, coefficients)
    monkeypatch.setattr("eorestore.models.scene_regression._PIXELS", 10 * SIZE)
    assert torch.allclose(ground_from_sar(seen, coefficients), whole, atol=1e-6)


def test_autocast_leaves_it_precise():
    seen = features()
    coefficients = fit_ground([(seen, linear(seen), hidden())])
    whole = ground_from_sar(seen, coefficients)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ground_from_sar(seen, coefficients), whole)


def test_a_linear_regression_is_one_without_waves():
    seen = features()
    coefficients = fit_regression([(seen, linear(seen), hidden())])
    assert widened(coefficients).shape == (3 + WAVES + 1, 2)
    assert torch.allclose(ground_from_sar(seen, widened(coefficients)), apply_regression(seen, coefficients), atol=1e-6)


def test_of_a_mean_it_says_the_mean_where_it_may_not_bend():
    seen = features()
    truth = (2 * seen[:, :1] - 1).square()
    straight = fit_ground([(seen, truth, hidden())], bends=False)
    assert not bool(straight[3:-1].any())
    assert bool(fit_ground([(seen, truth, hidden())])[3:-1].any())


def test_few_clear_pixels_make_a_line_none_a_refusal():
    seen = features()
    mask = torch.ones(1, 1, SIZE, SIZE)
    with pytest.raises(MaskError, match="too few clear pixels"):
        fit_ground([(seen, linear(seen), mask)])
    mask[..., 40:48, 40:48] = 0
    coefficients = fit_ground([(seen, linear(seen), mask)])
    assert not bool(coefficients[3:-1].any())
    assert error(ground_from_sar(seen, coefficients), linear(seen)) < 0.02
