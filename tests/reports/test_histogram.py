import re
from xml.etree import ElementTree

import numpy as np
import pytest

from eorestore.errors import BandError
from eorestore.raster import THERMAL, Grid, Raster
from eorestore.reports.histogram import histogram_of, round_ticks, to_svg


def thermal(values: np.ndarray, valid: np.ndarray | None = None) -> Raster:
    grid = Grid("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), *values.shape)
    valid = np.ones(values.shape, dtype=bool) if valid is None else valid
    return Raster(values[None].astype(np.float32), valid, THERMAL, grid)


def test_shares_agree_with_scipy_inside_the_ends() -> None:
    from scipy.stats import binned_statistic

    values = np.random.default_rng(0).normal(290, 5, (60, 60)).astype(np.float32)
    found = histogram_of("thermal", {"a": thermal(values)}, bins=32)
    theirs = binned_statistic(values.ravel(), None, "count", bins=found.edges).statistic / values.size
    assert np.allclose(found.shares["a"][1:-1], theirs[1:-1])
    assert found.shares["a"].sum() == pytest.approx(1.0)


def test_invalid_pixels_cannot_change_a_histogram() -> None:
    values = np.random.default_rng(0).normal(290, 5, (40, 40))
    valid = np.random.default_rng(1).random((40, 40)) > 0.3
    spoiled = np.where(valid, values, np.nan)
    clean, dirty = (histogram_of("thermal", {"a": thermal(one, valid)}) for one in (values, spoiled))
    assert np.array_equal(clean.edges, dirty.edges)
    assert np.array_equal(clean.shares["a"], dirty.shares["a"])


def test_all_rasters_share_the_bins() -> None:
    low, high = np.linspace(0, 1, 400).reshape(20, 20), np.linspace(2, 3, 400).reshape(20, 20)
    found = histogram_of("thermal", {"low": thermal(low), "high": thermal(high)})
    assert found.edges[0] < 0.01
    assert found.edges[-1] > 2.99
    assert found.shares["low"][found.edges[1:] > 1.5].sum() == 0
    assert found.shares["high"][found.edges[1:] < 1.5].sum() == 0


@pytest.mark.parametrize("valid", [True, False])
def test_a_constant_or_empty_raster_still_has_a_drawing(valid) -> None:
    raster = thermal(np.full((4, 4), 290.0), np.full((4, 4), valid))
    svg = to_svg(histogram_of("thermal", {"a": raster}))
    assert "nan" not in svg


def test_an_unknown_band_is_named() -> None:
    with pytest.raises(BandError, match="B04"):
        histogram_of("B04", {"a": thermal(np.zeros((4, 4)))})


def test_the_drawing_is_xml_with_an_outline_a_raster_and_the_tallest_bin_on_top() -> None:
    values = np.concatenate([np.full(300, 1.0), np.linspace(0, 2, 100)]).reshape(20, 20)
    found = histogram_of("thermal", {"a": thermal(values), "b & c": thermal(values)}, bins=16)
    root = ElementTree.fromstring(to_svg(found))
    outlines = [element for element in root.iter("path") if "series" in element.get("class", "")]
    assert [outline.find("title").text for outline in outlines] == ["a", "b & c"]
    tops = [float(text) for text in re.findall(r"V([\d.]+)H", outlines[0].get("d", ""))]
    assert np.argmin(tops) == np.argmax(found.shares["a"])
    assert len(tops) == 16


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.0, 0.4, [0.0, 0.1, 0.2, 0.3, 0.4]), (271.3, 309.0, [280, 290, 300]), (-24, -3, [-20, -10])],
)
def test_ticks_are_round_numbers(low, high, ticks) -> None:
    assert round_ticks(low, high) == ticks
