"""Models that enlarge whole images, scored against the originals as benchmarks are; knows no file of results.

The low-resolution image is made of the high-resolution one, unless it is on disk. What a model gives is rounded to
8 bits once, the rim of `scale` pixels is not scored, and decibels are averaged over images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from eorestore.data.degradation import EIGHT_BITS, Degradation, rounded
from eorestore.data.expert_cache import CachedOutputs, cached_outputs, is_cache
from eorestore.data.expert_outputs import ExpertOutputs, find_expert_outputs
from eorestore.data.image_samples import PairReader
from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.experiments.expert_images import ExpertGroup, expert_images, group_of
from eorestore.experiments.image_models import BICUBIC, SCALE, ImageModel, load_image_models, shared_processor
from eorestore.experiments.image_sets import ImageSet, PlacedPair, read_image_sets, set_hashes
from eorestore.experiments.image_table import ImageRow, ImageTable
from eorestore.experiments.record import hash_path
from eorestore.metrics import fidelity
from eorestore.metrics.luma import eight_bit_luma, luma, psnr_luma, ssim_luma
from eorestore.metrics.spectral import sam_degrees
from eorestore.processing import Processor
from eorestore.processing.resize import shrink
from eorestore.processing.table import rgb_processor

_log = logging.getLogger(__name__)

PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "rgb": ("psnr", "ssim", "sam", "lr_psnr"),
    "y": ("psnr", "ssim", "lr_psnr"),
    "bands": ("psnr", "ssim", "sam", "lr_psnr"),
}
"""Scores by protocol, unless others are asked for. `rgb` and `y` are those of `metrics.luma`, `bands` is for images of
other bands."""

SCORES = ("psnr", "ssim", "sam", "lr_psnr", "mae", "rmse")
"""All that can be asked for. `lr_psnr` is how near the result, shrunk again, is to the low-resolution image."""

_OVER_BANDS = {"sam": sam_degrees, "mae": fidelity.mae, "rmse": fidelity.rmse}


@dataclass(frozen=True)
class Example:
    """One image as it is scored: encoded, (band, y, x); valid: (1, y, x) bool as `high`."""

    set: str
    scene: str
    place: str
    low: Tensor
    high: Tensor
    valid: Tensor


Watch = Callable[[Example, ImageRow, Tensor], None]
"""Is shown every image, its row, and what a model made of it, (band, y, x), rounded as it was scored."""


def evaluate_images(
    models: str | Sequence[str],
    *,
    data: Path | str | Sequence[Path | str],
    root: Path | str | None = None,
    split: str = "test",
    protocol: str | None = None,
    metrics: Sequence[str] | None = None,
    scale: int | None = None,
    levels: int | None = None,
    tta: bool = False,
    oracles: bool = False,
    expert_outputs: Path | str | None = None,
    experts: Sequence[str] = (),
    watch: Watch | None = None,
) -> ImageTable:
    """Enlarge the images of one or several sets with every model and score them.

    Args:
        models: names, runs or checkpoint folders of super-resolution, and `bicubic`. None is needed where
            `expert_outputs` is given.
        data: folders of high-resolution images and manifests; see `image_sets.read_image_sets`.
        root: folder that a manifest's paths start from; its own by default.
        split: of manifests and layouts of folders.
        protocol: name in PROTOCOLS; by default `rgb` for red, green and blue, and `bands` for any other.
        metrics: names of SCORES; all of the protocol's by default.
        scale: enlargement; that of the networks by default, or 4.
        levels: steps that a low-resolution image made here is rounded to, 0 for none; by default 255 where the
            protocol is `rgb`, and none elsewhere.
        tta: every network is the mean over its eight flips and turns.
        oracles: add the experts of fused models, their mean, and oracles.
        expert_outputs: folder of stored images of experts, see `data.expert_outputs`, or a cache of them; they get
            rows of their own, and models that fuse experts are given them and run none.
        experts: their names in order; by default that which the first such model was trained with, else by name.
        watch: is shown every image that a model made.

    Raises:
        UsageError: an unknown name, a model that enlarges nothing, or one that the protocol does not suit.
        DataError: a set without an image, or a model that gives values that are not finite.
    """
    names = (models,) if isinstance(models, str) else tuple(models)
    sources = (data,) if isinstance(data, Path | str) else tuple(data)
    given = expert_outputs is not None
    loaded = load_image_models(names, scale=scale, run_experts=not given) if names or not given else ()
    factor = loaded[0].scale if loaded else scale or SCALE
    processor = shared_processor(loaded, scale=factor)
    protocol, chosen = _rules(protocol, metrics, loaded, processor, factor)
    _check_experts(loaded, expert_outputs, protocol)
    sets = read_image_sets(
        [Path(source) for source in sources], root=None if root is None else Path(root), split=split, scale=factor
    )
    levels = (EIGHT_BITS if protocol == "rgb" else 0) if levels is None else levels
    scorer = _Scorer(protocol, chosen, factor, Degradation(factor, levels=levels), processor)
    order = next((model.wanted_experts for model in loaded if model.takes_experts), ())
    stored = _stored(sets, expert_outputs, experts or order, scorer.degradation)
    groups = _groups(loaded, stored, oracles=oracles)
    shown = {name for group in groups for name in group.oracles}
    rows: list[ImageRow] = []
    for one in sets:
        for placed in one.pairs:
            example = scorer.read(one, placed, several=len(sets) > 1)
            for name, image in _images(example, placed, loaded, groups, stored.get(one.name), scorer, tta=tta):
                row = scorer.row(example, name, image, oracle=name in shown)
                rows.append(row)
                _log.info("%s on %s: %s %.4g", name, row.scene, chosen[0], row.scores[chosen[0]])
                if watch is not None:
                    watch(example, row, scorer.rounded(image))
    return ImageTable(
        protocol,
        chosen,
        _conditions(protocol, factor, levels, sets, split=split, tta=tta),
        tuple(rows),
        groups,
        weights={model.name: model.checkpoint.sha256 for model in loaded if model.checkpoint is not None},
        data=set_hashes(sets) | {f"experts of {name}": hash_path(one.folder) for name, one in stored.items()},
    )


@dataclass(frozen=True)
class _Scorer:
    """How one image is read and scored."""

    protocol: str
    metrics: tuple[str, ...]
    scale: int
    degradation: Degradation
    processor: Processor

    def read(self, one: ImageSet, placed: PlacedPair, *, several: bool) -> Example:
        """The images of a pair. Raises DataError, BandError and UnitError."""
        maps = PairReader(self.processor, self.degradation)(placed.pair)
        low, high = torch.from_numpy(maps["low"]), torch.from_numpy(maps["target"])
        if self.protocol == "y":
            high = rounded(luma(high.double()) / EIGHT_BITS)
            low = shrink(high, factor=self.scale)
        scene = placed.pair.id
        if several and not scene.startswith(f"{one.name}/"):
            scene = f"{one.name}/{scene}"
        return Example(one.name, scene, placed.place, low, high, torch.from_numpy(maps["valid"]))

    def rounded(self, image: Tensor) -> Tensor:
        """An image as it is scored: in 8 bits, but for the protocol `bands`."""
        return image.double() if self.protocol == "bands" else rounded(image.double())

    def row(self, example: Example, name: str, image: Tensor, *, oracle: bool) -> ImageRow:
        """The scores of an image (band, y, x). Raises DataError where it is not finite."""
        if not torch.isfinite(image[:, example.valid[0]]).all():
            raise DataError(
                f"{name} gave values that are not finite on {example.scene}", fix="check the model's weights"
            )
        seen = self.rounded(image)
        scores = {metric: self._score(metric, seen, example) for metric in self.metrics}
        return ImageRow(name, example.set, example.scene, example.place, scores, oracle)

    def errors(self, experts: Tensor, example: Example) -> Tensor:
        """What each pixel of (expert, band, y, x) adds to the error that PSNR is of: (expert, y, x)."""
        seen, high = self.rounded(experts), self.rounded(example.high)
        if self.protocol != "bands":
            seen, high = eight_bit_luma(seen), eight_bit_luma(high)
        counted = torch.zeros_like(example.valid)
        counted[_kept(self.scale, counted)] = example.valid[_kept(self.scale, counted)]
        errors = ((seen - high) ** 2).mean(dim=1)
        return torch.where(counted, errors, errors.new_zeros(()))

    def _score(self, metric: str, image: Tensor, example: Example) -> float:
        if metric == "lr_psnr":
            low = shrink(image, factor=self.scale)
            whole = F.avg_pool2d(example.valid[None].double(), self.scale)[0] == 1
            return float(fidelity.psnr(low, example.low, valid=whole))
        kept = _kept(self.scale, image)
        valid = example.valid[kept]
        if metric in _OVER_BANDS:
            return float(_OVER_BANDS[metric](image[kept], example.high[kept], valid=valid))
        if self.protocol == "bands":
            score = fidelity.psnr if metric == "psnr" else fidelity.ssim
            return float(score(image[kept], example.high[kept], valid=valid))
        on_luma = psnr_luma if metric == "psnr" else ssim_luma
        return float(on_luma(image, example.high, valid=example.valid, shave=self.scale))


def _images(
    example: Example,
    placed: PlacedPair,
    models: Sequence[ImageModel],
    groups: Sequence[ExpertGroup],
    stored: ExpertOutputs | CachedOutputs | None,
    scorer: _Scorer,
    *,
    tta: bool,
) -> Iterator[tuple[str, Tensor]]:
    """Every row's name and image: models in their order, then the experts of each group."""
    given: Tensor | None = None
    if stored is not None:
        height, width = example.high.shape[-2:]
        given = torch.from_numpy(stored.read(placed.pair, scorer.processor, size=(height, width)))
    for model in models:
        yield model.name, model.enlarged(example.low, experts=given if model.takes_experts else None, tta=tta)
    own = {model.name: model for model in models if model.expert_names}
    for group in groups:
        runs = next((own[name] for name in group.fused if name in own), None)
        images = runs.experts_of(example.low, tta=tta) if runs is not None else given
        if images is not None:
            yield from expert_images(group, images, scorer.errors(images, example))


