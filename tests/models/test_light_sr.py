"""The light network: equivariant to gain and offset, exact on constants, equal in tiles."""

import pytest
import torch
import torch.nn.functional as F

from eorestore.errors import ConfigError
from eorestore.models.table import build_model

KINDS = {
    "convolution": {"kind": "convolution"},
    "attention": {"kind": "attention", "window": 4, "heads": 2},
    "large-kernel": {"kind": "large-kernel", "kernel": 7},
}


@pytest.fixture(params=list(KINDS))
def model(request):
    return lively(KINDS[request.param])


def lively(settings):
    """A network whose last layer is not near 0, so that its own part of the image counts."""
    model = build_model("light-sr", {"channels": 8, "blocks": 2} | settings, seed=3).eval()
    torch.nn.init.normal_(model.leave.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return model


def image(*, height=16, width=24, seed=0):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def run(model, low):
    with torch.no_grad():
        return model(low=low).image


def test_a_gain_of_all_bands_passes_through(model):
    low = image()
    assert torch.allclose(run(model, 37 * low), 37 * run(model, low), atol=1e-3)


def test_an_offset_of_each_band_passes_through(model):
    low, offset = image(), torch.tensor([0.5, -2.0, 7.0])[None, :, None, None]
    assert torch.allclose(run(model, low + offset), run(model, low) + offset, atol=1e-4)


def test_a_constant_image_stays_constant_up_to_its_edges(model):
    low = torch.tensor([0.2, 0.9, 3.0])[None, :, None, None].expand(1, 3, 16, 16)
    assert torch.allclose(run(model, low), low[..., :1, :1].expand(1, 3, 64, 64), atol=1e-5)


def test_detail_changes_the_image_by_more_than_bicubic(model):
    low = image()
    plain = F.interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)
    assert (run(model, low) - plain).abs().mean() > 0.01


def test_the_untrained_network_is_nearly_bicubic():
    low = image()
    model = build_model("light-sr", {}, seed=1).eval()
    plain = F.interpolate(low, scale_factor=4, mode="bicubic", align_corners=False)
    assert 0 < (run(model, low) - plain).abs().max() < 0.05


def test_a_crop_beyond_the_reach_of_its_edges_equals_the_whole(model):
    reach = -(-model.reach // 4) * 4
    side = 2 * reach + 16
    low = image(height=side, width=side)
    crop = run(model, low[..., 4 : side - 4, 4:])
    inner = slice(4 * (reach + 4), 4 * (side - reach - 4))
    moved = slice(4 * reach, 4 * (side - reach - 8))
    assert torch.allclose(run(model, low)[..., inner, inner], crop[..., moved, moved], atol=1e-5)


def test_windows_of_every_second_block_are_moved():
    low = image(height=16, width=16)
    changed = low.clone()
    changed[..., 4, 4] += 1  # first pixel of its window, and not of a moved one
    model = lively(KINDS["attention"] | {"blocks": 1})
    one = (run(model, changed) != run(model, low)).any(1)[0]
    model = lively(KINDS["attention"] | {"blocks": 2})
    two = (run(model, changed) != run(model, low)).any(1)[0]
    assert two.sum() > one.sum()


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "attention", "channels": 9, "heads": 2},
        {"kind": "attention", "window": 5},
        {"kind": "large-kernel", "kernel": 8},
        {"blocks": 0},
    ],
)
def test_settings_that_build_no_network_are_named(settings):
    with pytest.raises(ConfigError, match="light-sr"):
        build_model("light-sr", settings)
