"""Where the restored surface and the SAR disagree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from eorestore.data.synthetic_scene import synthetic_scene
from eorestore.errors import MaskError, UsageError
from eorestore.models.model import Model, Output, Settings
from eorestore.raster import SENTINEL2_L1C, MemoryPixels, Unit
from eorestore.restorer import restore_raster
from eorestore.restorer.consistency import ConsistencyRows, _features, _solve, disagreement, fit_sar
from eorestore.restorer.plan import ModelFacts
from eorestore.restorer.restore import Restorer, baseline_processor, load_restorer
from eorestore.restorer.rows import Rows
from eorestore.restorer.scene import PackedMask, Scene

SIDE = 160
INSIDE = slice(48, 112)


@pytest.fixture(scope="module")
def place():
    return synthetic_scene((SIDE, SIDE), generator=np.random.default_rng(1))


@pytest.fixture(scope="module")
def mask():
    mask = np.zeros((SIDE, SIDE), bool)
    mask[INSIDE, INSIDE] = True
    return mask


def scene_of(place, *, optical=None, sar=None):
    inputs = {"cloudy": MemoryPixels(optical or place.optical), "sar": MemoryPixels(sar or place.sar)}
    return Scene(inputs, "cloudy")


def fitted(place, mask, **changes):
    return fit_sar(scene_of(place, **changes), PackedMask.from_array(mask), restored=SENTINEL2_L1C.names)


def compared(fit, place, values, *, valid=None):
    rows = [place.optical.bands.index(name) for name in fit.bands]
    valid = np.ones((SIDE, SIDE), bool) if valid is None else valid
    decibel = place.sar.values[[place.sar.bands.index(name) for name in fit.sar]]
    return disagreement(fit, values[rows], decibel, valid=valid)


def swapped(values):
    """The fields under the mask in each other's places."""
    wrong = values.copy()
    wrong[:, INSIDE, INSIDE] = values[:, INSIDE, INSIDE][:, ::-1, ::-1]
    return wrong


def area_under_curve(high, low):
    return mannwhitneyu(high, low).statistic / (len(high) * len(low))


def test_swapped_fields_are_flagged_more_than_the_true_ones(place, mask):
    fit = fitted(place, mask)
    classes = place.landcover[INSIDE, INSIDE]
    other = np.zeros_like(mask)
    other[INSIDE, INSIDE] = classes != classes[::-1, ::-1]
    true, wrong = (compared(fit, place, values) for values in (place.optical.values, swapped(place.optical.values)))
    assert other.sum() > 500
    assert area_under_curve(wrong[other], true[other]) > 0.7
    assert (wrong[other] > 3).mean() > 5 * max((true[other] > 3).mean(), 0.01)


def test_the_mean_of_another_class_is_flagged_where_it_is_wrong(place, mask):
    """All of the hole filled with the commonest class: right in part of it, wrong in the rest."""
    fit = fitted(place, mask)
    common = np.bincount(place.landcover[mask]).argmax()
    values = place.optical.values.copy()
    values[:, mask] = place.optical.values[:, (place.landcover == common) & ~mask].mean(axis=1)[:, None]
    found = compared(fit, place, values)
    right, wrong = mask & (place.landcover == common), mask & (place.landcover != common)
    assert found[wrong].mean() > 1.3 * found[right].mean()


def test_clear_pixels_have_a_deviation_of_one(place, mask):
    found = compared(fitted(place, mask), place, place.optical.values, valid=~mask)
    assert np.sqrt(np.mean(np.square(found[~mask], dtype=np.float64))) == pytest.approx(1, abs=0.02)


def test_the_regression_is_the_ridge_of_least_squares():
    """Against numpy's least squares with the penalty as further rows."""
    generator = np.random.default_rng(2)
    features = generator.normal(size=(400, 6)) @ generator.normal(size=(6, 6)) + generator.normal(size=6)
    targets = features[:, :2] * 3 + generator.normal(size=(400, 2))
    rows = np.concatenate([features, np.ones((400, 1))], axis=1)
    found = _solve(rows.T @ rows, rows.T @ targets)
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    penalised = np.concatenate([standard, np.sqrt(1e-3 * 400) * np.eye(6)])
    centred = np.concatenate([targets - targets.mean(axis=0), np.zeros((6, 2))])
    weights = np.linalg.lstsq(penalised, centred, rcond=None)[0] / features.std(axis=0)[:, None]
    np.testing.assert_allclose(found[:-1], weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found[-1], targets.mean(axis=0) - features.mean(axis=0) @ weights, rtol=1e-6)


def test_nothing_under_the_mask_enters_the_fit(place, mask):
    spoiled = replace(place.optical, values=np.where(mask, np.float32(0.9), place.optical.values))
    plain, other = fitted(place, mask), fitted(place, mask, optical=spoiled)
    np.testing.assert_array_equal(plain.coefficients, other.coefficients)
    np.testing.assert_array_equal(plain.spread, other.spread)


