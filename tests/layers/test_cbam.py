import pytest
import torch
from timm.layers.cbam import ChannelAttn, SpatialAttn

from eorestore.errors import ConfigError
from eorestore.layers.cbam import CBAM


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_timms_where_the_batch_norm_does_nothing():
    ours = CBAM(32, reduction=8)
    channel, spatial = ChannelAttn(32, rd_ratio=1 / 8, rd_divisor=1).eval(), SpatialAttn(7).eval()
    channel.fc1.weight.data, channel.fc2.weight.data = ours.narrow.weight.data, ours.widen.weight.data
    spatial.conv.conv.weight.data = ours.spatial.weight.data
    x = features(2, 32, 11, 9)
    with torch.no_grad():
        assert torch.allclose(ours(x), spatial(channel(x)), atol=1e-4)
        assert not torch.allclose(ours(x), x, atol=0.1)


def test_a_reduction_that_leaves_no_hidden_unit_is_refused():
    with pytest.raises(ConfigError, match="reduction 16 leaves no hidden unit on 8 channels"):
        CBAM(8, reduction=16)
    with pytest.raises(ConfigError, match="reduction 0"):
        CBAM(8, reduction=0)
    assert CBAM(16, reduction=16).narrow.weight.shape == (1, 16, 1, 1)


def test_it_only_ever_weakens_a_value():
    x = features(1, 16, 6, 6)
    with torch.no_grad():
        assert (CBAM(16)(x).abs() <= x.abs()).all()


def test_an_item_of_a_batch_is_attended_to_as_it_is_alone():
    attention, x = CBAM(16).train(), features(3, 16, 8, 8)
    with torch.no_grad():
        assert torch.allclose(attention(x)[1:2], attention(x[1:2]), atol=1e-6)
