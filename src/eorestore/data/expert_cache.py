"""Images and features of frozen experts for whole pictures, made once and read by training; knows no crop.

```
DIR/  cache.json  EXPERT/images/{values.bin,index.jsonl}  EXPERT/features/...
```
EXPERT is the beginning of the hash of its weights. An array is found by the hash of all that it depends on: the
picture, how it is encoded and shrunk, and the format of the cache. So experts and pictures may be added later, and a
file that changed is not mistaken for what it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eorestore.config import ExpertConfig
from eorestore.data.array_store import ArrayStore
from eorestore.data.degradation import Degradation
from eorestore.data.expert_pictures import PictureExpert, is_pictures
from eorestore.data.image_pairs import ImagePair
from eorestore.data.image_samples import Maps, PairReader
from eorestore.errors import ConfigError, DataError, UnknownNameError, WriteError
from eorestore.models.expert_facts import ExpertFacts
from eorestore.models.experts import Expert, load_expert
from eorestore.processing import Processor
from eorestore.tiling.ensembling import turn, turn_back

_log = logging.getLogger(__name__)

FORMAT = 1
CACHE_FILE = "cache.json"
TURNS = 8
Precision = Literal["fp16", "fp32"]
_DTYPES: dict[str, str] = {"fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True)
class CacheForm:
    """What all arrays of a cache have in common.

    precision: fp16 keeps a value of 0 ... 1 within 0.06 of 255 levels. turns: 1, or 8 for what the experts make of
    every flip and quarter turn, since they are not equivariant; features are kept for the first alone.
    features: whether they are kept.
    """

    precision: Precision = "fp16"
    turns: Literal[1, 8] = 1
    features: bool = False


@dataclass(frozen=True)
class ExpertCache:
    """A folder of arrays; see `open_cache` and `fill_cache`."""

    folder: Path
    form: CacheForm
    experts: tuple[ExpertFacts, ...]
    _stores: dict[str, ArrayStore] = field(default_factory=dict)

    def store(self, expert: ExpertFacts, kind: str) -> ArrayStore:
        """The arrays of one expert, `images` or `features`."""
        name = f"{expert.sha256[:16]}/{kind}"
        if name not in self._stores:
            self._stores[name] = ArrayStore(self.folder / name, dtype=_DTYPES[self.form.precision])
        return self._stores[name]

    def maps(self, pair: ImagePair, read: PairReader) -> Maps:
        """`expert0`, `expert1`, ... (band, y, x), `expert0@1`, ... for its turns, and `features0`, ...

        Raises DataError where the cache lacks one.
        """
        key = image_key(pair, read)
        found: Maps = {}
        for number, facts in enumerate(self.experts):
            images = self.store(facts, "images")
            if key not in images:
                raise DataError(
                    f"{self.folder} has nothing of {facts.name} for {pair.high.name} as it is now",
                    fix="run eorestore cache again with the same preset and folder",
                )
            every = images.get(key)
            found[f"expert{number}"] = every[0]
            found |= {f"expert{number}@{index}": every[index] for index in range(1, len(every))}
            if self.form.features:
                found[f"features{number}"] = self.store(facts, "features").get(key)
        return found


class _Source(Protocol):
    """What makes an expert's image of a picture."""

    @property
    def facts(self) -> ExpertFacts:
        """Of the expert."""
        ...

    def make(self, pair: ImagePair, low: Tensor) -> tuple[Tensor, Tensor | None]:
        """(1, band, y, x), and features where there are some."""
        ...


@dataclass(frozen=True)
class _Live:
    """A network that is run."""

    expert: Expert

    @property
    def facts(self) -> ExpertFacts:
        return self.expert.facts

    def make(self, pair: ImagePair, low: Tensor) -> tuple[Tensor, Tensor | None]:  # noqa: ARG002 - of the protocol
        found: tuple[Tensor, Tensor | None] = self.expert(low)
        return found


def is_cache(folder: Path) -> bool:
    """Whether a folder holds a cache."""
    return (folder / CACHE_FILE).is_file()


def open_cache(folder: Path, wanted: Sequence[ExpertConfig] = ()) -> ExpertCache:
    """The cache in `folder`, with the experts that are wanted, in that order; with all of them without any.

    No expert is constructed. Raises DataError where there is no cache, or it lacks an expert.
    """
    values = _read(folder)
    facts = {one["source"]: ExpertFacts.from_json(one) for one in values["experts"]}
    for one in wanted:
        known = facts.get(one.source)
        if known is None or (one.sha256 is not None and one.sha256 != known.sha256):
            raise DataError(
                f"{folder} has the experts {', '.join(facts)}, and not {one.source} as the preset wants it",
                fix="run eorestore cache with this preset and folder",
            )
    chosen = tuple(facts[one.source] for one in wanted) if wanted else tuple(facts.values())
    return ExpertCache(folder, CacheForm(**values["form"]), chosen)


