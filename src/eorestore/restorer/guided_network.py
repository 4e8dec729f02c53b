"""The network that takes a guide: its input from regressors, its learning of one scene, its image; knows no file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eorestore.data.single_scene import Piece
from eorestore.errors import UsageError
from eorestore.models.scene_enlargement import SceneEnlargement
from eorestore.models.zero_shot_sr import ZeroShotSR, with_guide
from eorestore.processing import BandScaling, Processor
from eorestore.processing.block_means import block_mean, filled_from_nearest
from eorestore.processing.filling import fill_near
from eorestore.processing.guide_features import guide_features
from eorestore.processing.regression_sharpening import explain
from eorestore.raster import Raster
from eorestore.restorer.plan import LOW
from eorestore.restorer.scene_learning import Case, Judgement, Learned, Progress, judge_scene
from eorestore.restorer.zero_shot import begin, learned_from, stages
from eorestore.restorer.zero_shot_recipe import SCALES, SceneTask
from eorestore.tiling.patches import enlarged as enlarged_window
from eorestore.tiling.tiles import plan_tiles

log = logging.getLogger(__name__)

UNGUIDED = "network without guide"
_PLAIN, _REGRESSION = "the scene", "what a regression on the guide leaves"


@dataclass(frozen=True)
class Regressors:
    """Regressors as a network sees them: mean 0 and deviation 1 over the scene, gaps filled from what is nearest.

    values: float32 (regressor, y, x) on fine pixels. valid: bool (y, x), not filled.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    names: tuple[str, ...]

    def coarse(self, factor: int) -> Tensor:
        """(regressor + 1, y, x) of coarse pixels: their means, and as the last band the share that was not filled."""
        whole = np.ones_like(self.valid)
        means, _ = block_mean(self.values, whole, factor=factor)
        _, share = block_mean(self.values[0], self.valid, factor=factor)
        return torch.from_numpy(np.concatenate([means, share[None]]).astype(np.float32))


@dataclass(frozen=True)
class GuidedNetwork:
    """A network that has learned a scene with its guide, and what is to be said of it.

    network: as learned. plain: the one it began with, without a guide. slopes: (regressor,), of the regression whose
    residual it enlarges, in its own scale; zeros where it enlarges the scene itself. share, plain_share: of the two
    networks in their blends with projected bicubic enlargement.
    """

    network: ZeroShotSR
    plain: ZeroShotSR
    slopes: NDArray[np.float64]
    share: float
    plain_share: float
    learned: Learned
    start: str | None
    scaling: BandScaling
    hints: Regressors
    task: SceneTask

    def to_json(self) -> dict[str, Any]:
        """Plain values for a sidecar."""
        return {
            "network": {
                "start": self.start,
                "enlarges": _REGRESSION if self.slopes.any() else _PLAIN,
                "share_of_network": self.share,
                "learned": self.learned.to_json(),
            }
        }

    def enlarged(self, low: Raster, *, guided: bool, tile: int) -> NDArray[np.float64]:
        """(factor * y, factor * x) in kelvin, by the network or by the one without a guide; not yet projected."""
        (band,) = self.scaling.bands
        guide, coarse = torch.from_numpy(self.hints.values), self.hints.coarse(self.task.scale)[:-1]
        blank = np.array([(band.low + band.high) / 2], np.float32)
        processor = Processor({LOW: self.scaling}, self.scaling)
        image = torch.from_numpy(processor.encode_one(LOW, fill_near(low, otherwise=blank))).float()
        scaled = self._made(image, coarse, guide, guided=guided, tile=tile)
        return scaled * (band.high - band.low) + band.low

    def on_case(self, case: Case, *, guided: bool) -> NDArray[np.float64]:
        """The same of a piece made coarser, in the scale of the piece."""
        if case.guide is None:
            raise ValueError("a case without its guide")
        guide = case.guide[0, :-1]
        coarse = F.avg_pool2d(guide, self.task.scale)
        return self._made(case.low[0], coarse, guide, guided=guided, tile=max(case.low.shape))

    def _made(self, low: Tensor, coarse: Tensor, guide: Tensor, *, guided: bool, tile: int) -> NDArray[np.float64]:
        network, share = (self.network, self.share) if guided else (self.plain, self.plain_share)
        model = SceneEnlargement(network, replace(stages(self.task), share=share)).eval()
        if not guided:
            return _tiled(model, low, None, tile=tile)[0].double().numpy()
        slopes = torch.from_numpy(self.slopes).float()
        made = _tiled(model, low - _trend(slopes, coarse), guide, tile=tile) + _trend(slopes, guide)
        return made[0].double().numpy()


def regressors_of(guide: Raster, names: Sequence[str]) -> Regressors:
    """The regressors of a guide, standardised. Raises as `guide_features`."""
    found = guide_features(guide, names)
    values = np.empty(found.values.shape, np.float32)
    for row, layer in enumerate(found.values):
        seen = layer[found.valid]
        spread = float(seen.std()) if seen.size else 0.0
        middle = float(seen.mean()) if seen.size else 0.0
        scaled = (layer - middle) / (spread if spread > 0 else 1.0)
        values[row] = filled_from_nearest(scaled, found.valid)
    return Regressors(values, found.valid, found.names)


