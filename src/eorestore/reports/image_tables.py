"""Tables of records of super-resolution: scores by set of images, and fusions against their experts; scores nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eorestore.reports.table import Table

GAINS = "gains"
_DIGITS = {"psnr": 3, "ssim": 4}
_HEADS = {"psnr": "PSNR, dB", "ssim": "SSIM"}


def set_table(record: Mapping[str, Any]) -> Table:
    """Mean PSNR and SSIM of every model on every set, and over all images where there are several sets."""
    shown = [name for name in _HEADS if name in record["metrics"]]
    rows = [
        (
            row["set"],
            row["model"],
            row["scores"][shown[0]]["count"],
            *(f"{row['scores'][name]['mean']:.{_DIGITS[name]}f}" for name in shown),
        )
        for row in record["sets"]
    ]
    return Table(("Set", "Model", "Images", *(_HEADS[name] for name in shown)), tuple(rows))


def gain_table(record: Mapping[str, Any]) -> Table:
    """PSNR of every fusion minus that of its experts' mean and of the best one, and the share of the gap it closes."""
    rows = []
    for one in record["comparisons"]:
        if one["score"] != "psnr":
            continue
        gain = one["interval"]
        rows.append(
            (
                one["set"],
                one["model"],
                one["against"] if one["role"] in one["against"] else f"{one['role']}, {one['against']}",
                f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]",
                _share(one["closed_pixel"]),
                _share(one["closed_window"]),
            )
        )
    columns = ("Set", "Fusion", "Against", "PSNR, dB, 95 %", "Gap closed, pixel", "Gap closed, 32 x 32")
    return Table(columns, tuple(rows))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
