"""Shared blocks against torchvision."""

import torch
from torchvision import ops

from eorestore.layers.blocks import MLP, DropPath, ResidualConv


def test_the_mlp_is_that_of_torchvision_with_gelu():
    ours = MLP(6, ratio=2)
    theirs = ops.MLP(6, [12, 6], activation_layer=torch.nn.GELU, inplace=None)
    theirs[0].load_state_dict(ours.widen.state_dict())
    theirs[3].load_state_dict(ours.narrow.state_dict())
    tokens = torch.randn(2, 5, 6)
    assert torch.allclose(ours(tokens), theirs(tokens))


def test_drop_path_drops_whole_samples_and_keeps_the_mean_like_torchvision():
    ours, theirs = DropPath(0.25), ops.StochasticDepth(0.25, "row")
    for block in (ours, theirs):
        torch.manual_seed(0)
        dropped = block(torch.ones(4000, 2, 2))
        assert {round(value, 5) for value in dropped.unique().tolist()} == {0.0, round(1 / 0.75, 5)}
        assert (dropped.flatten(1).std(1) == 0).all()
        assert abs(float(dropped.mean()) - 1) < 0.04


def test_drop_path_does_nothing_outside_training():
    branch = torch.randn(8, 3)
    assert torch.equal(DropPath(0.9).eval()(branch), branch)


def test_a_residual_block_with_zero_weights_is_the_identity():
    block = ResidualConv(3)
    for parameter in block.second.parameters():
        torch.nn.init.zeros_(parameter)
    features = torch.randn(1, 3, 5, 6)
    assert torch.equal(block(features), features)
