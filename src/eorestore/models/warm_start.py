"""The weights of a trained network as the beginning of another one; knows no training."""

from __future__ import annotations

import logging
from pathlib import Path

from eorestore.errors import ConfigError
from eorestore.models.catalogue import read_config, resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.model import Model

_log = logging.getLogger(__name__)


def start_from(model: Model, source: str) -> tuple[str, ...]:
    """Give `model` every tensor of `source` that it has under the same name and in the same shape, in place.

    So a network of a narrow latent begins with the layers of one with a wider latent, all but the two at the latent.

    Args:
        model: the network; what does not fit keeps its own weights.
        source: a run, checkpoint or shipped model, as `restore` takes it.

    Returns:
        Names of the tensors of `model` that kept their own weights; they are logged.

    Raises:
        ConfigError: the source is a network of another kind, or nothing of it fits.
        CheckpointError, UnknownNameError, MissingError: as a checkpoint raises them.
    """
    trained = load_checkpoint(_folder(source)).model
    if type(trained) is not type(model):
        raise ConfigError(
            f"start {source} is a {type(trained).__name__}, and the network to train a {type(model).__name__}",
            fix="start from a run of the same network",
        )
    own, theirs = model.state_dict(), trained.state_dict()
    fits = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
    if not fits:
        raise ConfigError(f"no tensor of {source} fits the network", fix="start from a run of like widths")
    left = tuple(name for name in own if name not in fits)
    model.load_state_dict(own | fits)
    _log.info("%d of %d tensors begin as in %s; new: %s", len(fits), len(own), source, ", ".join(left) or "none")
    return left


def start_hash(source: str) -> str:
    """SHA-256 of the weights of a run, checkpoint or shipped model. Raises as `start_from` does."""
    return str(read_config(_folder(source))["sha256"])


def _folder(source: str) -> Path:
    resolved = resolve(source)
    if resolved.path is None or resolved.kind != "checkpoint":
        raise ConfigError(f"start {source} is a {resolved.kind} and has no weights", fix="name a run or a checkpoint")
    return resolved.path
