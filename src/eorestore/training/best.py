"""The k best checkpoints of a run: best/, best-2/, best-3/, ...; knows no metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from eorestore.config import TrainingSettings
from eorestore.training.state import Ranked, replace_folder


def rank_of(new: Ranked, best: tuple[Ranked, ...], settings: TrainingSettings) -> int | None:
    """The place of `new` among `best`, counted from 0; None where it is not among the first `keep_best`.

    The earlier one wins a tie; NaN never wins.
    """
    if math.isnan(new.score):
        return None
    sign = 1 if settings.best_is == "lowest" else -1
    rank = sum(sign * old.score <= sign * new.score for old in best)
    return rank if rank < settings.keep_best else None


def best_folder(run_dir: Path, rank: int) -> Path:
    """The folder of the checkpoint at `rank`, counted from 0."""
    return run_dir / ("best" if rank == 0 else f"best-{rank + 1}")


def keep(
    run_dir: Path, new: Ranked, best: tuple[Ranked, ...], settings: TrainingSettings, *, save: Callable[[Path], None]
) -> tuple[Ranked, ...]:
    """The table with `new` in its place, its checkpoint written by `save`, and the others moved down by one."""
    rank = rank_of(new, best, settings)
    if rank is None:
        return best
    partial = run_dir / ".best.partial"
    save(partial)
    for lower in range(settings.keep_best - 2, rank - 1, -1):
        if best_folder(run_dir, lower).exists():
            replace_folder(best_folder(run_dir, lower), best_folder(run_dir, lower + 1))
    replace_folder(partial, best_folder(run_dir, rank))
    return (*best[:rank], new, *best[rank:])[: settings.keep_best]
