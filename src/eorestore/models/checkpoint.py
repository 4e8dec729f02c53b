"""A checkpoint folder: written whole or not at all, checked by hash when read; never executes code."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from eorestore import __version__
from eorestore.errors import BandError, CheckpointError, UnitError, UsageError, WriteError
from eorestore.models.catalogue import CONFIG_FILE, FORMAT, WEIGHTS_FILE, SizeRule, read_config
from eorestore.models.expert_facts import ExpertFacts, joined_rule
from eorestore.models.model import Model
from eorestore.models.settings import settings_to_dict
from eorestore.models.table import build_model, model_name
from eorestore.processing import Processor

_log = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
CARD_FILE = "README.md"
EXAMPLE_FILE = "example.safetensors"
PREVIEW_FILE = "preview.png"
TOLERANCE = 1e-4  # largest difference of a normalised value between two machines that compute in float32


@dataclass(frozen=True)
class Checkpoint:
    """A model in eval mode, its processor, the folder's `config.json` and the SHA-256 of the weights."""

    model: Model
    processor: Processor
    config: dict[str, Any]
    sha256: str


@dataclass(frozen=True)
class CheckReport:
    """What `check_checkpoint` saw; `example_error` is None for a folder without an example."""

    folder: Path
    sha256: str
    parameters: int
    example_error: float | None


