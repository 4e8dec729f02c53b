"""Frozen super-resolution networks behind one call: ours by name, those of others by file; knows no fusion.

Files of others are read with spandrel (MIT), an optional package. Nothing is ever left out in silence: a file that is
not there, a key too many or too few, or a feature that no hook finds, raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eorestore.config import ExpertConfig
from eorestore.errors import CheckpointError, ConfigError, MissingError, UsageError
from eorestore.layers.reflection import reflect_pad
from eorestore.models.catalogue import read_config, resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.expert_facts import ExpertFacts, LoadedNetwork
from eorestore.models.foreign_experts import SUFFIXES, load_foreign
from eorestore.models.model import Model
from eorestore.models.weight_files import places, shown

OWN_FEATURES = "leave:input"
"""Where light-sr has its features: what enters the last convolution."""


class Watch:
    """What the module at a place of a network was given, `name:input`, or gave, by a forward hook."""

    def __init__(self, network: nn.Module, place: str, *, of: str) -> None:
        self._of, self._place = of, place
        self._found: list[object] = []
        name, _, side = place.partition(":")
        modules = dict(network.named_modules())
        if name not in modules or side not in ("", "input", "output"):
            known = [key for key, _ in network.named_children()]
            raise ConfigError(
                f"{of} has no module for its features at {place}",
                fix=f"name one of {', '.join(known)} or one inside, with :input behind it for what enters it",
            )

        def seen(_module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            self._found.append(inputs[0] if side == "input" else output)

        modules[name].register_forward_hook(seen)

    def take(self) -> Tensor:
        """The map (batch, channel, y, x) since the last time. Raises ConfigError where there is none, or not one."""
        found, self._found = self._found, []
        if len(found) != 1 or not isinstance(found[0], Tensor) or found[0].ndim != 4:
            raise ConfigError(
                f"{self._place} of {self._of} gives no map of features, or more than one",
                fix="name another module as its features",
            )
        return found[0].float()


class Expert(nn.Module):
    """One frozen network. Never clamps, never updates, pads what enters it by reflection and crops what leaves it."""

    def __init__(
        self, loaded: LoadedNetwork, *, enlarge: int, watch: Watch | None = None, device: str, precision: str
    ) -> None:
        super().__init__()
        self.network = loaded.network.to(device).eval().requires_grad_(requires_grad=False)
        self.facts, self.enlarge, self.device, self.precision = loaded.facts, enlarge, torch.device(device), precision
        self._call, self._watch = loaded.call, watch

    def train(self, mode: bool = True) -> Expert:  # noqa: ARG002 - the signature of nn.Module
        """Stays in eval mode: an expert is frozen."""
        super().train(mode=False)
        return self

    @torch.no_grad()
    def forward(self, low: Tensor) -> tuple[Tensor, Tensor | None]:
        """The image (batch, band, enlarge * y, enlarge * x) and the features (batch, channel, y, x), on low's device.

        Features of an internally padded grid are cropped, those of an enlarged one averaged. Raises UsageError for
        another number of bands, ConfigError where the features do not appear.
        """
        if low.shape[1] != self.facts.bands:
            raise UsageError(
                f"{self.facts.name} takes {self.facts.bands} bands and was given {low.shape[1]}",
                fix="give it as many bands, or fold them into groups",
            )
        height, width = low.shape[-2:]
        steps = self.enlarge // self.facts.scale
        given = low.to(self.device)
        if steps > 1:
            given = F.interpolate(given, scale_factor=steps, mode="bicubic", align_corners=False)
        with torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext():
            image = self._call(_padded(given, self.facts)).float()
        image = image[..., : self.enlarge * height, : self.enlarge * width].to(low.device)
        if self._watch is None:
            return image, None
        features = self._watch.take()[..., : steps * height, : steps * width]
        if features.shape[-2:] != given.shape[-2:]:
            raise ConfigError(
                f"the features of {self.facts.name} are {features.shape[-2]} x {features.shape[-1]} for an image of "
                f"{given.shape[-2]} x {given.shape[-1]}",
                fix="name another module as its features",
            )
        return image, F.avg_pool2d(features, steps).to(low.device)


class ExpertSet(nn.Module):
    """Several experts of one enlargement, each on its own device, run at the same time by `workers` threads."""

    def __init__(self, experts: Sequence[Expert], *, workers: int = 1) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.workers = workers

    @property
    def facts(self) -> tuple[ExpertFacts, ...]:
        """Of every expert, in order."""
        return tuple(expert.facts for expert in self.experts)  # type: ignore[misc]

    def forward(self, low: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (batch, expert, band, y, x), and features one after another (batch, channel, y, x) or None."""
        if self.workers > 1 and len(self.experts) > 1:
            with ThreadPoolExecutor(min(self.workers, len(self.experts))) as pool:
                found = list(pool.map(lambda expert: expert(low), self.experts))
        else:
            found = [expert(low) for expert in self.experts]
        features = [part for _, part in found if part is not None]
        return torch.stack([image for image, _ in found], dim=1), torch.cat(features, dim=1) if features else None


