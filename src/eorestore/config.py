"""One run's YAML as frozen dataclasses; an unknown key fails, all errors are named at once; knows no model.

```yaml
name: glf-cr-compact
task: cloud-removal
model: {name: glf-cr, settings: {channels: 32}}
losses: {l1: 1.0}
training: {steps: 2000}
```
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MinLen

from eorestore.errors import ConfigError
from eorestore.plain_values import flattened, lay_over, override_pairs, read_yaml

_T = TypeVar("_T")

Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Le(1)]
Tracker = Literal["tensorboard", "wandb"]

# keys of data that came after the first hashes
_LATER_DATA = ("low_levels", "mixup", "repeat", "cache", "mask_all", "vary_sky")


@dataclass(frozen=True)
class ModelConfig:
    """A name in the table of models and the settings that it is built with."""

    name: Annotated[str, MinLen(1)]
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSettings:
    """Where samples come from.

    manifest: CSV of scenes with place and split, or a folder of image pairs; root: the folder its paths start from.
    pairs: clouds of the manifest's scenes: `simulated` over clear ones, or `real`, where a row has a cloudy scene and a
        reference. Synthetic scenes always have simulated ones.
    synthetic: generated scenes of `synthetic_size` x `synthetic_size` pixels.
    crop: side of a training sample in input pixels. crops_per_scene: samples drawn of a scene before the next one.
    cover: least and largest share of simulated cloud. cloud_size_px: least and largest size of a cloud.
    masks: a file or folder of real cloud masks; None for fractal noise.
    drop_b10: share of samples without B10, so that Level-2A scenes are met in training.
    drop_sar, drop_vh: shares of scenes without SAR and with VV alone, for models that can do without.
    sar_shift_px: SAR of training samples is moved by up to so much along each axis, as a bad registration does.
    recolour: share of samples whose ground takes other colours and another contrast, so that few places teach no
        network what the ground looks like.
    mask_all: share of scenes of which every pixel is to be restored, as where all lies in shadow or under haze.
    vary_sky: share of skies whose clouds and shadows have other colours than those measured.
    low_levels: of image pairs without a low-resolution image: steps that it is rounded to, 255 for 8 bits, 0 for none.
    mixup: share of crops of images that are blended with another one.
    repeat: times an epoch meets every image, in place of items_per_epoch; 0 for items_per_epoch.
    cache: folder with the experts' images, as `eorestore cache` makes it; without one the experts run on every crop.
    skies: simulated scenes kept in memory and met again, 0 for ever new ones. workers: loaders, each has its own.
    """

    manifest: str | None = None
    root: str | None = None
    pairs: Literal["simulated", "real"] = "simulated"
    synthetic: Count = 0
    synthetic_size: Positive = 256
    crop: Positive = 128
    crops_per_scene: Positive = 1
    cover: tuple[Share, Share] = (0.1, 0.8)
    cloud_size_px: tuple[Positive, Positive] = (20, 150)
    masks: str | None = None
    drop_b10: Share = 0.0
    drop_sar: Share = 0.0
    drop_vh: Share = 0.0
    sar_shift_px: Annotated[float, Ge(0)] = 0.5
    recolour: Share = 0.0
    mask_all: Share = 0.0
    vary_sky: Share = 0.0
    skies: Count = 0
    items_per_epoch: Positive = 1000
    validation_items: Positive = 32
    workers: Count = 0
    low_levels: Count = 255
    mixup: Share = 0.0
    repeat: Count = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} is (least, largest), found {pair}"
            for name, pair in (("cover", self.cover), ("cloud_size_px", self.cloud_size_px))
            if pair[0] > pair[1]
        ]
        if self.manifest is None and self.synthetic == 0:
            problems.append("no data: give manifest, or synthetic scenes, or both")
        if self.drop_sar + self.drop_vh > 1:
            problems.append(f"drop_sar {self.drop_sar} and drop_vh {self.drop_vh} are more than all scenes")
        if self.pairs == "real" and self.manifest is not None:
            simulated = ("synthetic", "recolour", "mask_all", "vary_sky", "skies", "masks")
            foreign = [name for name in simulated if getattr(self, name)]
            problems += [f"{name} is for simulated clouds, and pairs is real" for name in foreign]
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights are found.

    steps: optimiser updates; each sees accumulate x batch items.
    learning_rate: reached after `warmup` steps, then `schedule` down to `final_rate` x learning_rate.
    schedule: `cosine`, `constant`, or `step` (times step_factor at every step_every updates).
    gradient_clip: largest gradient norm, 0 for no clipping. ema: decay of the averaged weights, 0 for none;
    it rises from 0.18 as (1 + updates) / (10 + updates) until it is reached.
    precision: `bf16` is mixed precision. channels_last: memory format; faster on CPU and GPU.
    checkpoint_every, checkpoint_minutes: the state is saved at whichever comes first; 0 minutes for never.
    keep_best: checkpoints kept by the validation score `best_by`, of which the `best_is` one wins.
    trackers: besides metrics.jsonl, which is always written. pictures: validation items drawn.
    """

    steps: Positive = 1000
    batch: Positive = 4
    accumulate: Positive = 1
    learning_rate: Annotated[float, Gt(0)] = 1e-4
    warmup: Count = 0
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    final_rate: Share = 0.0
    step_every: Positive = 1000
    step_factor: Annotated[float, Gt(0), Le(1)] = 0.5
    weight_decay: Annotated[float, Ge(0)] = 0.0
    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.999)
    gradient_clip: Annotated[float, Ge(0)] = 1.0
    ema: Annotated[float, Ge(0), Lt(1)] = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    checkpoint_every: Positive = 500
    checkpoint_minutes: Annotated[float, Ge(0)] = 10.0
    validate_every: Positive = 500
    keep_best: Positive = 1
    best_by: str = "loss"
    best_is: Literal["lowest", "highest"] = "lowest"
    log_every: Positive = 10
    trackers: tuple[Tracker, ...] = ()
    pictures: Count = 4

    def __post_init__(self) -> None:
        if self.warmup > self.steps:
            raise ValueError(f"warmup {self.warmup} is longer than steps {self.steps}")


