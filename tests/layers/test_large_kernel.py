import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from eorestore.layers.large_kernel import LargeKernelAttention, LargeKernelBlock


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("form", "far"), [("dilated", [(7, 7)]), ("strips", [(1, 21), (21, 1)])])
def test_away_from_the_edge_it_is_a_row_of_scipys_correlations(form, far):
    attention = LargeKernelAttention(1, form=form)
    x = features(1, 1, 64, 64)
    around = x[0, 0].numpy()
    for layer, size in zip([attention.near, *attention.far], [(5, 5), *far], strict=True):
        kernel = layer.weight[0, 0].detach().numpy()
        spread = np.zeros([side + (side - 1) * (layer.dilation[0] - 1) for side in size])
        spread[:: layer.dilation[0], :: layer.dilation[0]] = kernel
        around = correlate(around, spread, mode="constant") + layer.bias.item()
    expected = x[0, 0].numpy() * (around * attention.mix.weight.item() + attention.mix.bias.item())
    inside = (slice(attention.reach, -attention.reach),) * 2
    with torch.no_grad():
        assert np.allclose(attention(x)[0, 0].numpy()[inside], expected[inside], atol=1e-5)


@pytest.mark.parametrize("form", ["dilated", "strips"])
def test_a_constant_stays_constant_up_to_the_edge(form):
    with torch.no_grad():
        result = LargeKernelBlock(4, form=form)(torch.full((1, 4, 13, 9), 0.3))
    assert torch.allclose(result, result[..., :1, :1].expand_as(result), atol=1e-6)


@pytest.mark.parametrize("form", ["dilated", "strips"])
def test_a_pixel_beyond_the_reach_changes_nothing_and_one_within_it_does(form):
    block, x = LargeKernelBlock(4, form=form), features(1, 4, 8, 40)
    with torch.no_grad():
        before = block(x)
        x[..., 0] += 1
        changed = (block(x) != before).flatten(0, 2).any(dim=0).nonzero().flatten()
    assert int(changed.max()) == block.reach


def test_an_item_of_a_batch_equals_the_item_alone_in_training_too():
    block, x = LargeKernelBlock(4).train(), features(3, 4, 10, 12)
    with torch.no_grad():
        assert torch.allclose(block(x)[1:2], block(x[1:2]), atol=1e-6)


def test_gradient_reaches_every_parameter():
    block = LargeKernelBlock(4, form="strips")
    block(features(1, 4, 12, 12)).square().sum().backward()
    assert all(parameter.grad.ne(0).any() for parameter in block.parameters())