def save_checkpoint(
    folder: Path | str,
    model: Model,
    processor: Processor,
    *,
    task: str,
    provenance: Mapping[str, Any],
    tile: int,
    overlap: int,
    example: Mapping[str, Tensor] | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str | None = None,
    preview: bytes | None = None,
    experts: Sequence[ExpertFacts] = (),
) -> Path:
    """Write a checkpoint folder; it appears, or replaces an older checkpoint, when it is complete.

    Args:
        folder: where it shall stand.
        model: weights and settings; its state is not changed.
        processor: saved as JSON, so that the model is never met without it.
        task: name of the task that it was trained for.
        provenance: plain values: commit, preset, hashes of the data, seed.
        tile: side of the tiles that it restores a scene with, in input pixels.
        overlap: of neighbouring tiles, in input pixels.
        example: normalised inputs by forward keyword, with batch axis; stored with the output they give.
        metrics: plain values for `metrics.json`.
        card: text of the model card; None writes a short one.
        preview: a PNG that shows what the model does.
        experts: what the model fuses; the size rule is then that of all together.

    Returns:
        The folder.

    Raises:
        WriteError: it cannot be written, or something that is no checkpoint stands there.
    """
    folder = Path(folder)
    rule = SizeRule(**{name: getattr(model, name) for name in SizeRule.__dataclass_fields__})
    weights = safetensors.torch.save(
        {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    )
    config = {
        "format": FORMAT,
        "eorestore": __version__,
        "model": model_name(model),
        "settings": settings_to_dict(model.settings),
        "task": task,
        "processor": processor.to_json(),
        "inputs": [key for key in processor.inputs if key in inspect.signature(model.forward).parameters],
        "optional_inputs": list(model.optional_inputs),
        "extras": dict(model.extras),
        "tile": tile,
        "overlap": overlap,
        **(joined_rule(rule, experts) if experts else asdict(rule)),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "provenance": dict(provenance),
        **({"experts": [asdict(one) for one in experts]} if experts else {}),
    }
    files = {
        CONFIG_FILE: _json(config),
        WEIGHTS_FILE: weights,
        METRICS_FILE: _json(dict(metrics or {})),
        CARD_FILE: (card or _card(config, metrics or {})).encode(),
    }
    if example is not None:
        files[EXAMPLE_FILE] = _example(model, example)
    if preview is not None:
        files[PREVIEW_FILE] = preview
    _put_in_place(folder, files)
    return folder


def save_adapted(
    folder: Path | str, model: Model, processor: Processor, *, config: Mapping[str, Any], adapted: Mapping[str, Any]
) -> Path:
    """A checkpoint of weights that were adapted to a scene; task, tiles and provenance are those it came from.

    config: of the checkpoint that was adapted. adapted: plain values that say to what and how; in the provenance.
    The calibration of sigma is left out, since it was fitted for other weights. Raises WriteError.
    """
    provenance = {**config["provenance"], "adapted_from": config["sha256"], "adapted": dict(adapted)}
    return save_checkpoint(
        folder,
        model,
        processor,
        task=config["task"],
        provenance=provenance,
        tile=config["tile"],
        overlap=config["overlap"],
    )


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """The model, processor and configuration of a checkpoint folder.

    Raises:
        CheckpointError: a file is missing or corrupt, the format is foreign, the hash of the weights is wrong,
            the weights are no safetensors or do not fit the settings.
        ConfigError: settings that the model does not know.
        UnknownNameError: a model that this version does not know.
    """
    folder = Path(folder)
    config = read_config(folder)
    model = build_model(config["model"], config["settings"])
    try:
        model.load_state_dict(_read_weights(folder / WEIGHTS_FILE, config["sha256"]))
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: weights and settings differ: {line}", fix=_AGAIN) from None
    try:
        processor = Processor.from_json(config["processor"])
    except (KeyError, TypeError, ValueError, AttributeError, BandError, UnitError) as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: processor: {error!r}", fix=_AGAIN) from None
    return Checkpoint(model.eval(), processor, config, config["sha256"])


def write_calibration(folder: Path | str, calibration: Mapping[str, Any]) -> None:
    """Add to a checkpoint what makes its `sigma` honest, in place of an older one; weights and all else stay.

    Args:
        folder: a checkpoint of a model that gives `sigma`.
        calibration: `level`, the share of pixels that the interval is to hold (0.9); `scale`, one factor for every
            output band; `places`, names of those that it was fitted on; more plain values may stand beside them. The
            meaning of a factor: image +- z * scale * sigma is the interval of `level`, where z is the standard normal
            quantile of (1 + level) / 2, 1.645 for 0.9. A conformal factor q of |error| / sigma gives scale = q / z.

    Raises:
        CheckpointError: no checkpoint.
        UsageError: a calibration that does not fit the model.
        WriteError: `config.json` cannot be replaced.
    """
    folder = Path(folder)
    config = read_config(folder)
    bands = [band["name"] for band in config["processor"]["output"]]
    level, scale, places = (calibration.get(key) for key in ("level", "scale", "places"))
    if not isinstance(level, float) or not 0 < level < 1:
        raise UsageError(f"a calibration for the level {level!r}", fix="give a share between 0 and 1, such as 0.9")
    if not isinstance(scale, list) or len(scale) != len(bands) or not all(map(_is_factor, scale)):
        raise UsageError(
            f"a calibration with the scale {scale!r}",
            fix=f"give {len(bands)} positive numbers, one for each of {', '.join(bands)}",
        )
    if not isinstance(places, list) or not all(isinstance(place, str) for place in places):
        raise UsageError(f"a calibration on the places {places!r}", fix="give a list of their names")
    if "sigma" not in config.get("extras", {}):
        raise UsageError(f"the model in {folder} gives no sigma", fix="calibrate one that does")
    path = folder / CONFIG_FILE
    stored = json.loads(path.read_text(encoding="utf-8"))
    temporary = path.with_name(f".{CONFIG_FILE}.partial")
    try:
        temporary.write_bytes(_json(stored | {"calibration": dict(calibration)}))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(f"cannot write {path}: {error.strerror or error}", fix="check its permissions") from None


def check_checkpoint(folder: Path | str) -> CheckReport:
    """Load the checkpoint and compute its example again.

    Raises:
        CheckpointError: as `load_checkpoint`; or the example comes out differently, or does not fit the model.
    """
    folder = Path(folder)
    checkpoint = load_checkpoint(folder)
    error = None
    if (folder / EXAMPLE_FILE).is_file():
        stored = _tensors((folder / EXAMPLE_FILE).read_bytes(), folder / EXAMPLE_FILE)
        if "output" not in stored:
            raise CheckpointError(f"{folder / EXAMPLE_FILE} holds no output", fix=_AGAIN)
        inputs = {name.removeprefix("input."): value for name, value in stored.items() if name != "output"}
        try:
            error = float((_run(checkpoint.model, inputs) - stored["output"]).abs().max())
        except (RuntimeError, TypeError, IndexError) as cause:
            raise CheckpointError(
                f"{folder / EXAMPLE_FILE} is of another version: {str(cause).splitlines()[0]}", fix=_AGAIN
            ) from cause
        if not error <= TOLERANCE:
            raise CheckpointError(
                f"{folder}: the example comes out {error:.3g} away from what is stored",
                fix="update eorestore and torch; if it stays, copy the checkpoint again",
            )
    return CheckReport(folder, checkpoint.sha256, checkpoint.config["parameters"], error)


_AGAIN = "copy the checkpoint folder again, or write it anew by training"


def _is_factor(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _read_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}", fix=_AGAIN) from None
    # The layout of a safetensors file: eight bytes with the length of a JSON header, then that header.
    if data[8:9] != b"{":
        raise CheckpointError(f"{path} is no safetensors file; pickles and other formats are never loaded", fix=_AGAIN)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CheckpointError(
            f"the hash is wrong: {path} has sha256 {found[:12]}..., config.json says {sha256[:12]}...", fix=_AGAIN
        )
    return _tensors(data, path)


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is corrupt: {error}", fix=_AGAIN) from None


def _example(model: Model, inputs: Mapping[str, Tensor]) -> bytes:
    stored = {f"input.{name}": value.detach().cpu().float() for name, value in inputs.items()}
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    was_training = model.training
    output = _run(model.eval(), {name: value.to(device) for name, value in inputs.items()})
    model.train(was_training)
    stored["output"] = output.cpu().float()
    return safetensors.torch.save({name: value.contiguous() for name, value in stored.items()})


def _run(model: Model, inputs: Mapping[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        image: Tensor = model(**inputs).image
    return image


def _put_in_place(folder: Path, files: Mapping[str, bytes]) -> None:
    if folder.exists() and not (folder.is_dir() and ((folder / CONFIG_FILE).is_file() or not any(folder.iterdir()))):
        raise WriteError(f"{folder} stands there and is no checkpoint", fix="choose another folder, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as beside:
            new, old = Path(beside) / "new", Path(beside) / "old"
            new.mkdir()
            for name, data in files.items():
                (new / name).write_bytes(data)
            if folder.exists():
                folder.rename(old)
            try:
                new.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    except OSError as error:
        raise WriteError(
            f"cannot write the checkpoint {folder}: {error.strerror or error}",
            fix="check the path, its permissions and the free space",
        ) from None
    _log.info("wrote checkpoint %s", folder)


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def _card(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    inputs = config["processor"]["inputs"]
    rows = [f"- {key}: {', '.join(band['name'] for band in bands)}" for key, bands in inputs.items()]
    scores = [f"- {key}: {value}" for key, value in metrics.items()] or ["- none recorded"]
    origin = [f"- {key}: {value}" for key, value in config["provenance"].items()] or ["- none recorded"]
    return "\n".join(
        [
            f"# {config['model']} for {config['task']}",
            "",
            f"{config['parameters']:,} parameters, written by eorestore {config['eorestore']}.",
            "",
            *("## Input bands", "", *rows, ""),
            *("## Scores", "", *scores, ""),
            *("## Origin", "", *origin, ""),
        ]
    )
