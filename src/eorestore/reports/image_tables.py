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
        rows.append(
            (
                one["set"],
                one["model"],
                one["against"] if one["role"] in one["against"] else f"{one['role']}, {one['against']}",
                _gain(one["interval"]),
                _share(one["closed_pixel"]),
                _share(one["closed_window"]),
            )
        )
    columns = ("Set", "Fusion", "Against", "PSNR, dB, 95 %", "Gap closed, pixel", "Gap closed, 32 x 32")
    return Table(columns, tuple(rows))


def study_gains(record: Mapping[str, Any]) -> Table:
    """PSNR of every row of a study against its reference, to a thousandth of a decibel, on each of its splits."""
    splits = [record, *([record["final"]] if "final" in record else [])]
    found = [{row["row"]: row for row in split["results"]} for split in splits]
    rows = []
    for name, row in found[0].items():
        if name == record["reference"]:
            continue
        gains = [_gain((one[name]["difference"] or {}).get("psnr")) for one in found]
        rows.append((name, row["seeds"], f"{row['parameters']:,.0f}", *gains))
    heads = ["Validation" if number == 0 else "Test" for number in range(len(found))]
    against = f"against {record['reference']}, PSNR dB, 95 %"
    return Table(("Row", "Seeds", "Parameters", *(f"{head} {against}" for head in heads)), tuple(rows))


def _gain(found: Mapping[str, Any] | None) -> str:
    return "n/a" if found is None else f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