def _stored(
    sets: Sequence[ImageSet], folder: Path | str | None, experts: Sequence[str], degradation: Degradation
) -> Mapping[str, ExpertOutputs | CachedOutputs]:
    """The stored images of every set, of the same experts each. Raises DataError."""
    if folder is None:
        return {}
    if is_cache(Path(folder)):
        return dict.fromkeys(
            (one.name for one in sets), cached_outputs(Path(folder), degradation=degradation, names=experts)
        )
    found = {one.name: find_expert_outputs(Path(folder), set_name=one.name, names=experts) for one in sets}
    if len({outputs.names for outputs in found.values()}) > 1:
        raise DataError(
            f"the sets in {folder} have images of different experts", fix="store the same experts for every set"
        )
    return found


def _groups(
    models: Sequence[ImageModel], stored: Mapping[str, ExpertOutputs | CachedOutputs], *, oracles: bool
) -> tuple[ExpertGroup, ...]:
    """Experts that get rows: those of fused models with `oracles`, and stored ones."""
    found = [
        group_of(model.expert_names, fused=[model.name], prefix=f"{model.name}: ", oracles=True)
        for model in models
        if model.expert_names and oracles
    ]
    fusing = [model.name for model in models if model.takes_experts]
    found += [group_of(one.names, fused=fusing, prefix="", oracles=oracles) for one in list(stored.values())[:1]]
    return tuple(found)


