from itertools import pairwise

import numpy as np
import pytest

from eorestore.data.simulated_thermal import CONTRAST_K, MIDDLE_K, THERMAL_KINDS, draw_thermal, simulate_thermal
from eorestore.errors import ConfigError, UnknownNameError


def scene(kind: str, seed: int, size: tuple[int, int] = (96, 96)) -> np.ndarray:
    return simulate_thermal(*size, kind=kind, generator=np.random.default_rng(seed))


def slope(values: np.ndarray) -> float:
    """Beta of the power spectrum, by a line through its mean over rings in log-log."""
    window = np.hanning(values.shape[0])
    power = np.abs(np.fft.fft2((values - values.mean()) * np.outer(window, window))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(values.shape[0]), np.fft.fftfreq(values.shape[1])))
    rings = np.geomspace(0.03, 0.2, 12)
    means = [power[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(rings)]
    return float(-np.polyfit(np.log(np.sqrt(rings[:-1] * rings[1:])), np.log(means), 1)[0])


def nearly_equal(values: np.ndarray, *, share: float = 0.03) -> float:
    """Share of neighbours that differ by less than that share of the contrast."""
    steps = np.concatenate([np.diff(values, axis=0).ravel(), np.diff(values, axis=1).ravel()])
    return float((np.abs(steps) < share * np.ptp(values)).mean())


@pytest.mark.parametrize("beta", [2.0, 3.0, 4.0])
def test_the_spectrum_of_a_fractal_falls_as_asked(beta, monkeypatch):
    monkeypatch.setattr("eorestore.data.simulated_thermal.BETA", (beta, beta))
    found = [slope(scene("fractal", seed, (256, 256))) for seed in range(12)]
    assert np.median(found) == pytest.approx(beta, abs=0.3)


@pytest.mark.parametrize("kind", THERMAL_KINDS)
@pytest.mark.parametrize("size", [(64, 64), (37, 90), (257, 130), (1, 1), (1, 9), (3, 2)])
def test_every_size_is_finite_float32_of_the_contrast_and_level_promised(kind, size):
    for seed in range(3):
        values = scene(kind, seed, size)
        assert values.shape == size
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert np.ptp(values) <= CONTRAST_K[1] + 1e-3
        assert np.ptp(values) >= CONTRAST_K[0] - 1e-3 or values.size == 1 or min(size) < 4
        assert MIDDLE_K[0] - 1e-3 <= (values.max() + values.min()) / 2 <= MIDDLE_K[1] + 1e-3


@pytest.mark.parametrize("kind", THERMAL_KINDS)
def test_a_generator_fixes_the_scene_and_another_changes_it(kind):
    assert np.array_equal(scene(kind, 5), scene(kind, 5))
    assert not np.allclose(scene(kind, 5), scene(kind, 6))


def test_draws_are_of_every_kind_and_fixed_by_the_generator(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "eorestore.data.simulated_thermal.THERMAL_KINDS",
        {name: lambda canvas, name=name: asked.append(name) or np.ones(canvas.shape) for name in THERMAL_KINDS},
    )
    generator = np.random.default_rng(0)
    for _ in range(60):
        draw_thermal(4, 4, generator=generator)
    assert set(asked) == set(THERMAL_KINDS)


def test_drawing_twice_from_one_seed_gives_the_same_scene():
    first, second = (draw_thermal(48, 40, generator=np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_fields_are_nearly_constant_between_edges_and_fractals_are_not():
    fields, fractals = ([nearly_equal(scene(kind, seed)) for seed in range(12)] for kind in ("fields", "fractal"))
    assert np.median(fields) > 0.6
    assert np.median(fields) > np.median(fractals)
    steps = [np.abs(np.diff(scene("fields", seed), axis=1)).max() / np.ptp(scene("fields", seed)) for seed in range(12)]
    assert np.median(steps) > 0.25


def test_some_fields_have_a_handful_of_levels_and_mixtures_of_them_at_edges():
    whole = []
    for seed in range(30):
        _, counts = np.unique(scene("fields", seed, (128, 128)).round(3), return_counts=True)
        whole.append(np.sort(counts)[-12:].sum() / counts.sum())
    assert max(whole) > 0.5  # twelve values hold most of the pixels
    assert max(whole) < 1  # the rest lie between, where an edge crosses a pixel


def test_a_sea_is_smoother_than_its_land():
    for seed in range(6):
        values = scene("coastline", seed, (128, 128))
        rough = np.abs(np.diff(values, axis=0))[:, 1:] + np.abs(np.diff(values, axis=1))[1:]
        calm, busy = np.quantile(rough / np.ptp(values), [0.2, 0.9])
        assert calm < 0.02
        assert busy > 3 * calm


def test_streets_run_in_two_directions_at_right_angles():
    ratios = []
    for seed in range(8):
        down, across = np.gradient(scene("streets", seed, (128, 128)))
        weight, turned = np.hypot(down, across), 4 * np.arctan2(down, across)
        # directions a quarter turn apart add up, all others cancel
        ratios.append(np.abs((weight * np.exp(1j * turned)).sum()) / weight.sum())
    assert np.median(ratios) > 0.25


def test_an_edge_lies_between_pixels_so_that_pixels_take_values_between_both_sides():
    """A parcel's mosaic of flat levels still has pixels that are means of two of them."""
    values = [scene("fields", seed, (128, 128)) for seed in range(30)]
    levels = [np.unique(one.round(3)).size for one in values]
    assert min(levels) > 12


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(UnknownNameError) as caught:
        scene("street", 0)
    assert "streets" in caught.value.fix


def test_a_scene_without_pixels_is_refused():
    with pytest.raises(ConfigError):
        scene("fractal", 0, (0, 5))
