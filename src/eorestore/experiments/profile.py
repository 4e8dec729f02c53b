"""What a forward pass costs: FLOPs, time side by side, peak memory of a fresh process; knows no task and no scene."""

from __future__ import annotations

import gc
import multiprocessing
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eorestore.experiments.flops import forward_flops, parameter_count
from eorestore.models.catalogue import resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.model import Model
from eorestore.models.parts import example_inputs
from eorestore.models.table import build_model

SIZES = (128, 256, 512)
ROUNDS = 5


@dataclass(frozen=True)
class SizeProfile:
    """A forward pass over one image of `side` x `side` pixels.

    flops: 2 x MAC of convolutions and matrix products. milliseconds: median over the rounds.
    ratio: median over the rounds of this model's time to the first model's in the same round.
    megapixels_per_second: from the median time.
    memory_bytes: most that weights and pass took at once, in a process of its own; None where it ended early.
    """

    side: int
    flops: int
    milliseconds: float
    ratio: float
    megapixels_per_second: float
    memory_bytes: int | None


@dataclass(frozen=True)
class ModelProfile:
    """A model's parameters and its cost by size; a size whose memory could not be had is left out of the rest."""

    model: str
    parameters: int
    sizes: tuple[SizeProfile, ...]


def load_network(name: str) -> Model:
    """The network behind a shipped name, run, checkpoint folder, baseline or preset, in eval mode.

    A preset gives random weights, which cost what trained ones do. Raises as `models.catalogue.resolve` does.
    """
    found = resolve(name)
    if found.path is None:
        return build_model(found.name, {}).eval()
    if found.kind == "preset":
        from eorestore.config import load_config

        config = load_config(found.path)
        return build_model(config.model.name, config.model.settings, seed=config.seed).eval()
    return load_checkpoint(found.path).model


def profile_models(
    names: Sequence[str],
    *,
    sizes: Sequence[int] = SIZES,
    rounds: int = ROUNDS,
    load: Callable[[str], Model] = load_network,
) -> tuple[ModelProfile, ...]:
    """Cost of every model at every size; times are taken in turns, so that all models meet the same machine.

    Args:
        names: as `load_network` takes them.
        sizes: sides of the square input in pixels; rounded up to what a model's size rule asks for, and measured once
            where that is another of them.
        rounds: timed passes of each model, after one that is not timed.
        load: gives the network of a name; it is called in other processes as well, so it must be importable.
    """
    memory = {name: _peak_memory(load, name, tuple(sizes)) for name in names}
    models = {name: load(name) for name in names}
    rows: dict[str, list[SizeProfile]] = {name: [] for name in names}
    for place, size in enumerate(sizes):
        fit = [name for name in names if memory[name][place] is not None]
        # One that takes this size only as another that is asked for is measured there; the others are set against the
        # first, which stays.
        asked = {name: _side(models[name], size) for name in fit}
        fit = [name for name in fit if name == names[0] or asked[name] == size or asked[name] not in sizes]
        inputs = {name: _on_device(_inputs(models[name], size), models[name]) for name in fit}
        flops = {name: forward_flops(models[name], inputs[name]) for name in fit}
        times = time_in_turns({name: _pass(models[name], inputs[name]) for name in fit}, rounds=rounds)
        for name in fit:
            side = _side(models[name], size)
            median = statistics.median(times[name])
            ratio = statistics.median(mine / first for mine, first in zip(times[name], times[fit[0]], strict=True))
            speed = side**2 / 1e6 / median
            rows[name].append(SizeProfile(side, flops[name], 1e3 * median, ratio, speed, memory[name][place]))
    return tuple(ModelProfile(name, parameter_count(models[name]), tuple(rows[name])) for name in names)


def time_in_turns(passes: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, list[float]]:
    """Seconds of every pass in every round; one round calls each of them once, after one call that is not timed."""
    for run in passes.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, run in passes.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return times


def _side(model: Model, size: int) -> int:
    return -(-size // model.multiple_of) * model.multiple_of


def _inputs(model: Model, size: int) -> dict[str, Tensor]:
    side = _side(model, size)
    return example_inputs(model, height=side, width=side)


def _on_device(inputs: Mapping[str, Tensor], model: Model) -> dict[str, Tensor]:
    """Inputs and model on the device of a training."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    return {name: value.to(device) for name, value in inputs.items()}


def _pass(model: Model, inputs: Mapping[str, Tensor]) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            model(**inputs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


def _peak_memory(load: Callable[[str], Model], name: str, sizes: tuple[int, ...]) -> tuple[int | None, ...]:
    """`memory_bytes` of every size, each child measuring from the smallest on; None from where one was killed."""
    found: dict[int, int | None] = dict.fromkeys(sizes)
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as child:
        try:
            child.submit(_load_in_child, load, name).result()
            for size in sorted(sizes):
                found[size] = child.submit(_peak_in_child, size).result()
        except BrokenProcessPool:
            pass
    return tuple(found[size] for size in sizes)


_IN_CHILD: dict[str, Any] = {}


def _load_in_child(load: Callable[[str], Model], name: str) -> None:
    # one small convolution, so that the library's own pages are not taken for the model's
    torch.nn.functional.conv2d(torch.zeros(1, 8, 32, 32), torch.zeros(8, 8, 3, 3))
    gc.collect()
    _IN_CHILD["before"] = _resident_bytes()
    _IN_CHILD["model"] = load(name)


def _peak_in_child(size: int) -> int:
    model: Model = _IN_CHILD["model"]
    inputs = _on_device(_inputs(model, size), model)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        _pass(model, inputs)()
        return int(torch.cuda.max_memory_allocated())
    gc.collect()
    _reset_peak()
    _pass(model, inputs)()
    return max(0, _peak_resident_bytes() - int(_IN_CHILD["before"]))


def _status_bytes(key: str) -> int | None:
    """A size of /proc/self/status; None where there is none."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{key}:\s+(\d+) kB$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return 1024 * int(found[1]) if found else None


def _resident_bytes() -> int:
    return _status_bytes("VmRSS") or _largest_ever()


def _peak_resident_bytes() -> int:
    return _status_bytes("VmHWM") or _largest_ever()


def _largest_ever() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _reset_peak() -> None:
    """Let the kernel's high-water mark start again from now, where it can (Linux)."""
    path = Path("/proc/self/clear_refs")
    if path.exists():
        path.write_text("5")
