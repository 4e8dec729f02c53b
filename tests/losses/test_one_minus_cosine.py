"""The cosine of spectra, against that of torch."""

import math

import pytest
import torch
from torch.nn import functional as F

from eorestore.losses.spectral import one_minus_cosine, spectral_angle


def test_it_is_one_minus_the_cosine_of_torch():
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(2, 6, 9, 9, generator=generator, dtype=torch.float64) - 0.2 for _ in range(2))
    expected = (1 - F.cosine_similarity(prediction, target, dim=1)).mean()
    valid = torch.ones(2, 1, 9, 9, dtype=torch.bool)
    assert one_minus_cosine(prediction, target, valid=valid).item() == pytest.approx(expected.item(), rel=1e-4)


def test_brightness_does_not_matter_and_opposite_spectra_cost_two():
    image = torch.rand(1, 6, 9, 9, generator=torch.Generator().manual_seed(1)) + 0.1
    valid = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    assert one_minus_cosine(3 * image, image, valid=valid).item() == pytest.approx(0, abs=1e-6)
    assert one_minus_cosine(-image, image, valid=valid).item() == pytest.approx(2, abs=1e-4)


def test_it_is_the_cosine_of_the_spectral_angle():
    prediction, target = torch.tensor([1.0, 0.0]), torch.tensor([math.cos(0.4), math.sin(0.4)])
    pair, valid = (prediction.view(1, 2, 1, 1), target.view(1, 2, 1, 1)), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert spectral_angle(*pair, valid=valid).item() == pytest.approx(0.4, abs=1e-4)
    assert one_minus_cosine(*pair, valid=valid).item() == pytest.approx(1 - math.cos(0.4), abs=1e-5)
