"""Unmixing of thin cloud and shadow: exact where its model holds, harmless under an opaque cloud."""

import pytest
import torch

from eorestore.models import thin_cloud
from eorestore.models.ground_prior import load_ground_prior
from eorestore.models.thin_cloud import Unveiled, learn_path
from eorestore.models.veil import NEVER, OPAQUE, Veil, tables

USUAL = tables(torch.zeros(13)).path


def scene(*, seed: int = 0, size: int = 24):
    """Correlated ground around a flat estimate, its veil statistics, and the cloud spectrum (batch of one)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.rand(13, 4, generator=generator)
    field = torch.randn(1, 4, size, size, generator=generator) * 0.03
    ground = 0.2 + torch.einsum("cf,bfyx->bcyx", mixing, field)
    estimate = torch.full_like(ground, 0.2)
    spectrum = torch.tensor(OPAQUE)[None]
    covariance = (mixing @ mixing.T)[None] * 0.03**2 / 0.3
    path = 0.7 * USUAL[None]
    level, never = torch.full((1, 13), 0.2), torch.tensor([NEVER])
    return ground, estimate, Veil(spectrum, level, path, covariance, torch.tensor([0.3]), covariance, never)


def unveil(cloudy, estimate, *, veil) -> Unveiled:
    """All pixels under the mask."""
    return thin_cloud.unveil(cloudy, estimate, hidden=torch.ones_like(cloudy[:, :1], dtype=torch.bool), veil=veil)


@pytest.mark.parametrize(("opacity", "left"), [(0.2, 0.1), (0.4, 0.3), (0.6, 0.7)])
def test_the_ground_shows_through_a_thin_veil(opacity, left):
    ground, estimate, veil = scene()
    cloudy = (1 - opacity) * ground + opacity * veil.spectrum[..., None, None]
    restored, share, _ = unveil(cloudy, estimate, veil=veil)
    assert (restored - ground).square().mean() < left * (estimate - ground).square().mean()
    assert abs(float(share.mean()) - (1 - opacity)) < 0.25


@pytest.mark.parametrize("light", [0.7, 0.4])
@pytest.mark.parametrize("haze", [0.0, 1.0])
def test_the_ground_shows_in_shadow_through_clear_and_through_hazy_air(light, haze):
    ground, estimate, veil = scene()
    path = haze * USUAL[:, None, None]
    restored, share, _ = unveil(path + light * (ground - path), estimate, veil=veil)
    assert (restored - ground).square().mean() < 0.2 * (estimate - ground).square().mean()
    assert abs(float(share.mean()) - light) < 0.15


@pytest.mark.parametrize("shade", [0.1, 0.5, 0.65, 0.75])
def test_any_depth_of_shadow_leaves_the_brightness_of_the_ground(shade):
    ground, estimate, veil = scene(size=64)
    generator = torch.Generator().manual_seed(2)
    ground = ground + 0.015 * torch.randn(ground.shape, generator=generator)
    veil = veil._replace(covariance=veil.covariance + 0.015**2 * torch.eye(13))
    air = veil.path[0][:, None, None]
    light = 1 - shade * tables(torch.zeros(13)).depth[:, None, None]
    restored, _, _ = unveil(air + light * (ground - air), estimate, veil=veil)
    error = restored - ground
    assert abs(float(error.mean() / ground.mean())) < 0.01
    assert error.square().mean() < 0.175 * (estimate - ground).square().mean()


def shaded(path, *, size: int = 64):
    """A scene whose left half lies in shadows of many depths, through air that scatters `path` (band,)."""
    ground, estimate, veil = scene(size=size)
    own = 0.015  # what each band has for itself
    ground = ground + own * torch.randn(ground.shape, generator=torch.Generator().manual_seed(1))
    veil = veil._replace(covariance=veil.covariance + own**2 * torch.eye(13))
    shade = torch.linspace(0.2, 0.75, size // 2) * tables(torch.zeros(13)).depth[:, None]
    path = path[:, None, None]
    cloudy, hidden = ground.clone(), torch.zeros_like(ground[:, :1], dtype=torch.bool)
    cloudy[..., : size // 2] = path + (1 - shade[:, None]) * (ground[..., : size // 2] - path)
    hidden[..., : size // 2] = True
    return ground, estimate, cloudy, hidden, Veil(*(part[0] for part in veil))


@pytest.mark.parametrize("haze", [0.0, 1.4])
def test_shadows_tell_how_much_the_air_scatters(haze):
    _, estimate, cloudy, hidden, veil = shaded(haze * USUAL)
    # Ten pixels of the scene along one of these: far more ground than 64 x 32 neighbours.
    learned = learn_path(cloudy, estimate, hidden=hidden, veil=veil, factor=10)
    assert (learned.path[:9] / USUAL[:9] - haze).abs().max() < 0.1
    assert (veil.path[:9] / USUAL[:9] - haze).abs().min() > 0.6


def test_ground_in_hazy_shadow_is_seen_better_afterwards():
    ground, estimate, cloudy, hidden, veil = shaded(1.4 * USUAL)
    errors = []
    for found in (veil, learn_path(cloudy, estimate, hidden=hidden, veil=veil, factor=10)):
        batched = Veil(*(part[None] for part in found))
        restored = thin_cloud.unveil(cloudy, estimate, hidden=hidden, veil=batched).ground
        errors.append(float((restored - ground).square().mean()))
    assert errors[1] < 0.97 * errors[0]


def test_few_shadows_leave_the_usual_path():
    _, estimate, cloudy, hidden, veil = shaded(1.4 * USUAL)
    hidden[..., 1:, :] = False
    learned = learn_path(cloudy, estimate, hidden=hidden, veil=veil)
    torch.testing.assert_close(learned.path, veil.path, rtol=0.2, atol=2e-3)
    assert learn_path(cloudy, estimate, hidden=torch.zeros_like(hidden), veil=veil) is veil


def test_pixels_without_observation_say_nothing_of_the_path():
    _, estimate, cloudy, hidden, veil = shaded(USUAL)
    kept = hidden.clone()
    kept[..., :4, :] = False
    cloudy[..., :2, :32], cloudy[..., 2:4, :32] = 0.0, float("nan")
    learned, without = (learn_path(cloudy, estimate, hidden=which, veil=veil) for which in (hidden, kept))
    torch.testing.assert_close(learned.path, without.path)


def test_pixels_outside_the_mask_are_as_observed():
    ground, estimate, veil = scene()
    hidden = torch.zeros_like(ground[:, :1], dtype=torch.bool)
    hidden[..., :10] = True
    found = thin_cloud.unveil(0.5 * ground, estimate, hidden=hidden, veil=veil)
    assert torch.equal(found.ground[..., 10:], 0.5 * ground[..., 10:])
    assert (found.sureness[..., 10:] == 1).all()
    whole = unveil(0.5 * ground, estimate, veil=veil)
    torch.testing.assert_close(found.ground[..., :10], whole.ground[..., :10])


def test_what_is_not_finite_is_an_opaque_cloud():
    ground, estimate, veil = scene()
    cloudy = ground.clone()
    cloudy[0, 3, 5, 5], cloudy[0, 0, 7, 7] = float("nan"), float("inf")
    found = unveil(cloudy, estimate, veil=veil)
    assert found.ground.isfinite().all()
    for row in (5, 7):
        assert torch.equal(found.ground[..., row, row], estimate[..., row, row])
        assert float(found.sureness[..., row, row]) == 0


def test_bands_of_another_sensor_are_unveiled_too():
    ground, estimate, veil = scene()
    four = [1, 2, 3, 7]
    small = Veil(
        veil.spectrum[:, four], veil.ground[:, four], 0 * veil.path[:, four], veil.covariance[:, four][:, :, four],
        veil.trust, veil.covariance[:, four][:, :, four], veil.strange,
    )  # fmt: skip
    cloudy = 0.8 * ground[:, four] + 0.2 * small.spectrum[..., None, None]
    restored, _, _ = unveil(cloudy, estimate[:, four], veil=small)
    assert (restored - ground[:, four]).square().mean() < 0.7 * (estimate - ground)[:, four].square().mean()


WATER = torch.tensor([0.12, 0.09, 0.07, 0.05, 0.04, 0.04, 0.04, 0.03, 0.03, 0.01, 0.001, 0.02, 0.01])


@pytest.mark.parametrize("shade", [0.5, 0.7])
def test_land_in_shadow_is_seen_where_all_that_is_clear_is_water(shade):
    _, estimate, veil = scene()
    prior = load_ground_prior(13, 6)
    land, elsewhere = prior.mean[-13:].float(), prior.covariance[None, -13:, -13:].float()
    water, light = WATER[:, None, None].expand_as(estimate), 1 - shade * tables(land).depth
    shaded = (veil.path[0] + light * (land - veil.path[0]))[None, :, None, None].expand_as(water)
    calm = veil._replace(covariance=0.01**2 * torch.eye(13)[None], ground=WATER[None], elsewhere=elsewhere)
    errors = []
    for odds in (7.0, NEVER):
        restored = unveil(shaded, water, veil=calm._replace(strange=torch.tensor([odds]))).ground
        errors.append((restored - land[:, None, None]).square().mean().sqrt())
    assert errors[0] < 0.01
    assert errors[1] > 0.1


def half_seen(*, land: bool) -> tuple[torch.Tensor, ...]:
    """Water under half a shadow, with land in one half or none: cloudy, estimate, hidden, veil, elsewhere."""
    _, _, veil = scene(size=64)
    prior = load_ground_prior(13, 6)
    ground = WATER[None, :, None, None].repeat(1, 1, 64, 64)
    estimate = ground.clone()
    if land:
        ground[..., 32:] = prior.mean[None, -13:, None, None].float()
    ground = (
        ground + 0.005 * torch.randn(ground.shape, generator=torch.Generator().manual_seed(1)) * WATER[:, None, None]
    )
    light = (1 - 0.5 * tables(WATER).depth)[:, None, None]
    air = veil.path[0][:, None, None]
    calm = Veil(*(part[0] for part in veil))._replace(covariance=0.01**2 * torch.eye(13), ground=WATER)
    return air + light * (ground - air), estimate, torch.ones(1, 1, 64, 64) > 0, calm, prior.covariance[-13:, -13:]


@pytest.mark.parametrize(("land", "clear", "admitted"), [(True, 500, True), (False, 500, False), (True, 20_000, False)])
def test_strange_ground_is_admitted_where_it_is_seen_and_little_is_clear(land, clear, admitted):
    cloudy, estimate, hidden, veil, elsewhere = half_seen(land=land)
    found = thin_cloud.admit_strange_ground(
        cloudy, estimate, hidden=hidden, veil=veil, elsewhere=elsewhere, clear=clear
    )
    assert (float(found.strange) < NEVER) == admitted
    assert (found is not veil) == admitted


def test_strange_ground_changes_nothing_under_an_opaque_cloud_nor_where_clear_pixels_tell_all():
    ground, estimate, veil = scene()
    opaque = veil.spectrum[..., None, None].expand_as(ground)
    odd = veil._replace(elsewhere=veil.covariance + 0.1**2 * torch.eye(13), strange=torch.tensor([7.0]))
    for cloudy in (opaque, 0.8 * ground + 0.2 * opaque):
        found, before = (unveil(cloudy, estimate, veil=one).ground for one in (odd, veil))
        assert (found - before).abs().max() < 0.01


def test_under_an_opaque_cloud_the_estimate_stays():
    ground, estimate, veil = scene()
    cloudy = veil.spectrum[..., None, None].expand_as(ground)
    restored, share, _ = unveil(cloudy, estimate, veil=veil)
    assert (restored - estimate).abs().max() < 0.02
    assert float(share.mean()) < 0.3


def test_one_scene_serves_a_batch_of_its_tiles():
    ground, estimate, veil = scene()
    cloudy = torch.cat([0.6 * ground, 0.8 * ground])
    found = unveil(cloudy, torch.cat([estimate, estimate]), veil=veil)
    for row in (0, 1):
        alone = unveil(cloudy[row : row + 1], estimate, veil=veil)
        torch.testing.assert_close(found.ground[row : row + 1], alone.ground)
