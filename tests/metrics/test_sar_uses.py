"""Band ratios, water, change and ships after coding, against scikit-image and closed forms."""

import math

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu
from skimage.metrics import mean_squared_error

from eorestore.errors import DataError
from eorestore.metrics.sar_uses import (
    band_ratio_error_db,
    change_false_alarms,
    otsu_threshold,
    radar_vegetation_error,
    ship_agreement,
    water_iou,
)


def scene(seed: int = 0) -> torch.Tensor:
    """VV and VH in decibels; the left half is water."""
    generator = np.random.default_rng(seed)
    speckle = 10 * np.log10(generator.gamma(4.4, 1 / 4.4, (2, 96, 96)))
    level = np.where(np.arange(96) < 48, -22.0, -9.0) + np.array([0.0, -7.0])[:, None, None]
    return torch.from_numpy(speckle + level)


def everywhere(image: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(image, dtype=torch.bool)


def test_the_band_ratio_error_is_that_of_the_difference_in_decibels():
    original, decoded = scene(0), scene(1)
    expected = math.sqrt(mean_squared_error((original[1] - original[0]).numpy(), (decoded[1] - decoded[0]).numpy()))
    assert band_ratio_error_db(decoded, original, valid=everywhere(original)).item() == pytest.approx(expected)


def test_an_error_that_both_polarisations_share_does_not_change_their_ratio():
    original = scene()
    assert band_ratio_error_db(original + 2, original, valid=everywhere(original)).item() == pytest.approx(0, abs=1e-9)
    assert radar_vegetation_error(original + 2, original, valid=everywhere(original)).item() == pytest.approx(
        0, abs=1e-9
    )


def test_the_vegetation_index_of_equal_polarisations_is_two():
    original = torch.full((2, 8, 8), -10.0, dtype=torch.float64)
    decoded = original.clone()
    decoded[1] = -200.0
    assert radar_vegetation_error(decoded, original, valid=everywhere(original)).item() == pytest.approx(2)


def test_a_pixel_that_is_valid_in_one_polarisation_only_has_no_ratio():
    original, valid = scene(), everywhere(scene())
    decoded = original.clone()
    decoded[0, 5, 5] += 9
    valid[1, 5, 5] = False
    assert band_ratio_error_db(decoded, original, valid=valid).item() == pytest.approx(0, abs=1e-9)


def test_one_polarisation_is_refused():
    original = scene()[:1]
    with pytest.raises(DataError, match="1 band"):
        band_ratio_error_db(original, original, valid=everywhere(original))


def test_the_threshold_is_otsus_of_scikit_image():
    values = scene()[0].numpy().ravel()
    assert otsu_threshold(values) == pytest.approx(threshold_otsu(values, nbins=256))


def test_flooded_pixels_are_missing_from_the_intersection():
    original = scene()[:1]
    decoded = original.clone()
    decoded[:, :, 24:48] += 13.0
    found = water_iou(decoded, original, valid=everywhere(original)).item()
    assert found == pytest.approx(0.5, abs=0.03)


def test_false_alarms_are_the_share_of_windows_beyond_the_threshold():
    original = scene()[:1]
    decoded = original.clone()
    decoded[:, :, 72:] += 1.2
    valid = everywhere(original)
    single = change_false_alarms(decoded, original, valid=valid, side=1).item()
    assert single == pytest.approx(0.25)
    assert change_false_alarms(decoded, original, valid=valid, side=1, threshold_db=1.3).item() == 0
    windows = change_false_alarms(decoded, original, valid=valid, side=5).item()
    assert 0.2 < windows < 0.3


def test_ships_that_were_smoothed_away_are_missing_and_all_others_agree():
    sea = 10 * np.log10(np.random.default_rng(2).gamma(8.0, 1 / 8.0, (1, 96, 96))) - 20
    original = torch.from_numpy(sea)
    spots = [(20, 20), (20, 60), (60, 20), (60, 60)]
    for row, column in spots:
        original[:, row, column] += 25
    decoded = original.clone()
    for row, column in spots[:2]:
        decoded[:, row, column] = -20.0
    assert ship_agreement(decoded, original, valid=everywhere(original)).item() == pytest.approx(2 * 2 / (2 + 4))
    assert math.isnan(ship_agreement(decoded - original, decoded - original, valid=everywhere(original)).item())
