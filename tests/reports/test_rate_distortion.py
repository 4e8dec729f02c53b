"""Curves of PSNR over bits per pixel: every series is drawn, means are over all bands, axes are logarithmic."""

import io

import numpy as np
import pytest
from PIL import Image

from eorestore.reports.drawing import PALETTE, Drawing
from eorestore.reports.rate_distortion import (
    RATES,
    RateSeries,
    mean_series,
    rate_distortion,
    rate_distortion_by_band,
    series_by_band,
)

CODEC_RATES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


def codec(name: str, gain: float, *, line: bool = True) -> RateSeries:
    return RateSeries(name, [(rate, 30 + gain + 5 * np.log2(rate)) for rate in CODEC_RATES], line=line)


def pixels(drawing: Drawing, colour: str) -> int:
    image = np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB")).astype(int)
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return int((np.abs(image - wanted).max(axis=-1) < 12).sum())


def record_of(codecs: dict[str, float], bands: dict[str, float]) -> dict:
    points = {
        name: {
            band: [
                {"setting": rate, "bpp": rate, "psnr30": 30 + gain + shift + 5 * np.log2(rate)} for rate in CODEC_RATES
            ]
            for band, shift in bands.items()
        }
        for name, gain in codecs.items()
    }
    return {"lossy": {"points": points}}


@pytest.mark.parametrize("line", [True, False])
def test_every_series_is_drawn_as_a_line_or_as_points(line):
    series = [codec(f"codec {number}", number, line=line) for number in range(6)]
    drawing = rate_distortion(series)
    assert all(pixels(drawing, colour) > (250 if line else 150) for colour in PALETTE[:6])
    assert pixels(rate_distortion(series[:5]), PALETTE[5]) == 0


def test_more_series_than_colours_are_all_drawn():
    drawing = rate_distortion([codec(f"codec {number}", number) for number in range(9)])
    # Numbers 1 and 8 share a colour, number 2 has its own.
    assert pixels(drawing, PALETTE[1]) > 1.4 * pixels(drawing, PALETTE[2]) > 100


def test_every_series_is_drawn_in_the_panel_of_every_band():
    names = [f"codec {number}" for number in range(6)]
    bands = {f"band {n}": [codec(name, number) for number, name in enumerate(names)] for n in range(3)}
    all_bands = rate_distortion_by_band(bands)
    two_bands = rate_distortion_by_band({**bands, "band 2": []})
    for colour in PALETTE[:6]:
        assert pixels(all_bands, colour) > 1.3 * pixels(two_bands, colour) > 100


def test_a_series_that_one_band_lacks_keeps_the_colours_of_the_others():
    drawing = rate_distortion_by_band({"a": [codec("one", 0), codec("two", 2)], "b": [codec("two", 2)]})
    assert pixels(drawing, PALETTE[1]) > 1.5 * pixels(drawing, PALETTE[0]) > 100


def test_points_of_a_record_come_back_by_band():
    found = series_by_band(record_of({"jpeg2000": 0.0, "ours": 1.0}, {"VV": 0.0, "VH": -2.0}))
    assert list(found) == ["VV", "VH"]
    assert [series.name for series in found["VH"]] == ["jpeg2000", "ours"]
    assert found["VH"][1].points[3] == (1.0, pytest.approx(29.0))


def test_points_without_the_score_are_left_out():
    record = record_of({"ours": 0.0}, {"VV": 0.0})
    record["lossy"]["points"]["ours"]["VV"][2]["psnr30"] = None
    assert len(series_by_band(record)["VV"][0].points) == len(CODEC_RATES) - 1


def test_the_mean_over_bands_is_taken_at_equal_rates_and_never_beyond_a_band():
    bands = series_by_band(record_of({"ours": 0.0}, {"VV": 0.0, "VH": -2.0}))
    bands["VH"] = [RateSeries("ours", bands["VH"][0].points[1:])]
    (mean,) = mean_series(bands)
    for rate, value in mean.points:
        assert value == pytest.approx(29 + 5 * np.log2(rate))
    assert [rate for rate, _ in mean.points] == [rate for rate in RATES if 0.25 <= rate <= 4]


def test_a_codec_that_one_band_lacks_has_no_mean():
    bands = {"a": [codec("one", 0), codec("two", 2)], "b": [codec("two", 2)]}
    assert [series.name for series in mean_series(bands)] == ["two"]


def test_points_of_a_model_are_averaged_in_rate_and_score():
    bands = {"a": [RateSeries("A", [(0.4, 26.0)], line=False)], "b": [RateSeries("A", [(0.6, 28.0)], line=False)]}
    (mean,) = mean_series(bands)
    assert mean == RateSeries("A", [(0.5, 27.0)], line=False)


def test_points_beyond_the_axis_do_not_squeeze_the_rest():
    near = codec("one", 0)
    far = RateSeries("one", [(0.01, -200.0), *near.points, (9.0, 500.0)])
    assert rate_distortion([far]) == rate_distortion([near])
    assert rate_distortion([far], shown=(0.005, 10.0)) != rate_distortion([near], shown=(0.005, 10.0))


def test_equal_series_give_equal_bytes():
    assert rate_distortion([codec("one", 0)]) == rate_distortion([codec("one", 0)])
