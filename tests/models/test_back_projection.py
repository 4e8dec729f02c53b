"""Back-projection around a network: what is shrunk again is the input, in a tile as in the whole."""

from __future__ import annotations

import pytest
import torch

from eorestore.models.back_projection import BackProjected
from eorestore.models.bicubic import Bicubic, BicubicSettings
from eorestore.models.light_sr import LightSR, LightSRSettings
from eorestore.models.model import Model, Output
from eorestore.processing.resize import shrink

KINDS = ("convolution", "attention", "large-kernel")


def network(kind: str = "convolution", *, scale: int = 4, bands: int = 3) -> LightSR:
    torch.manual_seed(0)
    model = LightSR(LightSRSettings(kind=kind, channels=8, blocks=2, scale=scale, bands=bands, kernel=5)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


class Wrong(Model):
    """Sees nothing: half of what is there, and noise."""

    scale, reach, tiling = 4, 0, "crop"

    def __init__(self) -> None:
        super().__init__(BicubicSettings())
        self.extras = {"edges": 1}

    def forward(self, *, low: torch.Tensor) -> Output:
        large = 0.5 * low.repeat_interleave(4, -1).repeat_interleave(4, -2)
        return Output(large + image(*large.shape) - 0.5, {"edges": large[:, :1]})


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(24, 32), (23, 17), (1, 9)])
def test_shrunk_again_it_is_the_input(scale, size):
    low = image(2, 3, *size)
    with torch.inference_mode():
        found = BackProjected(network(scale=scale))(low=low).image
    assert (shrink(found, factor=scale) - low).abs().max() < 1.5e-4


def test_even_a_network_that_sees_nothing_is_brought_back():
    low = image(1, 2, 30, 20)
    with torch.inference_mode():
        output = BackProjected(Wrong())(low=low)
    assert (shrink(output.image, factor=4) - low).abs().max() < 5e-4
    assert output.extras["edges"].shape == (1, 1, 120, 80)


def test_an_image_that_is_consistent_already_is_left_alone():
    wrapped = BackProjected(network())
    low = image(1, 3, 16, 16)
    with torch.inference_mode():
        once = wrapped(low=low).image

        class Given(Wrong):
            def forward(self, *, low: torch.Tensor) -> Output:  # noqa: ARG002 - the contract's argument
                return Output(once)

        assert (BackProjected(Given())(low=low).image - once).abs().max() < 2e-4


@pytest.mark.parametrize("kind", KINDS)
def test_sides_need_not_be_multiples_of_anything(kind):
    wrapped = BackProjected(network(kind))
    low = image(1, 3, 21, 19)
    with torch.inference_mode():
        found = wrapped(low=low).image
    assert found.shape == (1, 3, 84, 76)
    assert wrapped.multiple_of == 1
    assert (shrink(found, factor=4) - low).abs().max() < 1.5e-4


@pytest.mark.parametrize("kind", KINDS)
def test_beyond_the_reach_a_tile_is_the_whole_bit_by_bit(kind):
    wrapped = BackProjected(network(kind))
    halo = -(-wrapped.reach // wrapped.phase) * wrapped.phase
    low = image(1, 3, 24 + 2 * halo + 13, 24 + 2 * halo + 9)
    with torch.inference_mode():
        whole = wrapped(low=low).image
        tile = wrapped(low=low[..., 8 : 8 + 2 * halo + 16, 8 : 8 + 2 * halo + 16]).image
    rows = slice(4 * (8 + halo), 4 * (8 + halo + 16))
    inner = slice(4 * halo, 4 * (halo + 16))
    assert torch.equal(tile[..., inner, inner], whole[..., rows, rows])


def test_bicubic_is_the_enlargement_of_the_package():
    from eorestore.processing.resize import enlarge

    low = image(2, 5, 11, 14)
    assert torch.allclose(Bicubic(BicubicSettings(3))(low=low).image, enlarge(low, factor=3), atol=1e-6)
