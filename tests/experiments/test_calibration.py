"""Conformal factors on errors of a known distribution."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy.stats import norm

from eorestore.data.scene_arrays import save_scene
from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import DataError, UsageError
from eorestore.experiments.calibration import balance, calibrate, fit_scale, share_inside
from eorestore.raster import SENTINEL2_L1C, Raster

BANDS = SENTINEL2_L1C.names
CLOUDS = {"covers": (0.4,), "seeds": (1, 2), "cloud_size_px": (10, 30)}


@dataclass(frozen=True)
class Restored:
    raster: Raster
    extras: dict = field(default_factory=dict)


def ratios(seed: int, count: int, *, spread: float = 1.0) -> np.ndarray:
    return np.abs(spread * np.random.default_rng(seed).standard_normal((2, count))).astype(np.float32)


def test_the_factor_is_the_corrected_quantile_of_numpy_over_the_normal_one():
    values = ratios(0, 99)
    expected = np.quantile(values, np.ceil(100 * 0.9) / 99, axis=1, method="inverted_cdf") / norm.ppf(0.95)
    np.testing.assert_allclose(fit_scale({"p": values}, ("B02", "B03")), expected, rtol=1e-6)


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_a_sigma_that_is_off_by_a_factor_gets_that_factor(spread):
    scale = fit_scale({"p": ratios(0, 40_000, spread=spread)}, ("B02", "B03"))
    np.testing.assert_allclose(scale, spread, rtol=0.02)
    assert share_inside(ratios(1, 40_000, spread=spread), scale) == pytest.approx(0.9, abs=0.01)


def test_the_interval_holds_nine_tenths_of_new_values_on_average_even_after_few():
    # Split conformal: the expected coverage is ceil((n + 1) 0.9) / (n + 1), for n = 19 exactly 0.9.
    shares = []
    for seed in range(600):
        scale = fit_scale({"p": ratios(seed, 19)}, ("B02", "B03"))
        shares.append(share_inside(ratios(10_000 + seed, 500), scale))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


def test_a_place_of_many_scenes_weighs_no_more_than_one_of_few():
    small, large = ratios(0, 2000, spread=1.0), ratios(1, 60_000, spread=4.0)
    balanced = fit_scale({"small": small, "large": large}, ("B02", "B03"))
    equal = fit_scale({"small": small, "large": large[:, :2000]}, ("B02", "B03"))
    np.testing.assert_allclose(balanced, equal, rtol=0.06)
    assert [part.shape[1] for part in balance({"small": small, "large": large})] == [2000, 2000]


def test_a_band_that_a_scene_lacks_is_fitted_on_the_others():
    first, second = ratios(0, 5000), ratios(1, 5000)
    second[1] = np.nan
    scale = fit_scale({"a": first, "b": second}, ("B02", "B10"))
    assert scale[1] == pytest.approx(fit_scale({"a": first}, ("B02", "B10"))[1], rel=1e-6)
    with pytest.raises(DataError, match="0 pixels of band B10 are too few"):
        fit_scale({"b": second}, ("B02", "B10"))


def test_too_few_pixels_are_refused():
    with pytest.raises(DataError, match="8 pixels of band B02 are too few"):
        fit_scale({"p": ratios(0, 8)}, ("B02", "B03"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    lines = ["id,place,split,optical,sar"]
    for number, split in enumerate(("validation", "validation", "test")):
        scene = synthetic_scene((72, 72), generator=np.random.default_rng(number))
        save_scene(folder / f"{number}.npz", optical=scene.optical, sar=scene.sar)
        lines.append(f"s{number},p{number},{split},{number}.npz,{number}.npz")
    (folder / "scenes.csv").write_text("\n".join(lines))
    return folder / "scenes.csv"


def noisy(claimed: float):
    """Adds noise of 0.04 to the cloudy scene's clear pixels' mean, whatever lies below, and claims another sigma."""

    def restore(_model, rasters, *, mask):
        cloudy = rasters["cloudy"]
        truth = restore.truth[cloudy.grid.size, cloudy.values.dtype.name, float(rasters["sar"].values.sum())]
        noise = np.random.default_rng(3).standard_normal(truth.shape).astype(np.float32)
        values = np.where(mask, truth + np.float32(0.04) * noise, cloudy.values)
        return Restored(replace(cloudy, values=values), {"sigma": np.full_like(truth, claimed)})

    return restore


def with_truth(restore, manifest):
    from eorestore.data.scene_arrays import load_scene

    restore.truth = {}
    for path in sorted(manifest.parent.glob("*.npz")):
        scene = load_scene(path)
        key = scene.optical.grid.size, scene.optical.values.dtype.name, float(scene.sar.values.sum())
        restore.truth[key] = scene.optical.values
    return restore


def test_a_model_that_claims_half_of_its_error_is_calibrated_by_two(manifest):
    found = calibrate("m", bands=BANDS, data=manifest, restore=with_truth(noisy(0.02), manifest), **CLOUDS)
    np.testing.assert_allclose(found.scale, 2.0, rtol=0.25)
    assert np.mean(found.scale) == pytest.approx(2.0, rel=0.05)
    assert found.places == ("p0", "p1")
    assert set(found.to_json()) == {"level", "scale", "places", "pixels"}
    for place in found.places:
        assert found.before[place] == pytest.approx(0.589, abs=0.04)
        assert found.held_out[place] == pytest.approx(0.9, abs=0.05)


def test_the_test_split_is_refused(manifest):
    with pytest.raises(UsageError, match="test split"):
        calibrate("m", bands=BANDS, data=manifest, split="test", restore=noisy(0.02), **CLOUDS)


def test_a_model_without_sigma_is_refused(manifest):
    with pytest.raises(UsageError, match="gives no sigma"):
        calibrate("m", bands=BANDS, data=manifest, restore=lambda _m, r, mask: Restored(r["cloudy"]), **CLOUDS)  # noqa: ARG005
