"""How a scene is learned and enlarged, as YAML holds it; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from eorestore.config import Count, Positive, Share, parse_settings
from eorestore.errors import UnknownNameError, UsageError
from eorestore.models.catalogue import PRESET_FOLDERS
from eorestore.plain_values import lay_over, override_pairs, read_yaml

Rate = Annotated[float, Gt(0)]
NAME = "zero-shot"
SCALES = (2, 3, 4, 8, 16)
_CROPS = {2: 64, 3: 64, 4: 64, 8: 48, 16: 32}
_STEPS = {2: 15_000, 3: 15_000, 4: 15_000, 8: 20_000, 16: 25_000}
_PATCHES = {2: 128, 3: 128, 4: 128, 8: 96, 16: 64}


@dataclass(frozen=True)
class NetworkRecipe:
    """The network and the weights it begins with.

    start: a shipped model, run or checkpoint; `auto` is the shipped one of the stage's scale; `none` draws them.
    settings: of `zero-shot-sr`, laid over those of the start, which must then have no weights of another shape.
    gradual: enlarge in stages of 2 (3 at x3) by one network; otherwise at once, by a network of the whole scale.
    """

    start: str = "auto"
    settings: dict[str, Any] = field(default_factory=dict)
    gradual: bool = True


@dataclass(frozen=True)
class LearningRecipe:
    """How the network learns from the scene.

    steps: updates; 0 leaves the weights as they came, -1 is the plan's number for the scale (15,000 to 25,000).
    seconds: no update begins after so many, 0 for no limit. crop: side of coarse crops in pixels, 0 for the plan's
    number (64 to 32), both at most half of the scene's shorter side. batch: crops an update.
    learning_rate: of AdamW, with a cosine down to `final_rate` of it. gradient_clip: largest norm, 0 for none.
    l1, edge, high_frequency: weights of the loss, see `losses.detail`. mse: weight of the mean squared error beside.
    through_projection: the loss is of the projected image. degradation: of the coarse crops, the `sensor`'s or the
    `plan`'s. noise: standard deviation added to coarse crops, in the image's own unit. scales, least_scale,
    busy_share, jitter: see `data.single_scene`.
    held_back: share of the scene that is no target and judges: when to stop, and whether the network is used at all.
    judge_every: steps between judgements, 0 for one at the end. patience: judgements without `least_gain` until it
    stops. explosion: the loss may be so many times its first value, three times in a row, until it stops.
    precision: `auto` is bf16 where the processor multiplies it by itself.
    """

    steps: Annotated[int, Ge(-1)] = 150
    seconds: Annotated[float, Ge(0)] = 0.0
    crop: Count = 48
    batch: Positive = 4
    learning_rate: Rate = 3e-4
    final_rate: Share = 0.02
    warmup: Count = 5
    weight_decay: Annotated[float, Ge(0)] = 1e-4
    gradient_clip: Annotated[float, Ge(0)] = 1.0
    l1: Annotated[float, Ge(0)] = 1.0
    edge: Annotated[float, Ge(0)] = 0.0
    high_frequency: Annotated[float, Ge(0)] = 0.0
    mse: Annotated[float, Ge(0)] = 0.0
    through_projection: bool = True
    degradation: Literal["sensor", "plan"] = "sensor"
    noise: Annotated[float, Ge(0)] = 0.0
    scales: Positive = 4
    least_scale: Annotated[float, Gt(0), Le(1)] = 0.6
    busy_share: Share = 0.7
    jitter: Share = 0.0
    held_back: Share = 0.2
    judge_every: Count = 50
    patience: Positive = 4
    least_gain: Share = 0.002
    explosion: Rate = 10.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    def __post_init__(self) -> None:
        if not self.l1 + self.edge + self.high_frequency + self.mse:
            raise ValueError("l1, edge, high_frequency and mse are all 0: nothing would be learned")


@dataclass(frozen=True)
class InferenceRecipe:
    """How the scene goes through the network.

    sensor: `mean`, `bicubic`, `gaussian:0.3`, or a .npy file with a kernel: what the input is made of.
    project: whether the result agrees with the input. ensemble: of the eight flips and turns.
    passes: `whole` tiles, `overlapping` patches with Gaussian weights, or randomly `shifted` ones.
    patch, overlap: side of a patch in pixels, 0 for the plan's number (128 to 64), and the share that neighbours have
    in common. shifts, offset: number of shifted passes, and the largest shift as a share of the patch.
    sharpen: strength of the unsharp mask at the end, 0 for none: it breaks the agreement with the input.
    normalize: `percentile` scales by the 1st and 99th percentile of the scene, `absolute` by `kelvin`; neither clips.
    margin: share of the error by which the network must beat projected bicubic enlargement where it is judged;
    otherwise the scene is enlarged by the latter. -1 uses the network in any case.
    """

    sensor: str = "mean"
    project: bool = True
    ensemble: Literal["none", "mean", "median"] = "mean"
    passes: Literal["whole", "overlapping", "shifted"] = "whole"
    patch: Count = 0
    overlap: Annotated[float, Ge(0), Le(0.5)] = 0.28
    shifts: Positive = 6
    offset: Annotated[float, Ge(0), Le(0.5)] = 0.33
    sharpen: Annotated[float, Ge(0)] = 0.0
    normalize: Literal["percentile", "absolute"] = "percentile"
    kelvin: tuple[float, float] = (200.0, 320.0)
    margin: Annotated[float, Ge(-1), Le(1)] = 0.005

    def __post_init__(self) -> None:
        if not self.kelvin[0] < self.kelvin[1]:
            raise ValueError(f"kelvin is (least, largest), found {self.kelvin}")


@dataclass(frozen=True)
class ZeroShotRecipe:
    """Everything about one zero-shot enlargement but the scene and its scale."""

    name: str
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    learning: LearningRecipe = field(default_factory=LearningRecipe)
    inference: InferenceRecipe = field(default_factory=InferenceRecipe)
    seed: Count = 0

    def settled(self, scale: int, size: tuple[int, int]) -> ZeroShotRecipe:
        """The recipe with its automatic numbers filled in for a scale and a scene of (height, width) pixels.

        Raises UsageError for a scale that it does not have.
        """
        if scale not in SCALES:
            raise UsageError(
                f"--scale {scale} is not offered", fix=f"choose one of {', '.join(str(known) for known in SCALES)}"
            )
        learning = self.learning
        steps = _STEPS[scale] if learning.steps < 0 else learning.steps
        crop = min(learning.crop or _CROPS[scale], max(min(size) // 2, 1))
        patch = self.inference.patch or _PATCHES[scale]
        return replace(
            self,
            learning=replace(learning, steps=steps, crop=crop),
            inference=replace(self.inference, patch=patch),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as YAML holds them."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


@dataclass(frozen=True)
class SceneTask:
    """What is asked for of one scene. recipe: with its automatic numbers filled in, see `ZeroShotRecipe.settled`."""

    recipe: ZeroShotRecipe
    scale: int

    def settled(self, size: tuple[int, int]) -> SceneTask:
        """The task for a scene of (height, width) pixels. Raises UsageError."""
        return SceneTask(self.recipe.settled(self.scale, size), self.scale)

    def to_json(self) -> dict[str, Any]:
        """Plain values: what must be the same for a run to be continued."""
        return {"recipe": self.recipe.to_dict(), "scale": self.scale}


def recipe_names() -> tuple[str, ...]:
    """Names of the shipped recipes."""
    return tuple(sorted(path.stem for path in _folder().iterdir() if path.suffix == ".yaml"))


def load_recipe(name: str, overrides: Mapping[str, object] | Sequence[str] = ()) -> ZeroShotRecipe:
    """A shipped recipe by name, or a YAML file, with overrides such as `learning.steps=50` or `steps=50`.

    A key without its group is looked up in all groups. Raises UnknownNameError, ConfigError.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise UsageError(f"no recipe at {path}", fix=f"give a YAML file or one of {', '.join(recipe_names())}")
    else:
        path = _folder() / f"{name}.yaml"
        if not path.is_file():
            raise UnknownNameError("recipe", name, recipe_names())
    values = read_yaml(path.read_text(encoding="utf-8"), source=str(path.name))
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no keys", fix="start from one of the files in presets/zero-shot")
    for key, value in override_pairs(overrides):
        lay_over(values, _grouped(key), value)
    return parse_settings(ZeroShotRecipe, values, source=path.name)


def _grouped(key: str) -> str:
    groups = (("network", NetworkRecipe), ("learning", LearningRecipe), ("inference", InferenceRecipe))
    head = key.split(".")[0]
    for group, kind in groups:
        if head in kind.__dataclass_fields__:
            return f"{group}.{key}"
    return key


def _folder() -> Path:
    return next(
        (folder / "zero-shot" for folder in PRESET_FOLDERS if folder.is_dir()), PRESET_FOLDERS[-1] / "zero-shot"
    )
