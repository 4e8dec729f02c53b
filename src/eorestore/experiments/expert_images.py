"""What stands beside a fusion: each expert, their mean, and oracles that were shown the answer; runs no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

WINDOW = 32  # pixels a side: nearer to what a gate can reach than a choice at every pixel, which picks lucky noise


@dataclass(frozen=True)
class ExpertGroup:
    """The names of rows that belong together.

    fused: of the models that fuse these experts. mean, by_pixel, by_window: of the rows that are no expert; the oracles
    are None where they were not asked for.
    """

    fused: tuple[str, ...]
    experts: tuple[str, ...]
    mean: str
    by_pixel: str | None = None
    by_window: str | None = None

    @property
    def oracles(self) -> tuple[str, ...]:
        """Names of the rows that were shown the answer."""
        return tuple(name for name in (self.by_pixel, self.by_window) if name is not None)


def group_of(experts: Sequence[str], *, fused: Sequence[str], prefix: str, oracles: bool) -> ExpertGroup:
    """The names of the rows of a group; each begins with `prefix`, so that groups of two models do not mix."""
    return ExpertGroup(
        fused=tuple(fused),
        experts=tuple(f"{prefix}{name}" for name in experts),
        mean=f"{prefix}mean of experts",
        by_pixel=f"{prefix}best expert at each pixel" if oracles else None,
        by_window=f"{prefix}best expert in {WINDOW} x {WINDOW} windows" if oracles else None,
    )


def expert_images(group: ExpertGroup, experts: Tensor, errors: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Every row of a group with its image (band, y, x).

    Args:
        group: whose rows are wanted.
        experts: (expert, band, y, x), unrounded: the mean is rounded once, as the output of a fusion is.
        errors: (expert, y, x), what each pixel adds to the error that is scored; 0 where none is.
    """
    yield from zip(group.experts, experts, strict=True)
    yield group.mean, experts.double().mean(dim=0).to(experts.dtype)
    if group.by_pixel is not None:
        yield group.by_pixel, chosen(experts, errors.argmin(dim=0))
    if group.by_window is not None:
        yield group.by_window, chosen(experts, best_in_windows(errors))


def chosen(experts: Tensor, best: Tensor) -> Tensor:
    """The pixels (band, y, x) of the experts whose number `best` (y, x) names."""
    index = best[None, None].expand(1, *experts.shape[1:])
    return experts.gather(0, index)[0]


def best_in_windows(errors: Tensor, *, side: int = WINDOW) -> Tensor:
    """The expert with the least error in each window, (expert, y, x) -> (y, x); windows stand side by side."""
    height, width = errors.shape[-2:]
    padded = F.pad(errors, (0, -width % side, 0, -height % side))
    sums = F.avg_pool2d(padded[None], side)[0]
    best = sums.argmin(dim=0).repeat_interleave(side, dim=0).repeat_interleave(side, dim=1)
    return best[:height, :width]


def closed_share(fused: float, mean: float, oracle: float) -> float:
    """The share of the way from the mean of the experts to an oracle that a fusion goes; NaN where there is no way."""
    way = oracle - mean
    return (fused - mean) / way if way > 0 else float("nan")