def test_pixels_that_are_not_known_enter_no_feature(place, mask):
    spoiled = np.where(mask, np.float32(7), place.optical.values)
    for values in (spoiled, place.optical.values):
        found = _features(values, ~mask)
        assert found[13:39, ~mask].max() < 1
    np.testing.assert_array_equal(_features(spoiled, ~mask)[:, ~mask], _features(place.optical.values, ~mask)[:, ~mask])


@pytest.mark.parametrize("heights", [(7, 30, 1, 60, 62), (160,), (40, 40, 40, 40)])
def test_strips_give_the_map_of_the_whole(place, mask, heights):
    fit = fitted(place, mask)
    values = swapped(place.optical.values)
    source = np.where(mask, np.uint8(2), np.uint8(1))
    found = []
    rows = ConsistencyRows(scene_of(place), fit, found.append)
    first = 0
    for height in heights:
        piece = slice(first, first + height)
        rows(Rows(first, values[:, piece], source[piece], np.zeros((2, height, SIDE), np.float32)))
        first += height
    assert [one.first for one in found] == [0, *np.cumsum([one.height for one in found])[:-1]]
    assert found[-1].end == SIDE
    maps = np.concatenate([one.maps for one in found], axis=1)
    assert len(maps) == 3
    np.testing.assert_allclose(maps[2][mask], compared(fit, place, values)[mask], atol=1e-4)
    assert np.isnan(maps[2][~mask]).all()
    np.testing.assert_array_equal(np.concatenate([one.raw for one in found], axis=1), values)
    assert rows.share == pytest.approx((maps[2][mask] > 3).mean())


def test_any_model_has_the_map_when_there_is_sar(place, mask):
    rasters = {"cloudy": place.optical, "sar": place.sar}
    for model in ("inpaint", "band-mean"):
        extras = restore_raster(model, rasters, mask=mask, save=("consistency",)).extras
        assert extras["consistency"].shape == (1, SIDE, SIDE)
        assert np.isfinite(extras["consistency"][0, mask]).all()
        assert np.isnan(extras["consistency"][0, ~mask]).all()


class Swapping(Model):
    """Gives one surface, whatever it sees."""

    settings_type = Settings
    tiling = "crop"
    reach = 0

    def __init__(self, surface):
        super().__init__(Settings())
        self.surface = surface

    def forward(self, *, cloudy):
        import torch

        return Output(torch.from_numpy(self.surface)[None].expand_as(cloudy))


def test_a_model_that_puts_fields_in_wrong_places_is_caught(place, mask):
    bands = place.optical.bands
    facts = load_restorer("identity", bands=bands).facts
    shares = []
    for surface in (place.optical.values, swapped(place.optical.values)):
        facts = ModelFacts(facts.resolved, facts.rule, SIDE, 0, {})
        restorer = Restorer("swapping", Swapping(surface), baseline_processor(bands), facts)
        rasters = {"cloudy": place.optical, "sar": place.sar}
        found = restore_raster(restorer, rasters, mask=mask, save=("consistency",)).extras["consistency"]
        shares.append(float((found[0, mask] > 3).mean()))
    assert shares[1] > 3 * max(shares[0], 0.01)


def test_one_polarisation_and_linear_units_serve_as_well(place, mask):
    fit = fitted(place, mask, sar=place.sar.select(("VV",)))
    assert fit.sar == ("VV",)
    power = replace(place.sar, values=10 ** (place.sar.values / 10), bands=place.sar.bands.with_unit(Unit.POWER))
    np.testing.assert_allclose(fitted(place, mask, sar=power).spread, fitted(place, mask).spread, rtol=1e-4)


def test_pixels_without_sar_are_not_judged(place, mask):
    valid = np.ones((SIDE, SIDE), bool)
    valid[:80] = False
    rasters = {"cloudy": place.optical, "sar": replace(place.sar, valid=valid)}
    found = restore_raster("inpaint", rasters, mask=mask, save=("consistency",)).extras["consistency"][0]
    assert np.isnan(found[:80]).all()
    assert np.isfinite(found[80:][mask[80:]]).all()


def test_bands_that_see_no_ground_are_left_out(place, mask):
    assert set(SENTINEL2_L1C.names) - set(fitted(place, mask).bands) == {"B09", "B10"}


@pytest.mark.parametrize("everywhere", [True, None])
def test_without_clear_pixels_there_is_no_comparison(place, mask, everywhere):
    chosen = None if everywhere is None else np.ones_like(mask)
    rasters = {"cloudy": place.optical, "sar": place.sar}
    with pytest.raises(MaskError, match="too few clear pixels"):
        restore_raster("identity", rasters, mask=chosen, save=("consistency",))


def test_without_sar_there_is_no_comparison(place, mask):
    with pytest.raises(UsageError, match="compares with SAR"):
        restore_raster("identity", {"cloudy": place.optical}, mask=mask, save=("consistency",))
