"""DSen2-CR: the published parameter count, an exact reach, and the version without SAR."""

import pytest
import torch

from eorestore.models.dsen2_cr import DSen2CR, DSen2CRSettings


def make(seed=0, **changes):
    torch.manual_seed(seed)
    return DSen2CR(DSen2CRSettings(**{"channels": 8, "blocks": 2} | changes)).eval()


def inputs(height=15, width=19):
    generator = torch.Generator().manual_seed(0)
    return {
        "cloudy": 5 * torch.rand(1, 13, height, width, generator=generator),
        "sar": 2 * torch.rand(1, 2, height, width, generator=generator),
    }


def test_the_published_network_has_18947341_parameters_and_a_reach_of_34():
    with torch.device("meta"):
        published = DSen2CR(DSen2CRSettings())
    assert sum(parameter.numel() for parameter in published.parameters()) == 18_947_341
    assert (published.reach, published.tiling, published.multiple_of) == (34, "crop", 1)


def test_the_reach_is_exact():
    model, given = make(), inputs(width=21)
    before = model(**given).image
    given["sar"][..., 7, 10] += 1
    changed = (model(**given).image != before).any(dim=1)[0].nonzero()
    distance = (changed - torch.tensor([7, 10])).abs().amax(dim=1)
    assert int(distance.max()) == model.reach == 6


def test_what_the_last_convolution_finds_is_added_to_the_cloudy_image():
    model, given = make(), inputs()
    for parameter in model.last.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(model(**given).image, given["cloudy"])


def test_a_block_adds_a_tenth_of_what_it_finds():
    block, features = make().blocks[0], torch.randn(1, 8, 9, 9)
    whole = block.second(torch.relu(block.first(features)))
    assert torch.allclose(block(features) - features, 0.1 * whole, atol=1e-6)


def test_weights_start_as_he_proposed():
    bound = (6 / (8 * 9)) ** 0.5
    weight = make().blocks[1].second.weight.detach()
    assert float(weight.abs().max()) == pytest.approx(bound, rel=0.02)
    assert not make().blocks[1].second.bias.any()


def test_without_sar_a_scene_needs_none():
    model, given = make(sar=False), inputs()
    before = model(**given).image
    given["sar"].fill_(float("nan"))
    assert torch.equal(model(**given).image, before)
    assert model.optional_inputs == ("sar",)
    assert make().optional_inputs == ()