def _rules(
    protocol: str | None,
    metrics: Sequence[str] | None,
    models: Sequence[ImageModel],
    processor: Processor,
    scale: int,
) -> tuple[str, tuple[str, ...]]:
    """The protocol and its scores. Raises UnknownNameError and UsageError."""
    in_levels = processor.output == rgb_processor(scale).output
    protocol = protocol or ("rgb" if in_levels else "bands")
    if protocol not in PROTOCOLS:
        raise UnknownNameError("protocol of images", protocol, PROTOCOLS)
    for name in metrics or ():
        if name not in SCORES:
            raise UnknownNameError("score of images", name, SCORES)
    if protocol != "bands" and not in_levels:
        raise UsageError(
            f"the protocol {protocol} is of red, green and blue in levels, and the models give "
            f"{', '.join(processor.output.names)}",
            fix="leave --protocol out, or choose bands",
        )
    others = [model.name for model in models if model.checkpoint is not None]
    if protocol == "y" and others:
        raise UsageError(
            f"the protocol y enlarges luma alone, and {', '.join(others)} takes red, green and blue",
            fix=f"choose --protocol rgb; y is for {BICUBIC}",
        )
    return protocol, tuple(metrics or PROTOCOLS[protocol])


def _check_experts(models: Sequence[ImageModel], outputs: Path | str | None, protocol: str) -> None:
    if outputs is not None and protocol == "y":
        raise UsageError("the protocol y enlarges luma alone, and experts give colours", fix="choose --protocol rgb")
    waiting = [model.name for model in models if model.takes_experts]
    if waiting and outputs is None:
        raise UsageError(
            f"{', '.join(waiting)} fuses the images of experts, and none are given",
            fix="name the folder of their stored images: --expert-outputs DIR",
        )


def _conditions(
    protocol: str, scale: int, levels: int, sets: Sequence[ImageSet], *, split: str, tta: bool
) -> dict[str, str]:
    made = sum(placed.pair.low is None for one in sets for placed in one.pairs)
    count = sum(len(one.pairs) for one in sets)
    made_words = f"made by bicubic shrinking, {f'rounded to {levels} steps' if levels else 'not rounded'}"
    if protocol == "y":
        made_words = "luma, made by bicubic shrinking, not rounded"
    said = {
        "rgb": "on luma of images in 8 bits",
        "y": "on luma in 8 bits, which alone is enlarged",
        "bands": "over all bands, peak 1, not rounded",
    }[protocol]
    return {
        "Sets": ", ".join(f"{one.name} ({len(one.pairs)})" for one in sets),
        "Split": split,
        "Scale": str(scale),
        "Low resolution": made_words
        if made == count
        else "from disk"
        if made == 0
        else f"{made} of {count} {made_words}",
        "PSNR": f"{said}, {scale} pixels a side not scored; decibels are averaged over images",
        "SSIM": "11 x 11 Gaussian, sigma 1.5, whole windows only",
        "Self-ensemble": "eight flips and turns" if tta else "none",
    }


def _kept(shave: int, image: Tensor) -> tuple[slice, slice, slice]:
    """What of (band, y, x) is scored."""
    height, width = image.shape[-2:]
    return (slice(None), slice(shave, max(shave, height - shave)), slice(shave, max(shave, width - shave)))
