"""Trust in interpolation: high where a scene is smooth, low where it is not, 1 at the edge."""

import torch
from scipy.ndimage import gaussian_filter

from eorestore.models.depth_trust import DEPTHS, depth_of, trust_by_depth, trust_map
from eorestore.models.scene_estimate import interpolate


def field(*, sigma: float, size: int = 96) -> torch.Tensor:
    noise = torch.randn(3, size, size, generator=torch.Generator().manual_seed(1)).numpy()
    smooth = [gaussian_filter(band, sigma) if sigma else band for band in noise]
    return torch.stack([torch.from_numpy(band / band.std()) for band in smooth])[None]


def hole(size: int = 96) -> torch.Tensor:
    known = torch.ones(1, 1, size, size)
    known[..., 10:44, 10:44] = 0
    return known


def test_a_smooth_scene_is_trusted_deeper_than_noise():
    smooth, rough = (trust_by_depth(field(sigma=sigma), hole(), interpolate=interpolate) for sigma in (8.0, 0.0))
    assert (smooth[:4] > 0.8).all()
    assert float(smooth[3] - rough[3]) > 0.15
    assert (smooth[:6] >= rough[:6]).all()


def test_depth_is_the_distance_to_the_nearest_known_pixel():
    known = torch.zeros(1, 1, 5, 7)
    known[..., 2, 0] = 1
    depth = depth_of(known)
    assert float(depth[0, 0, 2, 0]) == 0
    assert float(depth[0, 0, 2, 6]) == 6
    assert float(depth[0, 0, 0, 0]) == 2


def test_nothing_is_taken_away_at_the_edge_and_at_most_half_inside():
    trust = torch.zeros(len(DEPTHS))
    kept = trust_map(torch.tensor([0.0, 1.0, 40.0]).view(1, 1, 1, 3), trust)
    assert kept.flatten().tolist() == [1.0, 0.5, 0.5]


def test_full_trust_keeps_the_interpolation():
    kept = trust_map(torch.tensor([0.0, 3.0, 400.0]).view(1, 1, 1, 3), torch.ones(len(DEPTHS)))
    assert torch.allclose(kept, torch.ones_like(kept))
