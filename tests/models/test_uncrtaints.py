"""UnCRtainTS for one date: its size, its sigma, and its channel attention against torchvision's."""

import pytest
import torch
from torchvision.ops import SqueezeExcitation

from eorestore.errors import ConfigError
from eorestore.models.uncrtaints import UnCRtainTS, UnCRtainTSSettings


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return UnCRtainTS(UnCRtainTSSettings(**{"channels": 8, "blocks": 2} | changes))


def inputs(seed=0, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return {
        "cloudy": torch.rand(batch, 13, 11, 14, generator=generator),
        "sar": torch.rand(batch, 2, 11, 14, generator=generator),
    }


def test_the_published_size_is_half_a_million_parameters():
    with torch.device("meta"):
        published = UnCRtainTS(UnCRtainTSSettings())
    assert sum(parameter.numel() for parameter in published.parameters()) == 520_218
    assert published.reach is None


def test_sigma_starts_near_a_tenth_and_is_never_below_a_thousandth():
    model = make()
    sigma = model(**inputs()).extras["sigma"]
    assert sigma.shape == (2, 13, 11, 14)
    assert 0.05 < sigma.median().item() < 0.2
    with torch.no_grad():
        model.head.bias[13:] = -100.0
    assert model(**inputs()).extras["sigma"].min().item() >= 0.001 - 1e-7


def test_the_sigmoid_keeps_the_image_in_range_and_the_residual_adds_to_the_cloudy_one():
    given, models = inputs(), {mean: make(mean=mean) for mean in ("sigmoid", "residual")}
    for model in models.values():
        with torch.no_grad():
            model.head.weight.mul_(100)
    image = models["sigmoid"](**given).image
    assert 0 <= image.min().item() < image.max().item() <= 1
    found = models["residual"](**given).image - given["cloudy"]
    assert torch.allclose(torch.sigmoid(found), image, atol=1e-5)


def test_the_channel_attention_is_torchvisions():
    block = make().blocks[0]
    theirs = SqueezeExcitation(16, 2, activation=torch.nn.GELU)
    theirs.load_state_dict(
        {
            "fc1.weight": block.excite[0].weight[..., None, None], "fc1.bias": torch.zeros(2),
            "fc2.weight": block.excite[2].weight[..., None, None], "fc2.bias": torch.zeros(16),
        }
    )  # fmt: skip
    features = torch.randn(2, 8, 9, 7)
    inner = theirs(block.local(block.widen(features)))
    assert torch.allclose(block(features), features + block.narrow(inner), atol=1e-5)


def test_no_item_of_a_batch_sees_another_even_in_training():
    model, given = make().train(), inputs()
    together = model(**given).image[:1]
    alone = model(**{name: value[:1] for name, value in given.items()}).image
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_likelihood_of_a_known_error_teaches_its_sigma():
    model, given = make(mean="residual"), inputs(batch=1)
    target = given["cloudy"] + 0.3 * torch.randn(given["cloudy"].shape, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.Adam([model.head.bias], lr=0.1)
    with torch.no_grad():
        model.head.weight.zero_()
    for _ in range(100):
        image, extras = model(**given)
        loss = torch.nn.functional.gaussian_nll_loss(image, target, extras["sigma"] ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert model(**given).extras["sigma"].mean().item() == pytest.approx(0.3, abs=0.03)


def test_channels_must_divide_into_the_groups_of_the_norm():
    with pytest.raises(ConfigError, match="channels 10"):
        UnCRtainTSSettings(channels=10)
