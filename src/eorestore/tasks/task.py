"""A task as frozen data: inputs, target, datasets, losses, metrics, baselines; knows no network, no loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from eorestore.config import RunConfig
from eorestore.processing import Processor
from eorestore.raster import BandSet

if TYPE_CHECKING:
    from torch import Tensor

    from eorestore.models.model import Model, Output

PixelLoss: TypeAlias = "Callable[..., Tensor]"  # (prediction, target, valid=) -> a scalar


class Loss(Protocol):
    """What training makes small: (output, batch) -> a scalar tensor with a gradient."""

    def __call__(self, output: Output, batch: Mapping[str, Tensor], /) -> Tensor:
        """The loss of a batch, averaged over its valid pixels."""
        ...


class Metric(Protocol):
    """What validation reports: (image, batch) -> one float per item, NaN where an item has no such pixel."""

    def __call__(self, image: Tensor, batch: Mapping[str, Tensor], /) -> Tensor:
        """The score of every item of a batch, shape (batch,); `image` is (batch, band, y, x), normalised."""
        ...


class Samples(Protocol):
    """A dataset for training: items are dicts of tensors without batch axis.

    An item is a pure function of (the dataset's seed, epoch, index); that is what makes resuming exact.
    """

    def __len__(self) -> int:
        """Items in an epoch."""
        ...

    def __getitem__(self, index: int, /) -> dict[str, Tensor]:
        """`cloudy`, `sar`, `mask`, `target`, `valid`, ... of one item; see Task."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        ...


def over_valid(loss: PixelLoss) -> Loss:
    """`loss` between the image and `target`, over the valid pixels of a batch."""

    def whole(output: Output, batch: Mapping[str, Tensor], /) -> Tensor:
        return loss(output.image, batch["target"], valid=batch["valid"])

    return whole


@dataclass(frozen=True)
class Task:
    """One job of the package.

    inputs: the bands that enter, by forward keyword. target: the bands that come out.
    datasets: (config, processor, model) -> training and validation samples. A sample holds the processor's
        inputs, what the model's `prepare` returned, `target` (band, y, x), the bool (1, y, x) map `valid`, and for
        clouds `mask` (1, y, x) float and the bool maps `cloud` and `shadow`.
    losses, metrics: by the names used in presets and logs.
    baselines: names of the models scored beside every result.
    """

    name: str
    inputs: Mapping[str, BandSet]
    target: BandSet
    datasets: Callable[[RunConfig, Processor, Model], tuple[Samples, Samples]]
    losses: Mapping[str, Loss]
    metrics: Mapping[str, Metric]
    baselines: tuple[str, ...] = ()
