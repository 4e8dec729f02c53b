"""Attention of one map on another, against torch's own attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eorestore.layers.cross_attention import ChannelCrossAttention, WindowCrossAttention
from eorestore.layers.windows import shift_mask

CHANNELS, HEADS, WIDTH, WINDOW = 6, 2, 8, 4


def perturbed(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return module.double().eval()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def windows(**changes):
    return perturbed(WindowCrossAttention(CHANNELS, HEADS, **{"width": WIDTH, "window": WINDOW} | changes))


def maps(height=8, width=12, batch=2):
    return torch.rand(2, batch, CHANNELS, height, width, dtype=torch.float64)


def torchs_own(ours, asking, answering):
    """`nn.MultiheadAttention` on the tokens (batch, token, channel) of one window, with our weights."""
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.eye(WIDTH).repeat(3, 1))
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(torch.eye(WIDTH))
        theirs.out_proj.bias.zero_()
    query = ours.query(F.layer_norm(asking, (CHANNELS,), ours.norm_asking.weight, ours.norm_asking.bias))
    both = ours.key_value(F.layer_norm(answering, (CHANNELS,), ours.norm_answering.weight, ours.norm_answering.bias))
    place = [(y, x) for y in range(WINDOW) for x in range(WINDOW)]
    rows = [[(ya - yb + WINDOW - 1) * (2 * WINDOW - 1) + xa - xb + WINDOW - 1 for yb, xb in place] for ya, xa in place]
    bias = ours.position_bias[torch.tensor(rows)].permute(2, 0, 1).repeat(len(asking), 1, 1)
    return theirs(query, both[..., :WIDTH], both[..., WIDTH:], attn_mask=bias, need_weights=False)[0]


def test_each_window_is_the_attention_of_torch():
    ours = windows()
    asking, answering = maps()
    result = ours(asking, answering)
    assert result.shape == (2, WIDTH, 8, 12)
    for top in range(0, 8, WINDOW):
        for left in range(0, 12, WINDOW):
            cut = (..., slice(top, top + WINDOW), slice(left, left + WINDOW))
            tokens = [part[cut].flatten(2).transpose(1, 2) for part in (asking, answering)]
            expected = torchs_own(ours, *tokens).transpose(1, 2).unflatten(2, (WINDOW, WINDOW))
            assert torch.allclose(result[cut], expected)


def test_shifted_windows_see_their_neighbours_and_not_the_opposite_border():
    ours = windows(shift=2)
    mask = shift_mask(8, 12, size=WINDOW, shift=2)
    asking, answering = maps()
    before = ours(asking, answering, mask=mask)
    answering[:, 0, 0, 0] += 1
    changed = (ours(asking, answering, mask=mask) - before).abs().amax((0, 1)) > 1e-9
    assert changed[:2, :2].all()
    assert changed.sum() == 4
    answering[:, 0, 3, 5] += 1
    changed = (ours(asking, answering, mask=mask) - before).abs().amax((0, 1)) > 1e-9
    assert changed[2:6, 2:6].all()


def test_who_asks_and_who_answers_are_not_the_same():
    ours = windows()
    asking, answering = maps()
    assert not torch.allclose(ours(asking, answering), ours(answering, asking))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 9), (1, 7)])
def test_channels_attend_as_vectors_over_all_pixels(height, width):
    ours = perturbed(ChannelCrossAttention(CHANNELS, HEADS, width=WIDTH))
    asking, answering = maps(height, width)
    query = ours.query(ours.norm_asking(asking)).flatten(2).unflatten(1, (HEADS, -1))
    both = ours.key_value(ours.norm_answering(answering)).flatten(2)
    key, value = (part.unflatten(1, (HEADS, -1)) for part in (both[:, :WIDTH], both[:, WIDTH:]))
    query, key = query / query.norm(dim=-1, keepdim=True), key / key.norm(dim=-1, keepdim=True)
    # Each channel is one token whose features are its pixels.
    expected = F.scaled_dot_product_attention(ours.temperature * query, key, value, scale=1.0)
    assert torch.allclose(ours(asking, answering), expected.flatten(1, 2).unflatten(2, (height, width)))


def test_every_pixel_reaches_every_other_over_channels():
    ours = perturbed(ChannelCrossAttention(CHANNELS, HEADS, width=WIDTH))
    asking, answering = maps()
    before = ours(asking, answering)
    answering[:, :3, 0, 0] += 1
    assert ((ours(asking, answering) - before).abs().amax((0, 1)) > 0).all()