@dataclass(frozen=True)
class CachedOutputs:
    """The images of a cache as `data.expert_outputs.ExpertOutputs` gives stored ones."""

    cache: ExpertCache
    degradation: Degradation

    @property
    def names(self) -> tuple[str, ...]:
        """Of the experts, in order."""
        return tuple(facts.name for facts in self.cache.experts)

    @property
    def folder(self) -> Path:
        """What stands for the experts: it holds their hashes."""
        return self.cache.folder / CACHE_FILE

    def read(self, pair: ImagePair, processor: Processor, *, size: tuple[int, int]) -> NDArray[np.float32]:
        """What all experts gave for a pair, (expert, band, y, x), encoded. Raises DataError as `ExpertCache.maps`."""
        maps = self.cache.maps(pair, PairReader(processor, self.degradation))
        images = [maps[f"expert{number}"].astype(np.float32) for number in range(len(self.names))]
        return np.stack(images)[..., : size[0], : size[1]]


def cached_outputs(folder: Path, *, degradation: Degradation, names: Sequence[str] = ()) -> CachedOutputs:
    """All experts of a cache, or those of `names` in that order. Raises DataError and UnknownNameError."""
    cache = open_cache(folder)
    known = {facts.name: facts for facts in cache.experts}
    for name in names:
        if name not in known:
            raise UnknownNameError(f"expert in {folder}", name, known)
    return CachedOutputs(replace(cache, experts=tuple(known[name] for name in names or known)), degradation)


def fill_cache(
    folder: Path,
    wanted: Sequence[ExpertConfig],
    pairs: Sequence[ImagePair],
    *,
    read: PairReader,
    form: CacheForm,
    progress: Callable[[int, int], None] | None = None,
) -> ExpertCache:
    """Run every expert over every whole picture that the cache does not hold yet.

    Args:
        folder: made where it is not there; an interrupted run goes on.
        wanted: networks, or patterns of folders with pictures that networks made.
        pairs: the pictures.
        read: encodes them and makes the small ones.
        form: of a new cache; an older one must have the same. With eight turns the crops of training are exact.
        progress: is told how many arrays of how many are done.

    Raises:
        DataError: a cache of another form, or pictures that are missing or of another size.
        ConfigError: turns or features of experts that are pictures.
        WriteError: the folder cannot be written. Also what `load_experts` raises.
    """
    older = _read(folder) if is_cache(folder) else None
    if older is not None and older["form"] != asdict(form):
        raise DataError(f"{folder} holds arrays of the form {older['form']}", fix="choose another folder, or that form")
    scale = read.processor.scale
    done, total = 0, len(wanted) * len(pairs)
    known = {} if older is None else {one["source"]: one for one in older["experts"]}
    for one in wanted:
        source: _Source
        if is_pictures(one.source):
            if form.turns > 1 or form.features:
                raise ConfigError(f"{one.source} are pictures, without turns and features", fix="leave both out")
            source = PictureExpert.find(one.source, scale=scale, bands=len(read.processor.output.names))
        else:
            source = _Live(load_expert(one, scale=scale, features=form.features))
        known[one.source] = asdict(source.facts)
        cache = ExpertCache(folder, form, (source.facts,))
        for pair in pairs:
            key = image_key(pair, read)
            if key not in cache.store(source.facts, "images"):
                _add(cache, source, pair, key=key, low=torch.from_numpy(read(pair)["low"])[None])
            done += 1
            if progress is not None:
                progress(done, total)
    _write(folder, {"format": FORMAT, "form": asdict(form), "experts": list(known.values())})
    return open_cache(folder, wanted)


def image_key(pair: ImagePair, read: PairReader) -> str:
    """Hash of a picture's files, and of how it is encoded and shrunk."""
    digest = hashlib.sha256(f"{FORMAT} {read.degradation}".encode())
    digest.update(json.dumps(read.processor.to_json(), sort_keys=True).encode())
    digest.update(" ".join(pair.bands).encode())
    for path in (pair.high, pair.low):
        digest.update(b"none" if path is None else hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _add(cache: ExpertCache, source: _Source, pair: ImagePair, *, key: str, low: Tensor) -> None:
    facts = source.facts
    images, features = [], None
    for index in range(cache.form.turns):
        image, map_ = source.make(pair, turn(low, index))
        images.append(turn_back(image, index)[0].numpy())
        features = map_ if index == 0 else features
    if cache.form.features and key not in cache.store(facts, "features"):
        if features is None:
            raise ConfigError(f"{facts.name} gives no features", fix="leave them out")
        cache.store(facts, "features").add(key, features[0].numpy())
    cache.store(facts, "images").add(key, np.stack(images))


def _read(folder: Path) -> dict[str, Any]:
    again = f"make it: eorestore cache -c PRESET -o {folder}"
    try:
        values = json.loads((folder / CACHE_FILE).read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"no cache of experts at {folder}", fix=again) from None
    except ValueError:
        raise DataError(f"{folder / CACHE_FILE} is not JSON", fix=again) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{folder / CACHE_FILE} is of another format than {FORMAT}", fix=again)
    return values


def _write(folder: Path, values: dict[str, Any]) -> None:
    partial = folder / f".{CACHE_FILE}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        partial.replace(folder / CACHE_FILE)
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be written: {error.strerror or error}", fix="choose another folder"
        ) from error