@dataclass(frozen=True)
class AdversaryConfig:
    """A patch discriminator that is trained beside the model.

    weight: of the adversarial term in the model's loss. kind: of both losses, see losses.adversarial.
    learning_rate: the discriminator's, on the schedule of training. channels, layers: see models.patch_discriminator.
    condition: whether it sees `cloudy` and `sar` too, as the model does. start_step: updates taken before it comes in.
    """

    weight: Annotated[float, Gt(0)]
    learning_rate: Annotated[float, Gt(0)] = 2e-4
    channels: Positive = 64
    layers: Positive = 3
    kind: Literal["hinge", "bce", "lsgan"] = "bce"
    condition: bool = True
    start_step: Count = 0


@dataclass(frozen=True)
class LossStage:
    """Losses that take the place of those before.

    start: share of `training.steps` after which they do. losses: weight by name, all that count from there on.
    """

    start: Annotated[float, Gt(0), Lt(1)]
    losses: Annotated[dict[str, Annotated[float, Gt(0)]], MinLen(1)]


@dataclass(frozen=True)
class ExpertConfig:
    """A frozen super-resolution network.

    source: a shipped model, run or checkpoint of ours, a file of weights that spandrel knows, or, in a cache only, a
        pattern of folders with the images that it gave, as in `outputs/*/NAME`.
    features: the module that has its features, with `:input` behind it for what enters it; None for the known place.
    sha256: of its weights, if no other will do. device, precision: where and how it runs.
    """

    source: Annotated[str, MinLen(1)]
    features: str | None = None
    sha256: str | None = None
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class RunConfig:
    """Everything that a training needs.

    processor: a name in the table of processors. losses: weight by name in the task's table.
    stages: losses that take over later, in order; without any, `losses` hold throughout.
    tile, overlap: how the trained model cuts a scene, in input pixels. gpu: `wanted` warns where there is none.
    start: a run, checkpoint or shipped model whose weights the network begins with, as far as they fit.
    experts: frozen networks whose images the model fuses; see `data.cache`.
    """

    name: Annotated[str, MinLen(1)]
    task: str
    model: ModelConfig
    data: DataSettings
    losses: Annotated[dict[str, Annotated[float, Gt(0)]], MinLen(1)]
    training: TrainingSettings = field(default_factory=TrainingSettings)
    adversary: AdversaryConfig | None = None
    processor: str = "glf-cr"
    seed: Count = 0
    tile: Positive = 256
    overlap: Count = 64
    gpu: Literal["wanted", "not needed"] = "wanted"
    start: str | None = None
    stages: tuple[LossStage, ...] = ()
    experts: tuple[ExpertConfig, ...] = ()

    def __post_init__(self) -> None:
        starts = [stage.start for stage in self.stages]
        if starts != sorted(set(starts)):
            raise ValueError(f"stages start one after another, found {', '.join(f'{start:g}' for start in starts)}")
        if self.stages and self.training.best_by == "loss":
            raise ValueError("training.best_by is loss, which means another thing in every stage; name a metric")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a preset holds them; without later keys that are not given, so that old hashes hold."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        for key in _LATER_DATA:
            if plain["data"][key] == getattr(DataSettings, key):
                del plain["data"][key]
        later: tuple[tuple[str, object], ...] = (("start", None), ("stages", []), ("experts", []))
        return {key: value for key, value in plain.items() if (key, value) not in later}

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Every loss that some stage has."""
        return tuple(dict.fromkeys([*self.losses, *(name for stage in self.stages for name in stage.losses)]))

    @property
    def hash(self) -> str:
        """SHA-256 of the values; equal configurations hash alike, whatever the order of their keys."""
        return config_hash(self.to_dict())


def config_hash(values: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of plain values with sorted keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def load_config(path: Path | str, overrides: Mapping[str, object] | Sequence[str] = ()) -> RunConfig:
    """The preset at `path`, with `overrides` laid over it: {"training.steps": 10} or ["training.steps=10"].

    Raises ConfigError with all that is wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"no preset at {path}", fix="give the path of a YAML file with -c")
    values = read_yaml(path.read_text(encoding="utf-8"), source=str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no keys", fix="start from one of the files in presets/")
    for key, value in override_pairs(overrides):
        lay_over(values, key, value)
    return parse_settings(RunConfig, values, source=str(path))


def parse_settings(kind: type[_T], values: Mapping[str, Any], *, source: str) -> _T:
    """`values` as the frozen dataclass `kind`, with its nested dataclasses.

    Nothing is coerced but int to float and list to tuple. Raises ConfigError with all that is wrong.
    """
    from pydantic import TypeAdapter, ValidationError

    known, problems = _known_keys(kind, values)
    problems += [
        f"{key} is {value}, not a finite number"
        for key, value in flattened(values)
        if isinstance(value, float) and not math.isfinite(value)
    ]
    try:
        # JSON is the only form that is strict about types and still takes a list for a tuple
        settings = TypeAdapter(kind).validate_json(json.dumps(known), strict=True)
    except ValidationError as error:
        problems += [_describe(item) for item in error.errors(include_url=False, include_context=False)]
    except TypeError as error:
        problems.append(f"{error}; use numbers, texts, lists and keys")
    if problems:
        these = "it" if len(problems) == 1 else f"all {len(problems)}"
        fix = f"correct {these} in the file or with -s key=value"
        raise ConfigError(f"{source}: {'; '.join(problems)}", fix=fix)
    return settings


def _known_keys(kind: type, values: Mapping[str, Any], prefix: str = "") -> tuple[dict[str, Any], list[str]]:
    """`values` without the keys that `kind` lacks, at every level, and a complaint for each of those.

    Validation by pydantic would drop them in silence, or, told to forbid them, leave the rest unchecked.
    """
    hints = typing.get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind)]
    kept: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in values.items():
        hint = hints.get(key)
        nested = next(filter(dataclasses.is_dataclass, (hint, *typing.get_args(hint))), None)  # alone or as X | None
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
            guess = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
            problems.append(f"unknown key {prefix}{key} ({guess})")
        elif isinstance(nested, type) and isinstance(value, Mapping):
            kept[key], below = _known_keys(nested, value, f"{prefix}{key}.")
            problems += below
        elif isinstance(nested, type) and isinstance(value, list | tuple):
            kept[key] = list(value)
            for number, item in enumerate(value):
                if isinstance(item, Mapping):
                    kept[key][number], below = _known_keys(nested, item, f"{prefix}{key}.{number}.")
                    problems += below
        else:
            kept[key] = value
    return kept, problems


def _describe(item: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{where} is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    found = "" if isinstance(item["input"], dict) else f", found {item['input']!r}"
    return f"{where}: {message[:1].lower()}{message[1:]}{found}"
