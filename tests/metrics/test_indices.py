"""Errors of NDVI and NDWI: known reflectances give known indices."""

import math

import pytest
import torch

from eorestore.errors import BandError
from eorestore.metrics.indices import INDICES, has_index, index_error

BANDS = ("B03", "B04", "B08")


def spectra(*rows: tuple[float, float, float]) -> torch.Tensor:
    """(green, red, near infrared) of pixels in a row -> (3, 1, pixel)."""
    return torch.tensor(rows, dtype=torch.float64).T[:, None]


def valid(pixels: int) -> torch.Tensor:
    return torch.ones(1, 1, pixels, dtype=torch.bool)


def test_meadow_and_water_have_the_textbook_indices_and_errors():
    truth, found = spectra((0.08, 0.05, 0.45), (0.06, 0.04, 0.02)), spectra((0.08, 0.15, 0.45), (0.06, 0.04, 0.02))
    assert index_error(found, truth, valid=valid(2), index="ndvi", bands=BANDS).item() == pytest.approx(0.3 / 2)
    assert index_error(found, truth, valid=valid(2), index="ndwi", bands=BANDS).item() == 0
    nothing = spectra((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    expected = (0.37 / 0.53 + 0.04 / 0.08) / 2
    assert index_error(nothing, truth, valid=valid(2), index="ndwi", bands=BANDS).item() == pytest.approx(expected)


def test_the_order_of_the_bands_follows_their_names():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 8, 8, generator=generator, dtype=torch.float64)
    seen = torch.ones(1, 8, 8, dtype=torch.bool)
    for index in INDICES:
        turned = index_error(a.flip(0), b.flip(0), valid=seen, index=index, bands=BANDS[::-1])
        assert turned == index_error(a, b, valid=seen, index=index, bands=BANDS)


def test_a_pixel_without_light_in_the_reference_does_not_count():
    truth, found = spectra((0.1, 0.1, 0.3), (0.1, 0.0, 0.0)), spectra((0.1, 0.1, 0.1), (0.1, 0.4, 0.4))
    assert index_error(found, truth, valid=valid(2), index="ndvi", bands=BANDS).item() == pytest.approx(0.5)
    dark = spectra((0.1, 0.0, 0.0))
    assert math.isnan(index_error(found[..., :1], dark, valid=valid(1), index="ndvi", bands=BANDS).item())


def test_negative_reflectance_cannot_blow_up_the_index():
    truth, found = spectra((0.1, 0.1, 0.3)), spectra((0.1, -0.3, 0.3001))
    assert index_error(found, truth, valid=valid(1), index="ndvi", bands=BANDS).item() == pytest.approx(0.5)


def test_an_image_without_the_bands_is_refused_by_name():
    assert not has_index("ndvi", ("B03", "B04"))
    with pytest.raises(BandError, match="ndvi needs the bands B08 and B04"):
        index_error(spectra((0, 0, 0)), spectra((0, 0, 0)), valid=valid(1), index="ndvi", bands=("B02", "B03", "B04"))
