"""What a forward pass costs, from the profiles of a comparison: which model is which row, tables; measures nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from eorestore.reports.table import Cell, Table

Values = Mapping[str, Any]
SIDE = 256  # pixels: the size of the benchmark's patches, and what the columns of costs are of
COST_COLUMNS = [f"GFLOPs at {SIDE}", "ms", "Peak MB"]
_RUN = re.compile(r"([^/]+-seed\d+)-[0-9a-f]{8}(?:/|$)")
NOT_MEASURED = "not measured"
NOTE = (
    "One image a pass. GFLOPs are 2 x MAC of convolutions and matrix products. Times are medians of rounds in which "
    "the models take turns. Peak memory is of weights and pass, in a process of its own."
)


def cost_of(profiles: Sequence[Values], row: str, *, parameters: float | None = None) -> Values | None:
    """The profile of a study's row: of a model of its name, or of one of its runs; None where there is none.

    A run of row `v1` is known by its folder, `.../v1-seed0-1a2b3c4d/best`. A preset may have the name of a row and
    another size, so profiles of other than `parameters`, where they are given, are passed over.
    """
    for profile in profiles:
        parts = PurePath(profile["model"]).parts
        named = any(part == row or part.startswith(f"{row}-seed") for part in parts)
        if named and parameters in (None, profile["parameters"]):
            return profile
    return None


def short_name(model: str) -> str:
    """`v1-seed0` of the run of a study in `.../v1-seed0-1a2b3c4d/best`; any other name as it is."""
    found = _RUN.search(model)
    return found[1] if found else model


def at_size(profile: Values | None, *, side: int = SIDE) -> Values | None:
    """What a pass over `side` x `side` pixels costs; None where that was not measured."""
    return _by_side(profile or {}).get(side)


def cost_cells(profile: Values | None) -> list[Cell]:
    """The cells of COST_COLUMNS."""
    size = at_size(profile)
    if size is None:
        return [NOT_MEASURED] * len(COST_COLUMNS)
    return [f"{size['flops'] / 1e9:.3g}", f"{size['milliseconds']:.1f}", _megabytes(size["memory_bytes"])]


def cost_table(profiles: Sequence[Values]) -> Table:
    """Every model at every size."""
    sizes = [(size, profile) for profile in profiles for size in _by_side(profile).values()]
    rows: list[tuple[Cell, ...]] = [
        (
            short_name(profile["model"]),
            f"{side} x {side}",
            profile["parameters"],
            f"{size['flops'] / 1e9:.3g}",
            f"{size['milliseconds']:.1f}",
            f"{size['ratio']:.2f}",
            f"{size['megapixels_per_second']:.3g}",
            _megabytes(size["memory_bytes"]),
        )
        for side in sorted({size["side"] for size, _ in sizes})
        for size, profile in sizes
        if size["side"] == side
    ]
    columns = ("Model", "Pixels", "Parameters", "GFLOPs", "ms", "Times the first", "MP/s", "Peak MB")
    return Table(columns, tuple(rows))


def _by_side(profile: Values) -> dict[int, Values]:
    """The sizes of a profile; where one was measured twice, because a model takes no smaller one, the later."""
    return {size["side"]: size for size in profile.get("sizes", ())}


def _megabytes(memory: float | None) -> str:
    return NOT_MEASURED if memory is None else f"{memory / 1e6:.0f}"
