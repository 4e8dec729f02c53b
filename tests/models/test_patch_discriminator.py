from __future__ import annotations

import pytest
import torch

from eorestore.errors import ConfigError
from eorestore.models.patch_discriminator import PatchDiscriminator, PatchDiscriminatorSettings


def network(**changes: int) -> PatchDiscriminator:
    torch.manual_seed(0)
    return PatchDiscriminator(PatchDiscriminatorSettings(**{"bands": 3, "channels": 4, **changes}))


def test_it_has_the_published_patch_and_number_of_parameters() -> None:
    settings = PatchDiscriminatorSettings(bands=6)
    assert settings.field == 70
    # 2.769 M is what pix2pix's authors print of theirs, which sees two images of 3 bands.
    count = sum(weight.numel() for weight in PatchDiscriminator(settings).parameters())
    assert count / 1e6 == pytest.approx(2.769, abs=5e-4)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_score_is_about_a_patch_of_the_side_that_is_declared(layers: int) -> None:
    critic = network(layers=layers).double()
    for module in critic.modules():
        # The norm is over the whole image; without it only the convolutions decide what a score sees.
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda features: features
    side = 2 * critic.settings.field + 10
    seen = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    scores = critic(seen)
    middle = scores.shape[-1] // 2
    scores[0, 0, middle, middle].backward()
    touched = seen.grad[0].abs().sum(0)
    assert (touched.any(0).sum(), touched.any(1).sum()) == (critic.settings.field, critic.settings.field)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_image_gets_a_score_and_a_smaller_one_none(layers: int) -> None:
    critic = network(layers=layers)
    side = critic.settings.least_side
    assert critic(torch.rand(1, 3, side, side)).shape == (1, 1, 1, 1)
    with pytest.raises((ValueError, RuntimeError)):
        critic(torch.rand(1, 3, side - 1, side - 1))


def test_an_image_is_scored_alike_alone_and_in_a_batch() -> None:
    critic = network()
    batch = torch.rand(3, 3, 64, 48)
    assert torch.allclose(critic(batch)[1:2], critic(batch[1:2]), atol=1e-5)


def test_an_image_of_64_pixels_has_36_scores() -> None:
    assert network()(torch.rand(2, 3, 64, 64)).shape == (2, 1, 6, 6)


@pytest.mark.parametrize("changes", [{"bands": 0}, {"channels": 0}, {"layers": 0}])
def test_a_network_of_no_size_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="patch discriminator"):
        network(**changes)
