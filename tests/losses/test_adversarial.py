from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from eorestore.losses.adversarial import discriminator_loss, generator_loss

KINDS = ("hinge", "bce", "lsgan")


def scores(seed: int) -> torch.Tensor:
    return 2 * torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(seed))


def test_bce_is_torchs_binary_cross_entropy_with_logits() -> None:
    real, fake = scores(0), scores(1)
    reference = nn.BCEWithLogitsLoss()
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    assert generator_loss(fake, kind="bce") == pytest.approx(reference(fake, one).item(), rel=1e-6)
    expected = (reference(real, one) + reference(fake, zero)) / 2
    assert discriminator_loss(real, fake, kind="bce") == pytest.approx(expected.item(), rel=1e-6)


def test_lsgan_is_half_of_torchs_squared_error() -> None:
    real, fake = scores(0), scores(1)
    reference = nn.MSELoss()
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    assert generator_loss(fake, kind="lsgan") == pytest.approx(reference(fake, one).item() / 2, rel=1e-6)
    expected = (reference(real, one) + reference(fake, zero)) / 2
    assert discriminator_loss(real, fake, kind="lsgan") == pytest.approx(expected.item(), rel=1e-6)


def test_hinge_is_torchs_hinge_embedding() -> None:
    real, fake = scores(0), scores(1)
    reference = nn.HingeEmbeddingLoss(margin=1)  # max(0, 1 - x) where the label is -1
    label = -torch.ones_like(real)
    expected = reference(real, label) + reference(-fake, label)
    assert discriminator_loss(real, fake, kind="hinge") == pytest.approx(expected.item(), rel=1e-6)
    assert generator_loss(fake, kind="hinge") == pytest.approx(-fake.mean().item(), rel=1e-6)


@pytest.mark.parametrize(("kind", "value"), [("hinge", 2.0), ("bce", math.log(2)), ("lsgan", 0.5)])
def test_a_discriminator_that_cannot_tell_has_the_value_named(kind: str, value: float) -> None:
    zero = torch.zeros(2, 1, 3, 3)
    assert discriminator_loss(zero, zero, kind=kind) == pytest.approx(value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_pull_the_score_of_a_restored_image_apart(kind: str) -> None:
    fake = torch.zeros(2, 1, 3, 3, requires_grad=True)
    (wish,) = torch.autograd.grad(generator_loss(fake, kind=kind), fake)
    (fear,) = torch.autograd.grad(discriminator_loss(torch.zeros(2, 1, 3, 3), fake + 0.25, kind=kind), fake)
    assert (wish < 0).all()
    assert (fear > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_scores_give_finite_values_and_gradients(kind: str) -> None:
    for size in (-200.0, 200.0):
        fake = torch.full((1, 1, 2, 2), size, requires_grad=True)
        total = generator_loss(fake, kind=kind) + discriminator_loss(-fake, fake, kind=kind)
        total.backward()
        assert torch.isfinite(total)
        assert torch.isfinite(fake.grad).all()
