"""What a model's name means: shipped weights, a baseline, a preset, a run or a folder. Never imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from eorestore.errors import CheckpointError, MissingError, UnknownNameError, UsageError

FORMAT = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_FOLDER = Path(__file__).parents[1] / "weights"
PRESET_FOLDERS = (Path(__file__).parents[1] / "presets", Path(__file__).parents[3] / "presets")
RUNS_FOLDER = Path("runs")
RUN_CHECKPOINTS = ("best", "last")

ALIASES: Mapping[str, str] = {"cloud": "clearview"}
"""Short names of the best shipped model of a task."""


@dataclass(frozen=True)
class SizeRule:
    """What the tiler must know of a model; the fields of the same names in Model."""

    scale: int = 1
    multiple_of: int = 1
    reach: int | None = 0
    phase: int = 1
    tiling: Literal["crop", "blend"] = "crop"
    needs_scene: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SizeRule:
        """The rule that a checkpoint's `config.json` holds; see `read_config`."""
        return cls(**{name: config[name] for name in cls.__dataclass_fields__})


BASELINES: Mapping[str, SizeRule] = {
    "identity": SizeRule(),
    "band-mean": SizeRule(needs_scene=True),
    "inpaint": SizeRule(needs_scene=True),
    "sar-regression": SizeRule(needs_scene=True),
    "smoothed-sar-regression": SizeRule(reach=18, needs_scene=True),
    "scene-estimate": SizeRule(reach=18, needs_scene=True),
    "bicubic": SizeRule(scale=4, reach=2),
    "bicubic-20m": SizeRule(multiple_of=2, reach=4, phase=2),
    "high-pass-injection": SizeRule(multiple_of=2, reach=7, phase=2, needs_scene=True),
}
"""Models without weights. The first four are what a cloud removal is compared with, `bicubic` what an enlargement is,
and the last two what sharpened bands are; the others are parts of our own."""

NEED_CLEAR_PIXELS = ("band-mean", "inpaint", "sar-regression", "smoothed-sar-regression")
"""Baselines that know nothing but the clear pixels of the scene."""


@dataclass(frozen=True)
class Resolved:
    """What a name stands for.

    kind: `checkpoint`, `baseline` or `preset`.
    name: what to call it in tags, logs and tables.
    path: the checkpoint folder or the preset file; None for a baseline.
    """

    kind: Literal["checkpoint", "baseline", "preset"]
    name: str
    path: Path | None


def resolve(name_or_path: str | Path) -> Resolved:
    """The model that a user means by a shipped name, an alias, a baseline, a run, a folder or a preset.

    A plain word is a name first; `./word` is always a path.

    Raises:
        UnknownNameError: a name that nothing has.
        UsageError: a name that could mean two things.
        MissingError: a shipped model whose weights are not in this installation.
        CheckpointError: a path that holds no checkpoint.
    """
    text = str(name_or_path)
    path = Path(text)
    if isinstance(name_or_path, Path) or text != path.name or text in ("", ".."):
        return _from_path(path)
    found = _from_name(text)
    local = [folder for folder in (path, RUNS_FOLDER / text) if folder.is_dir()]
    for folder in local:
        checkpoint = checkpoint_in(folder)
        if checkpoint is not None and not any(_same(checkpoint, other.path) for other in found):
            found.append(Resolved("checkpoint", text, checkpoint))
    if len(found) > 1:
        meanings = " and ".join(str(one.path or f"the baseline {one.name}") for one in found)
        raise UsageError(f"model {text!r} could mean {meanings}", fix="give a path, as in ./name, or rename one")
    if found:
        return found[0]
    if ALIASES.get(text, text) in ALIASES.values():
        raise MissingError(
            f"the weights of {ALIASES.get(text, text)} are not in this installation",
            fix=f"install a release of eorestore, or put the checkpoint at {WEIGHTS_FOLDER}",
        )
    preset = preset_names().get(text)
    if preset is not None:
        return Resolved("preset", text, preset)
    if local:
        raise _no_checkpoint(local[0])
    raise UnknownNameError("model", text, known_names())


def known_names() -> tuple[str, ...]:
    """Every name that `resolve` understands without looking at runs and folders."""
    return tuple(sorted({*ALIASES, *ALIASES.values(), *BASELINES, *shipped_names(), *preset_names()}))


