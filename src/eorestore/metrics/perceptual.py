"""The perceptual score of the NTIRE super-resolution challenges, from six terms; knows no file of images."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Scorer = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class PerceptualTerms:
    """Each term averaged over the images of a set, as pyiqa gives it; None where it could not be computed.

    lpips, dists: distance to the target, lower is better. clipiqa, maniqa: quality from 0 to 1, higher is better.
    musiq: quality from 0 to 100, higher is better. niqe: distance from natural images, lower is better.
    """

    lpips: float | None = None
    dists: float | None = None
    clipiqa: float | None = None
    maniqa: float | None = None
    musiq: float | None = None
    niqe: float | None = None


@dataclass(frozen=True)
class _Source:
    """pyiqa's name for a term, whether it sees the target, and the files that pyiqa would fetch if they were absent."""

    sees_target: bool
    files: tuple[str, ...]
    hugging_face: tuple[str, ...] = ()


_SOURCES: Mapping[str, _Source] = {
    "lpips": _Source(
        sees_target=True, files=("checkpoints/alexnet-owt-7be5be79.pth", "pyiqa/LPIPS_v0.1_alex-df73285e.pth")
    ),
    "dists": _Source(sees_target=True, files=("checkpoints/vgg16-397923af.pth", "pyiqa/DISTS_weights-f5e65c96.pth")),
    "clipiqa": _Source(sees_target=False, files=("clip/RN50.pt",)),
    "maniqa": _Source(
        sees_target=False,
        files=("pyiqa/ckpt_koniq10k.pt",),
        hugging_face=("models--timm--vit_base_patch8_224.augreg2_in21k_ft_in1k",),
    ),
    "musiq": _Source(sees_target=False, files=("pyiqa/musiq_koniq_ckpt-e95806b9.pth",)),
    "niqe": _Source(sees_target=False, files=("pyiqa/niqe_modelparameters.mat",)),
}


def ntire_score(terms: PerceptualTerms) -> float | None:
    """The sum that ranks perceptual entries (NTIRE 2025 and 2026, x4), about 0 to 6; higher is better.

        (1 - LPIPS) + (1 - DISTS) + CLIP-IQA + MANIQA + MUSIQ / 100 + max(0, (10 - NIQE) / 10)

    None where a term is. The terms are averaged over the images first: because of the bound of NIQE it matters when.
    """
    values = [getattr(terms, item.name) for item in dataclasses.fields(terms)]
    if any(value is None for value in values):
        return None
    lpips, dists, clipiqa, maniqa, musiq, niqe = values
    return float((1 - lpips) + (1 - dists) + clipiqa + maniqa + musiq / 100 + max(0.0, (10 - niqe) / 10))


def perceptual_terms(pairs: Iterable[tuple[Tensor, Tensor]], *, device: torch.device | str = "cpu") -> PerceptualTerms:
    """The terms that this machine has weights for, each averaged over `pairs`; None for the others, and without pairs.

    Args:
        pairs: (restored, target) of every image, both (3, y, x) RGB in [0, 1]; rounded to 8 bits here, as the
            challenge reads PNG. No pixel may be missing, since no network here can leave one out.
        device: where the networks run.
    """
    scorers = {name: _scorer(name, torch.device(device)) for name in _SOURCES if absent(name) is None}
    found: dict[str, list[float]] = {name: [] for name in scorers}
    for pair in pairs:
        restored, target = ((255 * image).round().clamp(0, 255)[None].to(device) / 255 for image in pair)
        for name, scorer in scorers.items():
            found[name].append(scorer(restored, target))
    return PerceptualTerms(**{name: sum(values) / len(values) for name, values in found.items() if values})


def absent(term: str) -> str | None:
    """What a term lacks on this machine, in words; None where it can be computed.

    pyiqa fetches what is missing by itself, so a term is only asked for where all of its files are here. They are read
    by pyiqa, which trusts them.
    """
    if importlib.util.find_spec("pyiqa") is None:
        return "pyiqa is not installed"
    cache = Path(os.environ.get("HF_HUB_CACHE", Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub"))
    wanted = [Path(torch.hub.get_dir()) / file for file in _SOURCES[term].files]
    wanted += [cache.expanduser() / folder for folder in _SOURCES[term].hugging_face]
    lacking = [str(path) for path in wanted if not path.exists()]
    return f"no {', '.join(lacking)}" if lacking else None


def _scorer(term: str, device: torch.device) -> Scorer:
    pyiqa: Any = importlib.import_module("pyiqa")
    metric = pyiqa.create_metric(term, device=device)

    def score(restored: Tensor, target: Tensor) -> float:
        with torch.inference_mode():
            return float(metric(restored, target) if _SOURCES[term].sees_target else metric(restored))

    return score
