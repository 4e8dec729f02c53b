from __future__ import annotations

import pytest
import torch
from torch import nn

from eorestore.errors import ConfigError
from eorestore.models.sar_opt_cgan import SarOptCGan, SarOptCGanSettings


def model(**changes: object) -> SarOptCGan:
    torch.manual_seed(0)
    return SarOptCGan(SarOptCGanSettings(**{"channels": 4, "depth": 3, **changes}))


def inputs(height: int = 16, width: int = 24, batch: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "cloudy": torch.rand(batch, 13, height, width, generator=generator),
        "sar": torch.rand(batch, 2, height, width, generator=generator),
    }


def test_at_three_bands_it_has_the_published_number_of_parameters() -> None:
    # 54.414 M is what pix2pix's authors print of their 256 x 256 U-Net, from 3 bands to 3, which has 576 biases less.
    network = SarOptCGan(SarOptCGanSettings(bands=3, sar_bands=0))
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(54.414 + 576e-6, abs=5e-4)


def test_the_deepest_level_is_one_pixel_at_the_published_size() -> None:
    network = SarOptCGan(SarOptCGanSettings(channels=2, most_channels=4))
    sizes = []
    network.down[-1].register_forward_hook(lambda _module, _inputs, output: sizes.append(output.shape[-2:]))
    network.eval()(**inputs(256, 512, batch=1))
    assert sizes == [(1, 2)]
    assert network.multiple_of == 256


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_sides_are_multiples_of_what_it_declares(depth: int) -> None:
    network = model(depth=depth).eval()
    assert network.multiple_of == 2**depth
    assert network(**inputs(2**depth, 3 * 2**depth)).image.shape == (2, 13, 2**depth, 3 * 2**depth)


def test_the_reach_is_exact() -> None:
    # Positive weights without norm let no influence cancel.
    network = model(norm="batch", dropout=0.0, channels=2).double().eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.abs_()
    given = {key: value.double() for key, value in inputs(8, 128, batch=1).items()}
    given["cloudy"].requires_grad_()
    found = 0
    for column in range(56, 72):
        image = network(**given).image
        (gradient,) = torch.autograd.grad(image[0, :, 4, column].sum(), given["cloudy"])
        seen = gradient.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
        found = max(found, column - int(seen.min()), int(seen.max()) - column)
    assert found == network.reach == 21


def test_an_instance_norm_sees_the_whole_tile_and_says_so() -> None:
    network = model(norm="instance").eval()
    given = inputs(16, 128)
    before = network(**given).image
    given["cloudy"][..., 0] += 0.5
    assert network.reach is None
    assert (network(**given).image != before)[..., -1].any()


def test_dropout_is_in_the_three_deepest_levels_and_off_after_training() -> None:
    network = model(depth=5)
    rates = [[part.p for part in level.modules() if isinstance(part, nn.Dropout)] for level in network.up]
    assert rates == [[], [0.0], [0.5], [0.5], [0.5]]
    torch.manual_seed(0)
    given = inputs(32, 32)
    assert not torch.equal(network(**given).image, network(**given).image)
    network.eval()
    assert torch.equal(network(**given).image, network(**given).image)


def test_sar_and_every_skip_reach_the_image() -> None:
    network = model().eval()
    given = inputs()
    before = network(**given).image
    assert not torch.allclose(network(**given | {"sar": given["sar"] + 0.5}).image, before)
    for level in range(2):
        with torch.no_grad():
            kept = network.up[level][0] if level else network.up[level]
            weight = kept.weight.clone()
            kept.weight[kept.in_channels // 2 :] = 0  # what came from the way down
            assert not torch.allclose(network(**given).image, before), level
            kept.weight.copy_(weight)


@pytest.mark.parametrize("changes", [{"depth": 0}, {"channels": 0}, {"most_channels": 2}])
def test_a_network_of_no_size_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="sar-opt-cgan"):
        SarOptCGanSettings(**changes)
