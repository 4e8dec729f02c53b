"""What a scene says of its clouds and its ground: from the right pixels, whole after packing."""

import torch
from test_thin_cloud import scene

from eorestore.models.veil import OPAQUE, Veil, learn_veil


def test_a_scene_without_thick_cloud_gets_the_published_spectrum():
    ground, estimate, _ = scene()
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., :12] = 1
    veil = learn_veil([(ground, estimate, mask)])
    assert torch.allclose(veil.spectrum, torch.tensor(OPAQUE))


def test_the_spectrum_is_that_of_the_brightest_masked_pixels():
    ground, estimate, _ = scene()
    cloudy, mask = ground.clone(), torch.zeros(1, 1, 24, 24)
    mask[..., :12] = 1
    own = torch.tensor(OPAQUE) * 1.1
    cloudy[..., :4] = own[None, :, None, None]
    veil = learn_veil([(cloudy, estimate, mask)])
    assert torch.allclose(veil.spectrum, own, atol=1e-4)


def test_statistics_come_from_clear_pixels_alone():
    ground, estimate, _ = scene()
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., :12] = 1
    one, other = ground.clone(), ground.clone()
    other[..., :12] = 0.9
    first, second = (learn_veil([(cloudy, estimate, mask)]) for cloudy in (one, other))
    assert torch.equal(first.covariance, second.covariance)
    assert torch.equal(first.ground, second.ground)


def test_a_packed_veil_comes_out_whole():
    *_, veil = scene()
    veil = veil._replace(elsewhere=2 * veil.covariance, strange=torch.tensor([7.0]))
    again = Veil.unpacked(veil.packed())
    assert veil.packed().shape == (1, 2 * 13 + 5, 13)
    for part, other in zip(veil, again, strict=True):
        torch.testing.assert_close(part, other, rtol=0, atol=0)