def shipped_names() -> tuple[str, ...]:
    """Models whose weights lie in this installation."""
    if not WEIGHTS_FOLDER.is_dir():
        return ()
    return tuple(sorted(folder.name for folder in WEIGHTS_FOLDER.iterdir() if checkpoint_in(folder) == folder))


def preset_names() -> dict[str, Path]:
    """Presets by name: those of the installed package, else those of the repository."""
    for folder in PRESET_FOLDERS:
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def find_preset(name: str) -> Path:
    """The file of the preset called `name`. Raises UnknownNameError."""
    presets = preset_names()
    if name not in presets:
        raise UnknownNameError("preset", name, presets)
    return presets[name]


def checkpoint_in(folder: Path) -> Path | None:
    """`folder` if it is a checkpoint, its best one (the last before any is) if it is a run, else None."""
    for candidate in (folder, *(folder / name for name in RUN_CHECKPOINTS)):
        if (candidate / CONFIG_FILE).is_file() and (candidate / WEIGHTS_FILE).is_file():
            return candidate
    return None


def shipped_without(key: str) -> tuple[str, ...]:
    """Shipped models that also restore scenes in which the input `key`, or a band of it, is missing."""
    return tuple(name for name in shipped_names() if key in read_config(WEIGHTS_FOLDER / name)["optional_inputs"])


def read_config(folder: Path | str) -> dict[str, Any]:
    """The `config.json` of a checkpoint folder, checked for its format and its keys.

    Keys that came later are filled in: `optional_inputs` with none, `inputs` with all of the processor's.

    Raises:
        CheckpointError: no such folder or file, no JSON, a foreign format version, a key missing or of
            another type.
    """
    path = Path(folder) / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise _no_checkpoint(Path(folder)) from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}", fix=_COPY_AGAIN) from None
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise CheckpointError(
            f"{path} has format {found!r}; this version of eorestore reads format {FORMAT}",
            fix="use the version of eorestore that wrote it, or a newer one",
        )
    wrong = [key for key, kinds in _CONFIG_KEYS.items() if key not in config or type(config[key]) not in kinds]
    wrong += [key for key, kind in _LATER_KEYS.items() if key in config and type(config[key]) is not kind]
    if wrong:
        raise CheckpointError(f"{path}: missing or of the wrong type: {', '.join(wrong)}", fix=_COPY_AGAIN)
    return {"optional_inputs": [], "inputs": list(config["processor"].get("inputs", {})), **config}


_COPY_AGAIN = "copy the checkpoint folder again, or write it anew by training"
_CONFIG_KEYS: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "settings": (dict,),
    "task": (str,),
    "processor": (dict,),
    "tile": (int,),
    "overlap": (int,),
    "scale": (int,),
    "multiple_of": (int,),
    "phase": (int,),
    "reach": (int, type(None)),
    "tiling": (str,),
    "needs_scene": (bool,),
    "sha256": (str,),
    "parameters": (int,),
    "provenance": (dict,),
}
# inputs: keywords of the processor's inputs that forward takes. extras: bands of every extra map by name.
# experts: what the model fuses, see `models.expert_facts`.
# calibration: see `models.checkpoint.write_calibration`.
_LATER_KEYS: Mapping[str, type] = {
    "inputs": list,
    "optional_inputs": list,
    "extras": dict,
    "calibration": dict,
    "experts": list,
}


def _from_name(name: str) -> list[Resolved]:
    if name in BASELINES:
        return [Resolved("baseline", name, None)]
    name = ALIASES.get(name, name)
    if name in shipped_names():
        return [Resolved("checkpoint", name, WEIGHTS_FOLDER / name)]
    return []


def _from_path(path: Path) -> Resolved:
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return Resolved("preset", path.stem, path)
    checkpoint = checkpoint_in(path)
    if checkpoint is None:
        raise _no_checkpoint(path)
    return Resolved("checkpoint", path.resolve().name, checkpoint)


def _same(path: Path, other: Path | None) -> bool:
    return other is not None and path.resolve() == other.resolve()


def _no_checkpoint(folder: Path) -> CheckpointError:
    found = "no checkpoint" if folder.is_dir() else "no folder"
    return CheckpointError(
        f"{found} at {folder}",
        fix=f"name a folder with {CONFIG_FILE} and {WEIGHTS_FILE}; `eorestore model list` shows the names",
    )