def load_experts(wanted: Sequence[ExpertConfig], *, scale: int, features: bool = False, workers: int = 1) -> ExpertSet:
    """The experts that a preset names, for an enlargement of `scale`.

    Raises:
        MissingError: a file that is not there, or spandrel where a file needs it.
        CheckpointError: a file that holds no network that is known, or keys too many or too few, or another hash than
            the one that is asked for.
        ConfigError: an expert of another scale, features that it has not, or bf16 where it cannot.
    """
    return ExpertSet([load_expert(one, scale=scale, features=features) for one in wanted], workers=workers)


def load_expert(wanted: ExpertConfig, *, scale: int, features: bool = False) -> Expert:
    """One expert; see `load_experts`."""
    path = _file_of(wanted.source)
    loaded = _own(wanted.source) if path is None else load_foreign(path, source=wanted.source)
    facts = loaded.facts
    if wanted.sha256 is not None and facts.sha256 != wanted.sha256:
        raise CheckpointError(
            f"expert {wanted.source} has sha256 {facts.sha256[:12]}..., asked for is {wanted.sha256[:12]}...",
            fix="give the file that the fusion was trained with, or train the fusion anew",
        )
    if facts.scale not in (1, scale):
        raise ConfigError(f"expert {facts.name} enlarges {facts.scale} times, asked for is {scale}", fix="leave it out")
    place = (wanted.features or loaded.features) if features else None
    if features and place is None:
        raise ConfigError(
            f"where {facts.name} has its features is not known", fix="name a module: features: conv_after_body"
        )
    if wanted.precision == "bf16" and not loaded.bf16:
        raise ConfigError(f"{facts.name} does not run in bf16", fix="leave its precision at fp32")
    watch = None
    if place is not None:
        watch = Watch(loaded.network, place, of=facts.name)
        with torch.no_grad():
            loaded.call(_padded(torch.zeros(1, facts.bands, 8, 8), facts))
        loaded = replace(loaded, facts=replace(facts, feature_channels=watch.take().shape[1]))
    return Expert(loaded, enlarge=scale, watch=watch, device=wanted.device, precision=wanted.precision)


def _file_of(source: str) -> Path | None:
    """The file of a network of others; None where `source` is one of our names or folders."""
    path = Path(source)
    if path.suffix.lower() not in SUFFIXES:
        return None
    for candidate in (path, *(folder / path.name for folder in places())):
        if candidate.is_file():
            return candidate
    looked = ", ".join(shown(place) for place in (path.parent, *places()))
    raise MissingError(
        f"expert {source} is not here; looked for {path.name} in {looked}",
        fix="give its path, or put it into a folder and name that in $EORESTORE_WEIGHTS",
    )


def _own(source: str) -> LoadedNetwork:
    resolved = resolve(source)
    if resolved.kind != "checkpoint" or resolved.path is None:
        raise ConfigError(
            f"expert {source} is a {resolved.kind} and has no weights", fix="train it first, or name a checkpoint"
        )
    checkpoint = load_checkpoint(resolved.path)
    config = read_config(resolved.path)
    model: Model = checkpoint.model
    if config["inputs"] != ["low"] or model.needs_scene:
        raise ConfigError(f"expert {source} is no network that enlarges one image", fix="name one, as sr-x4-light")
    facts = ExpertFacts(
        name=resolved.name,
        source=source,
        sha256=checkpoint.sha256,
        scale=model.scale,
        bands=len(checkpoint.processor.output.names),
        feature_channels=0,
        multiple_of=model.multiple_of,
        minimum=model.multiple_of,
        reach=model.reach,
        phase=model.phase,
        parameters=config["parameters"],
    )
    return LoadedNetwork(model, lambda low: model(low=low).image, facts, OWN_FEATURES, bf16=True)


def _padded(image: Tensor, facts: ExpertFacts) -> Tensor:
    sides = [max(side, facts.minimum) for side in image.shape[-2:]]
    bottom, right = (
        -(-side // facts.multiple_of) * facts.multiple_of - have
        for side, have in zip(sides, image.shape[-2:], strict=True)
    )
    return reflect_pad(image, (0, right, 0, bottom)) if bottom or right else image