def guided_network(
    task: SceneTask,
    pieces: Sequence[Piece],
    hints: Regressors,
    scaling: BandScaling,
    *,
    progress: Progress | None = None,
) -> GuidedNetwork:
    """The network after it has learned the pieces with their guide.

    It begins as the network without a guide, on the scene itself or on what a linear regression on the guide leaves of
    it, whichever has the smaller error on the held-back squares before anything is learned.

    Args:
        task: from `guided_task`.
        pieces: one band each; the last band of their guides is the share that was not filled, as `Regressors.coarse`.
        hints: of the whole scene.
        scaling: of the pieces.
        progress: is given (steps done, steps).

    Raises:
        UsageError: no weights for this scale are shipped. ConfigError: a kind of network that takes no guide.
        Others: as `zero_shot.begin` and `learn_scene`.
    """
    if task.scale not in SCALES and task.recipe.network.start == "auto":
        raise UsageError(
            f"no weights for a scale of {task.scale} are shipped",
            fix="draw them: -s network.start=none; or choose --method atprk",
        )
    plain, start = begin(task)
    if not isinstance(plain, ZeroShotSR):
        raise UsageError("the network takes no guide", fix="choose zero-shot-sr of kind fast")
    (band,) = scaling.bands
    span = band.high - band.low
    network = with_guide(plain, len(hints.names))
    slopes = _slopes(pieces)
    plan = stages(task)
    seen = {name: _pieces(pieces, slopes * used) for name, used in ((_PLAIN, 0.0), (_REGRESSION, 1.0))}
    before = {name: judge_scene(network, found, plan) for name, found in seen.items()}
    begun = min(seen, key=lambda name: _blend(before[name]))
    learned = learned_from(network, seen[begun], task, stages=plan, span=span, progress=progress)
    return GuidedNetwork(
        network=_checked(learned),
        plain=plain,
        slopes=slopes * (begun == _REGRESSION),
        share=_share(learned.after, task),
        plain_share=_share(before[_PLAIN], task),
        learned=learned,
        start=start,
        scaling=scaling,
        hints=hints,
        task=task,
    )


def _checked(learned: Learned) -> ZeroShotSR:
    if not isinstance(learned.network, ZeroShotSR):
        raise TypeError("learning gave back another network")
    return learned.network


def _blend(judged: Judgement | None) -> float:
    return 0.0 if judged is None else judged.blend


def _share(judged: Judgement | None, task: SceneTask) -> float:
    """Share of the network: what was judged best; all of it where nothing was judged or a fall-back is unwanted."""
    return 1.0 if judged is None or task.recipe.inference.margin < 0 else judged.share


def _slopes(pieces: Sequence[Piece]) -> NDArray[np.float64]:
    """Of the scene on its regressors, from pixels that are not held back and that the guide covers by half or more."""
    images, columns = [], []
    for piece in pieces:
        if piece.guide is None:
            raise ValueError("a piece without its guide")
        chosen = piece.valid & ~piece.judged & (piece.guide[-1] >= 0.5)
        images.append(piece.image[0][chosen].double().numpy())
        columns.append(piece.guide[:-1][:, chosen].double().numpy())
    image, column = np.concatenate(images)[None], np.concatenate(columns, axis=1)[:, None]
    if image.shape[1] == 0:
        return np.zeros(len(column))
    whole = np.ones(image.shape, bool)
    names = [str(number) for number in range(len(column))]
    found = explain(image, whole, column, whole, factor=1, names=names).coefficients
    return np.array([found.get(name, 0.0) for name in names])


def _pieces(pieces: Sequence[Piece], slopes: NDArray[np.float64]) -> list[Piece]:
    """The pieces less their regression, with the regressors alone as guides."""
    weights, found = torch.from_numpy(slopes).float(), []
    for piece in pieces:
        if piece.guide is None:
            raise ValueError("a piece without its guide")
        guide = piece.guide[:-1]
        found.append(replace(piece, image=piece.image - _trend(weights, guide), guide=guide))
    return found


def _trend(slopes: Tensor, guide: Tensor) -> Tensor:
    """(1, y, x) from (regressor,) and (regressor, y, x)."""
    total: Tensor = torch.tensordot(slopes, guide, dims=1)
    return total[None]


def _tiled(model: SceneEnlargement, image: Tensor, guide: Tensor | None, *, tile: int) -> Tensor:
    """(1, factor * y, factor * x) of (1, y, x), tile by tile; the same as the whole at once."""
    scale, size = model.scale, (image.shape[-2], image.shape[-1])
    made = torch.empty(1, size[0] * scale, size[1] * scale)
    for one in plan_tiles(size, tile=max(tile, 1), mode="crop", reach=model.reach):
        fine = enlarged_window(one.window, scale)
        hint = None if guide is None else guide[None, :, fine.rows, fine.columns]
        with torch.inference_mode():
            found = model(low=image[None, :, one.window.rows, one.window.columns], guide=hint).image[0]
        inner = enlarged_window(one.core.relative_to(one.window), scale)
        core = enlarged_window(one.core, scale)
        made[:, core.rows, core.columns] = found[:, inner.rows, inner.columns]
    return made
