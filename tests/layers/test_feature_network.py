"""The feature network, against VGG16 of torchvision."""

import torch
from torchvision.models.vgg import cfgs, make_layers

from eorestore.layers.feature_network import FeatureNetwork


def small(**settings) -> FeatureNetwork:
    torch.manual_seed(0)
    chosen = {"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2), "pooling": "average"} | settings
    return FeatureNetwork(((4, 6), (8,), (10,)), **chosen)


def test_taps_are_the_ends_of_stages_of_vgg16():
    theirs = make_layers(cfgs["D"][:6]).eval()
    ours = FeatureNetwork(((64, 64), (128, 128)), mean=(0, 0, 0), std=(1, 1, 1), pooling="max")
    convs = [layer for layer in theirs if isinstance(layer, torch.nn.Conv2d)]
    for mine, other in zip((conv for stage in ours.stages for conv in stage), convs, strict=True):
        mine.load_state_dict(other.state_dict())
    image = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for tap, end in zip(ours(image), (4, 9), strict=True):  # behind relu1_2 and relu2_2
            assert torch.allclose(tap, theirs[:end](image), atol=1e-6)


def test_every_level_has_half_the_pixels_of_the_one_before():
    shapes = [tuple(tap.shape) for tap in small()(torch.rand(2, 3, 21, 16))]
    assert shapes == [(2, 6, 21, 16), (2, 8, 10, 8), (2, 10, 5, 4)]


def test_a_tiny_image_gives_the_levels_that_it_has_pixels_for():
    assert len(small()(torch.rand(1, 3, 3, 40))) == 2
    assert len(small()(torch.rand(1, 3, 1, 1))) == 1


def test_the_network_is_frozen_but_passes_gradient_on_to_the_image():
    network, image = small(), torch.rand(1, 3, 8, 8).requires_grad_()
    network(image)[-1].sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert image.grad.abs().sum() > 0


def test_training_mode_changes_nothing():
    network, image = small(), torch.rand(1, 3, 8, 8)
    assert torch.equal(network.train()(image)[-1], network.eval()(image)[-1])
