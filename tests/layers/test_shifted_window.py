"""The shifted-window block against torchvision's Swin Transformer."""

import pytest
import torch
from torchvision.models.swin_transformer import SwinTransformerBlock

from eorestore.layers.shifted_window import ShiftedWindowBlock


def block(*, shifted=False, mask_bands=0):
    torch.manual_seed(0)
    made = ShiftedWindowBlock(16, 4, window=4, shifted=shifted, ratio=3, mask_bands=mask_bands)
    with torch.no_grad():
        made.attention.position_bias.mul_(50)
    return made.eval()


@pytest.mark.parametrize("shifted", [False, True])
def test_it_is_the_block_of_torchvision(shifted):
    ours = block(shifted=shifted)
    theirs = SwinTransformerBlock(16, 4, [4, 4], [2 * shifted, 2 * shifted], mlp_ratio=3.0).eval()
    names = {
        "norm1": "attention_norm", "norm2": "feed_norm", "attn.qkv": "attention.qkv", "attn.proj": "attention.project",
        "mlp.0": "feed_forward.widen", "mlp.3": "feed_forward.narrow",
    }  # fmt: skip
    mine = ours.state_dict()
    state = {f"{a}.{part}": mine[f"{b}.{part}"] for a, b in names.items() for part in ("weight", "bias")}
    state["attn.relative_position_bias_table"] = mine["attention.position_bias"]
    state["attn.relative_position_index"] = theirs.attn.relative_position_index
    theirs.load_state_dict(state)
    features = torch.randn(2, 16, 8, 12)
    expected = theirs(features.movedim(1, -1)).movedim(-1, 1)
    assert torch.allclose(ours(features), expected, atol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_mask_has_no_effect_at_the_start_and_can_hide_keys(shifted):
    ours, features = block(shifted=shifted, mask_bands=4), torch.randn(2, 16, 8, 8)
    mask = torch.zeros(2, 4, 8, 8)
    mask[..., 2] = 1
    assert torch.equal(ours(features, mask=mask), ours(features))
    with torch.no_grad():
        ours.mask_weight.weight.fill_(-50.0)
    changed, others = features.clone(), [0, 1, 3, 4, 5, 6, 7]
    changed[..., 2] = torch.randn(2, 16, 8)
    before, after = (ours(one, mask=mask)[..., others] for one in (features, changed))
    assert torch.allclose(before, after, atol=1e-5)
    assert not torch.allclose(ours(features)[..., others], ours(changed)[..., others], atol=1e-3)


def test_a_block_is_as_large_as_a_spectral_one():
    count = sum(
        parameter.numel() for parameter in ShiftedWindowBlock(96, 4, window=8, shifted=True, ratio=3).parameters()
    )
    assert 1.0 < count / (10 * 96**2) < 1.1
