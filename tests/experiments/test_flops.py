"""FLOPs against counts by hand: 2 x multiplications, for the forward pass and for either gradient."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from eorestore.experiments.flops import forward_flops, parameter_count, training_cost
from eorestore.models.model import Model, Output, Settings

PIXELS = 16 * 16


@dataclass(frozen=True)
class NoSettings(Settings):
    bands: int = 13


class Wrapped(Model):
    """Any layers between 13 bands and 13 bands, and a side head that no image needs."""

    settings_type = NoSettings

    def __init__(self, *layers: nn.Module, side: nn.Module | None = None) -> None:
        super().__init__(NoSettings())
        self.layers, self.side = nn.Sequential(*layers), side

    def forward(self, *, cloudy):
        extras = {} if self.side is None else {"sigma": self.side(cloudy)}
        return Output(self.layers(cloudy), extras)


def mean_of_image(output, _batch):
    return output.image.square().mean(), {}


def mean_of_both(output, _batch):
    return output.image.mean() + output.extras["sigma"].mean(), {}


def through_a_network(output, _batch):
    return nn.functional.conv2d(output.image, torch.ones(64, 13, 5, 5)).square().mean(), {}


def cost(model, losses=mean_of_image, *, batch=2):
    return training_cost(model, losses, crop=16, batch=batch)


ONE = 2 * PIXELS * 13 * 13 * 9  # a 3x3 convolution of 13 to 13 bands


def test_a_convolution_costs_two_operations_a_multiplication():
    model = Wrapped(nn.Conv2d(13, 13, 3, padding=1))
    assert forward_flops(model, {"cloudy": torch.rand(1, 13, 16, 16)}) == ONE
    assert forward_flops(model, {"cloudy": torch.rand(3, 13, 16, 16)}) == 3 * ONE


@pytest.mark.parametrize("groups", [1, 13])
def test_the_weight_gradient_of_a_grouped_convolution_costs_what_its_forward_pass_does(groups):
    one = ONE // groups
    layer = nn.Conv2d(13, 13, 3, padding=1, groups=groups)
    assert cost(Wrapped(layer)).flops == 2 * (one + one)  # the input wants no gradient


def test_a_layer_further_in_pays_for_both_gradients():
    layers = (nn.Conv2d(13, 13, 3, padding=1), nn.GELU(), nn.Conv2d(13, 13, 3, padding=1))
    assert cost(Wrapped(*layers)).flops == 2 * (2 * ONE + ONE + 2 * ONE)


@pytest.mark.parametrize("groups", [1, 13])
def test_a_transposed_convolution_counts_its_inputs_pixels(groups):
    down, up = nn.Conv2d(13, 13, 2, stride=2), nn.ConvTranspose2d(13, 13, 2, stride=2, groups=groups)
    small = 2 * PIXELS // 4 * 13 * 13 * 4
    assert cost(Wrapped(down, up)).flops == 2 * (2 * small + 3 * small // groups)


def test_attention_counts_its_two_products():
    class Attend(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)[:, None]
            mixed = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
            return mixed[:, 0].transpose(1, 2).unflatten(2, x.shape[-2:])

    found = forward_flops(Wrapped(Attend()), {"cloudy": torch.rand(1, 13, 16, 16)})
    assert found == 2 * (2 * PIXELS * PIXELS * 13)


def test_a_network_inside_the_loss_is_not_the_models_cost():
    model = Wrapped(nn.Conv2d(13, 13, 3, padding=1))
    assert cost(model, through_a_network).flops == cost(model).flops


def test_a_head_that_no_loss_reaches_costs_its_forward_pass_alone():
    model = Wrapped(nn.Conv2d(13, 13, 3, padding=1), side=nn.Conv2d(13, 13, 3, padding=1))
    assert cost(model).flops == 2 * 3 * ONE
    assert cost(model, mean_of_both).flops == 2 * 4 * ONE


def test_measuring_leaves_the_model_as_it_was():
    model = Wrapped(nn.Conv2d(13, 13, 3, padding=1), nn.Dropout(0.5)).eval()
    before, state = [value.clone() for value in model.parameters()], torch.get_rng_state()
    found = cost(model)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(value.grad is None for value in model.parameters())
    assert not model.training
    assert torch.equal(state, torch.get_rng_state())
    assert found.seconds > 0


def test_frozen_parameters_are_counted():
    model = Wrapped(nn.Conv2d(13, 13, 3), nn.Conv2d(13, 13, 1).requires_grad_(False))
    assert parameter_count(model) == 13 * 13 * 9 + 13 + 13 * 13 + 13
