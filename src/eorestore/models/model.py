"""The contract of every network: arithmetic on normalised tensors; knows no file, device, loss or unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn

Tiling = Literal["crop", "blend"]


@dataclass(frozen=True)
class Settings:
    """Base of every model's settings: a frozen dataclass of plain values that rebuilds the model."""


class Output(NamedTuple):
    """What a model returns: the image (batch, band, y, x), normalised, and named extra maps of the same size.

    extras: `sigma`, one standard deviation of the image's error, (batch, band, y, x), in the image's own scale; every
    other name is a plain map without unit (gates, weights, edges), (batch, any, y, x).
    """

    image: Tensor
    extras: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class SceneSample:
    """A scene as `prepare` sees it, encoded.

    overview: (1, band, y, x) tensors of the whole scene, averaged over blocks of `factor` pixels; `cloudy` is
        averaged over clear valid pixels only, and over valid ones where none is clear (0 where none is valid).
        Key `mask` (1, 1, y, x) is 1 where no clear pixel was in a block, 0 elsewhere.
    windows: full-resolution pieces spread over the scene, each with the same keys; `mask` is 1 where a pixel
        is to be restored or not valid. The whole scene is the one piece when factor is 1.
    """

    overview: Mapping[str, Tensor]
    windows: tuple[Mapping[str, Tensor], ...]
    factor: int = 1


@dataclass(frozen=True)
class Prepared:
    """What `prepare` learned. Every entry reaches forward as a keyword of its name.

    maps: (1, band, y, x) over the overview; the Restorer samples them at each tile.
    constants: tensors of any shape, the same for every tile; forward gets them with a batch axis of 1 in front.
    warnings: what a user should know of it, a sentence each; they do not reach forward.
    margin: pixels beside the mask that do not count as clear, by which forward's mask is the wider one; the Restorer
        finds it for a model that doubts masks.
    """

    maps: Mapping[str, Tensor] = field(default_factory=dict)
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    margin: int = 0


class Model(nn.Module):
    """A network with its size rules.

    scale: output pixels per input pixel, per axis.
    multiple_of: input sides must divide by this; the Restorer pads and crops.
    reach: receptive-field radius in input pixels; None where it is global.
    phase: tile origins must be multiples of this (windows, unshuffle).
    tiling: `crop` (halo and crop, exact, needs reach) or `blend` (cosine).
    needs_scene: whether `prepare` must run before forward.
    optional_inputs: keywords whose bands may be missing. A missing band is NaN throughout, in forward and in `prepare`;
        an input that is missing altogether is NaN in all its bands. Other models never see a NaN.
    extras: number of bands of every extra that forward returns, by name.
    doubts_mask: whether `prepare` and forward are given a wider mask where a scene shows that cloud or shadow lies
        beside the one that was given (models.mask_rim), since the model carries far into a hole what lies beside it.
    joint: of these, the ones that are alike for all bands of a scene, also where the bands come in groups as items of
        one batch; such a model is told their number as forward's keyword `together`.

    forward(*, cloudy, sar, mask, ...) -> Output. The keywords are the Processor's inputs, `mask` (1 where a pixel
    is to be restored) for a model that wants it, and the names in Prepared.
    """

    settings_type: ClassVar[type[Settings]]
    scale: int = 1
    multiple_of: int = 1
    reach: int | None = None
    phase: int = 1
    tiling: Tiling = "blend"
    needs_scene: bool = False
    doubts_mask: bool = False
    optional_inputs: tuple[str, ...] = ()
    extras: Mapping[str, int] = {}
    joint: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def prepare(self, scene: SceneSample) -> Prepared:  # noqa: ARG002 - the contract's argument
        """What a model must learn from the whole scene before it restores a tile. Raises MaskError."""
        return Prepared()

    forward: Callable[..., Output]
