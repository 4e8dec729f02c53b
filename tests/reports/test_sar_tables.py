"""What qualities cost: interpolated between measured points, said where it is not reached, held against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eorestore.errors import DataError
from eorestore.reports.sar_tables import LEVELS, lowest_rate, steady_rate, target_table
from eorestore.reports.tables import table_of

RATES = [0.1, 0.25, 0.5, 1.0, 2.0]


def record(**bands) -> dict:
    """A record's scores: by band (PSNR30, SSIM, ENL ratio) at every rate."""
    points = {
        band: [
            {"setting": number, "bpp": rate, "psnr30": psnr, "ssim": ssim, "enl_ratio": looks}
            for number, (rate, psnr, ssim, looks) in enumerate(zip(RATES, *curves, strict=True))
        ]
        for band, curves in bands.items()
    }
    return {"lossy": {"points": {"eorestore": points}}, "columns": ["codec"], "rows": []}


VV = ([22, 26, 29, 33, 39], [0.5, 0.7, 0.84, 0.94, 0.98], [3.0, 1.8, 1.3, 1.1, 1.0])
VH = ([21, 25, 28, 32, 38], [0.5, 0.7, 0.84, 0.92, 0.94], [None, 1.5, 0.7, 0.9, 1.0])


def between(low: float, high: float, share: float) -> str:
    return f"{2 ** (np.log2(low) * (1 - share) + np.log2(high) * share):.2f}"


def test_a_level_costs_what_lies_on_the_line_over_the_logarithm_of_the_rate():
    table = target_table(record(vv=VV, vh=VH))
    assert table.columns[:4] == ("bits per pixel for", "vv", "vh", "mean")
    psnr = np.interp(30, VV[0], np.log2(RATES)), np.interp(30, VH[0], np.log2(RATES))
    rates = [2**place for place in psnr]
    mean = np.mean(rates)
    plain = [f"{bits / mean:.1f}" for bits in (32, 16, 8)]
    assert table.rows[0] == ("PSNR30 30 dB", *(f"{rate:.2f}" for rate in rates), f"{mean:.2f}", *plain)


def test_a_level_beyond_the_curve_is_not_reached_and_has_no_mean():
    table = target_table(record(vv=VV, vh=VH))
    assert [row[0] for row in table.rows][3] == "SSIM 0.95"
    assert table.rows[3][1:] == (between(1, 2, 0.25), "not reached", None, None, None, None)


def test_a_level_that_the_lowest_rate_has_is_reached_at_every_rate():
    table = target_table(record(vv=([31, 32, 33, 34, 36], *VV[1:])))
    assert table.rows[0][1:3] == ("at every rate", None)


def test_looks_count_from_where_they_stay_within_bounds():
    table = target_table(record(vv=VV, vh=VH))
    # VV falls from 1.3 to 1.1 through 1.2, VH rises from 0.7 to 0.9 through 0.8, after it had been within bounds
    assert table.rows[-1][:3] == ("ENL ratio 0.8 to 1.2", between(0.5, 1, 0.5), between(0.5, 1, 0.5))


@pytest.mark.parametrize(
    ("ratios", "rate"),
    [
        ([1.1, 1.0, 1.0], 0.0),
        ([1.1, 1.0, 1.3], math.nan),
        ([2.0, math.inf, 1.1], 1.0),
        ([0.4, 1.6, 1.0], 2 ** (-1 + 2 / 3)),
    ],
)
def test_looks_that_jump_are_taken_from_the_last_time_outside(ratios, rate):
    assert steady_rate([0.25, 0.5, 1.0], ratios) == pytest.approx(rate, nan_ok=True)


def test_nothing_is_extrapolated():
    assert math.isnan(lowest_rate([0.5, 1.0], [20.0, 25.0], level=30.0))
    assert lowest_rate([0.5, 1.0], [20.0, 25.0], level=20.0) == 0


def test_a_readme_asks_for_it_by_name_and_the_plain_table_stays():
    scores = record(vv=VV, vh=VH)
    assert table_of({"kind": "benchmark", "scores": scores}, score="targets") == target_table(scores)
    assert table_of({"kind": "benchmark", "scores": scores}).columns == ("codec",)
    assert len(target_table(scores).rows) == len(LEVELS) + 1


def test_a_record_without_the_codec_or_its_scores_is_refused():
    with pytest.raises(DataError, match="no points of eorestore"):
        target_table({"lossy": {"points": {}}})
    scores = record(vv=VV)
    del scores["lossy"]["points"]["eorestore"]["vv"][2]["ssim"]
    with pytest.raises(DataError, match="have no ssim"):
        target_table(scores)
