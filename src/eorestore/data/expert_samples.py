"""Crops of image pairs with what frozen experts make of them: from a cache, or by running them; trains nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from eorestore.config import RunConfig
from eorestore.data.expert_cache import TURNS, ExpertCache, open_cache
from eorestore.data.image_pairs import ImagePair
from eorestore.data.image_samples import ImagePairs, Maps, PairReader, image_samples
from eorestore.errors import ConfigError
from eorestore.models.expert_facts import ExpertFacts
from eorestore.models.expert_fusion import ExpertFusion
from eorestore.models.experts import ExpertSet, load_experts
from eorestore.models.model import Model
from eorestore.processing import Processor


class CachedReader:
    """The maps of a pair and the experts' images of it, which a cache holds."""

    def __init__(self, read: PairReader, cache: ExpertCache) -> None:
        self.read, self.cache = read, cache

    def __call__(self, pair: ImagePair) -> Maps:
        """Raises DataError where the cache lacks one."""
        return self.read(pair) | self.cache.maps(pair, self.read)


class CachedExperts:
    """Crops of images and of what the cache holds of their experts."""

    def __init__(self, crops: ImagePairs, experts: tuple[ExpertFacts, ...]) -> None:
        self._crops, self.experts = crops, experts

    def __len__(self) -> int:
        return len(self._crops)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        self._crops.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """As ImagePairs, with `experts` (expert, band, y, x) and, where they are kept, `features` (channel, y, x)."""
        item = self._crops[index]
        numbers = range(len(self.experts))
        images = torch.stack([item.pop(f"expert{number}").float() for number in numbers])
        features = [item.pop(f"features{number}").float() for number in numbers if f"features{number}" in item]
        return item | {"experts": images} | ({"features": torch.cat(features)} if features else {})


class LiveExperts:
    """Crops of images, and the experts run on every one of them."""

    def __init__(self, crops: ImagePairs, experts: ExpertSet) -> None:
        self._crops, self._set, self.experts = crops, experts, experts.facts

    def __len__(self) -> int:
        return len(self._crops)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose items are asked for next."""
        self._crops.set_epoch(epoch)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """As CachedExperts."""
        item = self._crops[index]
        images, features = self._set(item["low"][None])
        return item | {"experts": images[0]} | ({} if features is None else {"features": features[0]})


def super_resolution_samples(
    config: RunConfig, processor: Processor, model: Model
) -> tuple[ImagePairs | CachedExperts | LiveExperts, ImagePairs | CachedExperts | LiveExperts]:
    """Training and validation crops for a network of one image, or for a fusion with the experts of the preset.

    With `data.cache` no expert is constructed. A crop of a whole image's result differs from the result of a crop near
    its edges, by the expert's reach; a turned crop differs from the result of a turned image, unless the cache holds
    all eight. On pictures as large as the crop, with all eight in fp32, both ways give the same numbers.

    Raises what `image_samples` does, and ConfigError where experts, model and variation of the data do not fit.
    """
    if not isinstance(model, ExpertFusion):
        if config.experts or config.data.cache:
            raise ConfigError(f"{config.model.name} fuses no experts", fix="leave experts and data.cache out")
        return image_samples(config, processor, model)
    _check(config, model)
    features = bool(model.settings.feature_channels)
    if config.data.cache is None:
        experts = load_experts(config.experts, scale=model.scale, features=features)
        _check_features(model, experts.facts)
        crops = image_samples(config, processor, model)
        return LiveExperts(crops[0], experts), LiveExperts(crops[1], experts)
    cache = open_cache(Path(config.data.cache), config.experts)
    if features and not cache.form.features:
        raise ConfigError(
            f"{config.data.cache} holds no features, which feature_channels asks for",
            fix="make a cache with --features, or leave feature_channels empty",
        )
    if not features:
        cache = replace(cache, form=replace(cache.form, features=False))
    _check_features(model, cache.experts if features else ())
    if features and cache.form.turns == TURNS:
        raise ConfigError("features are kept for unturned images alone", fix="make the cache with --turns 1")
    train, validation = image_samples(config, processor, model, wrap=lambda read: CachedReader(read, cache))
    return CachedExperts(train, cache.experts), CachedExperts(validation, cache.experts)


def _check(config: RunConfig, model: ExpertFusion) -> None:
    if len(config.experts) != model.settings.experts:
        raise ConfigError(
            f"the preset names {len(config.experts)} experts for a fusion of {model.settings.experts}",
            fix="name as many under experts, or set model.settings.experts",
        )
    if config.data.cache is not None and (config.data.mixup or config.data.recolour):
        raise ConfigError(
            "data.mixup and data.recolour change images after the experts saw them, and data.cache holds what they saw",
            fix="set both to 0, or leave the cache out and have the experts run on every crop",
        )


def _check_features(model: ExpertFusion, facts: tuple[ExpertFacts, ...]) -> None:
    found = tuple(one.feature_channels for one in facts)
    if model.settings.feature_channels and found != model.settings.feature_channels:
        raise ConfigError(
            f"the experts have features of {found} channels, feature_channels says {model.settings.feature_channels}",
            fix=f"set model.settings.feature_channels to {list(found)}",
        )
