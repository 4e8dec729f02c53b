"""Joint window attention against PyTorch's and torchvision's attention."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torchvision.models.swin_transformer import ShiftedWindowAttention

from eorestore.layers.attention import JointWindowAttention
from eorestore.layers.windows import cut_windows, cyclic_shift, merge_windows, shift_mask


def make(*, gate, channels=12, heads=2, window=4):
    torch.manual_seed(0)
    attention = JointWindowAttention(channels, heads, window=window)
    with torch.no_grad():
        attention.position_bias.mul_(50)
        if gate is not None:
            attention.gate.weight.zero_()
            attention.gate.bias.fill_(gate)
    return attention


def test_the_sar_stream_is_the_shifted_window_attention_of_torchvision():
    ours = make(gate=None, channels=16, heads=4, window=8)
    theirs = ShiftedWindowAttention(16, [8, 8], [4, 4], 4)
    theirs.load_state_dict(
        {
            "qkv.weight": ours.qkv_sar.weight,
            "qkv.bias": ours.qkv_sar.bias,
            "proj.weight": ours.project_sar.weight,
            "proj.bias": ours.project_sar.bias,
            "relative_position_bias_table": ours.position_bias,
            "relative_position_index": theirs.relative_position_index,
        }
    )
    optical, sar = torch.randn(2, 2, 16, 16, 24)
    cut = [cut_windows(cyclic_shift(stream, 4), 8) for stream in (optical, sar)]
    seen = ours(*cut, mask=shift_mask(16, 24, size=8, shift=4))[1]
    back = cyclic_shift(merge_windows(seen, 8, height=16, width=24), -4)
    assert torch.allclose(back, theirs(sar.movedim(1, -1)).movedim(-1, 1), atol=1e-5)


def reference(attention, queries_of, values_of):
    """PyTorch's attention with the logits of one stream and the values of another."""
    split = "n t (three h d) -> three n h t d"
    query, key, _ = rearrange(queries_of, split, three=3, h=attention.heads)
    value = rearrange(values_of, split, three=3, h=attention.heads)[2]
    bias = attention.position_bias[attention.index].permute(2, 0, 1)
    return rearrange(F.scaled_dot_product_attention(query, key, value, attn_mask=bias), "n h t d -> n t (h d)")


def test_a_closed_gate_leaves_the_optical_attention_as_it_is():
    attention, (optical, sar) = make(gate=-1e4), torch.randn(2, 3, 16, 12)
    expected = reference(attention, attention.qkv_optical(optical), attention.qkv_optical(optical))
    assert torch.allclose(attention(optical, sar)[0], attention.project_optical(expected), atol=1e-6)


def test_an_open_gate_gives_the_optical_values_the_attention_of_sar():
    attention, (optical, sar) = make(gate=1e4), torch.randn(2, 3, 16, 12)
    expected = reference(attention, attention.qkv_sar(sar), attention.qkv_optical(optical))
    assert torch.allclose(attention(optical, sar)[0], attention.project_optical(expected), atol=1e-5)


def test_the_optical_stream_never_enters_the_sar_stream():
    attention, (optical, sar) = make(gate=None), torch.randn(2, 3, 16, 12)
    assert torch.equal(attention(optical, sar)[1], attention(optical + 1, sar)[1])


def test_the_gate_mixes_heads():
    attention, (optical, sar) = make(gate=None), torch.randn(2, 1, 16, 12)
    before = attention(optical, sar)[0]
    with torch.no_grad():
        attention.gate.weight[0, 1] += 1
    assert not torch.allclose(attention(optical, sar)[0], before, atol=1e-4)
