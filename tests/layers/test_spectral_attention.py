"""Attention between channels against PyTorch's own attention, and what a mask may do to it."""

import torch
import torch.nn.functional as F
from einops import rearrange

from eorestore.layers.spectral_attention import GatedFeedForward, SpectralAttention, SpectralBlock


def features(channels=8, seed=0):
    return torch.randn(2, channels, 6, 10, generator=torch.Generator().manual_seed(seed))


def attention(*, position=True, seed=0):
    torch.manual_seed(seed)
    made = SpectralAttention(8, 2)
    with torch.no_grad():
        made.temperature.copy_(torch.tensor([2.0, 5.0])[:, None, None])
        if not position:
            for parameter in made.position.parameters():
                parameter.zero_()
    return made


def test_it_is_pytorchs_attention_with_channels_as_tokens():
    ours = attention(position=False)
    split = "b (three h c) y x -> three b h c (y x)"
    query, key, value = rearrange(ours.qkv(features()), split, three=3, h=2)
    query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    seen = F.scaled_dot_product_attention(ours.temperature * query, key, value, scale=1.0)
    expected = ours.project(rearrange(seen, "b h c (y x) -> b (h c) y x", y=6))
    assert torch.allclose(ours(features()), expected, atol=1e-5)


def test_without_the_position_branch_the_order_of_pixels_means_nothing():
    ours, order = attention(position=False), torch.randperm(60)
    shuffled = features().flatten(2)[..., order].reshape(2, 8, 6, 10)
    expected = ours(features()).flatten(2)[..., order].reshape(2, 8, 6, 10)
    assert torch.allclose(ours(shuffled), expected, atol=1e-5)
    assert not torch.allclose(attention()(shuffled), attention()(features())[..., :10], atol=1e-3)


def test_a_pixel_without_weight_does_not_enter_the_statistics():
    ours = attention(position=False)
    weight = torch.ones(2, 2, 6, 10)
    assert torch.allclose(ours(features(), weight=weight), ours(features()), atol=1e-6)
    weight[..., 0, 0] = 0
    spoiled = features()
    spoiled[..., 0, 0] = 100.0
    before, after = (ours(one, weight=weight) for one in (features(), spoiled))
    assert torch.allclose(before[..., 1:, :], after[..., 1:, :], atol=1e-5)
    assert not torch.allclose(ours(features())[..., 1:, :], ours(spoiled)[..., 1:, :], atol=1e-3)


def test_the_feed_forward_gates_one_half_by_the_gelu_of_the_other():
    torch.manual_seed(0)
    ours = GatedFeedForward(8, expansion=2)
    gate, passed = ours.local(ours.widen(features())).split(16, dim=1)
    assert torch.allclose(ours(features()), ours.narrow(F.gelu(gate) * passed), atol=1e-6)
    with torch.no_grad():
        ours.local.weight[:16], ours.local.bias[:16] = 0, -30
    assert torch.allclose(ours(features()), ours.narrow.bias[:, None, None].expand(2, 8, 6, 10), atol=1e-5)


def test_a_mask_has_no_effect_at_the_start_and_one_once_its_weights_move():
    torch.manual_seed(0)
    block, mask = SpectralBlock(8, 2, expansion=2, mask_bands=4), torch.zeros(2, 4, 6, 10)
    mask[..., :5] = 1
    assert torch.equal(block(features(), mask=mask), block(features()))
    block(features(), mask=mask).square().mean().backward()
    assert block.mask_weight.weight.grad.abs().sum() > 0
    with torch.no_grad():
        block.mask_weight.weight.fill_(-20.0)
    clear, whole = features(), features()
    whole[..., :3] = 5.0
    before, after = (block(one, mask=mask)[..., -2:] for one in (clear, whole))
    assert torch.allclose(before, after, atol=1e-5)


def test_a_block_has_about_ten_times_the_square_of_its_channels_in_parameters():
    count = sum(parameter.numel() for parameter in SpectralBlock(96, 4, expansion=2).parameters())
    assert 1.0 < count / (10 * 96**2) < 1.1
