"""Bias of each band: a tint comes out as it went in."""

import numpy as np
import pytest
import torch

from eorestore.metrics.colour import band_bias, bias


def target() -> torch.Tensor:
    return torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def everywhere() -> torch.Tensor:
    return torch.ones(1, 20, 24, dtype=torch.bool)


def test_a_tint_comes_out_band_by_band_with_its_sign():
    tint = torch.tensor([0.1, -0.05, 0.0], dtype=torch.float64).view(3, 1, 1)
    assert band_bias(target() + tint, target(), valid=everywhere()).tolist() == pytest.approx([0.1, -0.05, 0.0])
    assert bias(target() + tint, target(), valid=everywhere()).item() == pytest.approx(0.05)


def test_noise_hardly_shows():
    noise = 0.1 * torch.randn(3, 20, 24, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = band_bias(target() + noise, target(), valid=everywhere())
    assert found.tolist() == pytest.approx(noise.mean(dim=(1, 2)).tolist())
    assert found.abs().max() < 0.01


def test_it_is_the_difference_of_numpys_means_inside_the_region():
    region = everywhere()
    region[:, :, 10:] = False
    prediction = target().flip(-1)
    expected = [
        np.mean(p[:, :10]) - np.mean(t[:, :10]) for p, t in zip(prediction.numpy(), target().numpy(), strict=True)
    ]
    found = band_bias(prediction, target(), valid=everywhere(), region=region)
    assert found.tolist() == pytest.approx([float(value) for value in expected])
