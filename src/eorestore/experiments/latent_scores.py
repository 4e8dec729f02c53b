"""Scores of an autoencoder over SAR bands, its latent as true bytes in every storage; trains nothing, draws nothing.

Bits are those of the stream that `codec.latents` writes, plus the mask where a band has invalid pixels. Protocol: each
band by itself in its window of 40 dB, the decoded image clipped to it, the error against the window's own floats.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from eorestore.codec.latents import Storage, decode_latent, encode_latent
from eorestore.data.sar_bands import SarBandRow, polarisation_of, read_sar_band
from eorestore.data.sar_patches import EncodedBand, encoded_band
from eorestore.errors import ConfigError, DataError
from eorestore.metrics.rate import bits_per_pixel, rate_at_value, value_at_rate
from eorestore.metrics.sar_scores import sar_scores
from eorestore.models.catalogue import resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.sar_autoencoder import SarAutoencoder
from eorestore.processing.normalize import WINDOW_LOWS, WINDOW_SPAN

STEPS = (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0)
"""Steps of the coded latent, in standard deviations of the band's own latent."""
RATES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Bits per pixel at which coded latents are compared, between the measured points around them."""
SUFFIXES = tuple(f"_at_{rate:g}" for rate in RATES)
LEAD = "_at_0.2"  # a rate that latents of 8, 16 and 32 channels at 1/16 of the size all reach
STORED = ("", "_float16", "_int8")
"""Ends of scores: of the float32 latent, and of the two others that are not coded."""
CODED = "bpp_coded"
NEAR = 0.1  # decibels of PSNR30
FACTS: Mapping[str, str] = {
    "psnr30": "PSNR30 of the float32 latent, dB",
    CODED: f"bpp, coded, {NEAR:g} dB below it",
    "bpp": "bpp, float32",
    "bpp_float16": "bpp, float16",
    "bpp_int8": "bpp, int8",
}
"""What a row's tables have beside its scores at one rate, with the heads of the columns."""


@dataclass(frozen=True)
class LatentPoint:
    """One band in one storage. step: in the latent's unit, None where the storage has none. scores: by name."""

    band: str
    storage: Storage
    step: float | None
    bpp: float
    scores: Mapping[str, float]


class _Coded(NamedTuple):
    image: NDArray[np.float32]
    size_bytes: int


def latent_points(
    model: SarAutoencoder, band: EncodedBand, *, metrics: Sequence[str], steps: Sequence[float] = STEPS
) -> tuple[LatentPoint, ...]:
    """One band in every storage, the coded one at every step, finest first.

    metrics: names of `metrics.sar_scores.SCORES`. steps: see STEPS. Raises UnknownNameError and what `encode_latent`
    raises; DataError for a latent that is not finite.
    """
    height, width = band.values.shape[1:]
    with torch.inference_mode():
        latent = model.encode(_padded(torch.from_numpy(band.values)[None], model.multiple_of))[0].numpy()
    if not np.isfinite(latent).all():
        raise DataError(f"{band.name} has a latent that is not finite", fix="train again at a lower learning rate")
    spread = max(float(latent.std()), float(np.finfo(np.float32).eps))
    wanted: list[tuple[Storage, float | None]] = [("float32", None), ("float16", None), ("int8", None)]
    wanted += [("coded", step * spread) for step in sorted(steps)]
    mask = b"" if band.valid.all() else zlib.compress(np.packbits(band.valid).tobytes(), 9)
    points = []
    for storage, step in wanted:
        coded = _carried(model, latent, storage=storage, step=step)
        scores = _scores(coded.image[:, :height, :width], band, metrics=metrics)
        bpp = bits_per_pixel(coded.size_bytes + len(mask), height=height, width=width)
        points.append(LatentPoint(band.name, storage, step, bpp, scores))
    return tuple(points)


def band_scores(points: Sequence[LatentPoint], *, metrics: Sequence[str]) -> dict[str, float]:
    """What a table shows of one band's points: by name and end, as `psnr30`, `bpp_int8` and `psnr30_at_0.2`.

    NaN at a rate that the steps do not bracket. `bpp_coded` is the rate from which on the coded latent is at most NEAR
    below the float32 one in PSNR30, where that is among the metrics.
    """
    found: dict[str, float] = {}
    for point in points:
        if point.storage != "coded":
            end = "" if point.storage == "float32" else f"_{point.storage}"
            found |= {f"{name}{end}": value for name, value in point.scores.items()} | {f"bpp{end}": point.bpp}
    coded = [point for point in points if point.storage == "coded"]
    for rate, end in zip(RATES, SUFFIXES, strict=True):
        for name in metrics:
            known = [point for point in coded if math.isfinite(point.scores.get(name, math.nan))]
            values = [point.scores[name] for point in known]
            found[f"{name}{end}"] = value_at_rate([point.bpp for point in known], values, target=rate)
    if "psnr30" in found:
        rates, values = [point.bpp for point in coded], [point.scores["psnr30"] for point in coded]
        found[CODED] = rate_at_value(rates, values, target=found["psnr30"] - NEAR)
    return found


def score_autoencoder(model: str, rows: Sequence[SarBandRow], *, metrics: Sequence[str]) -> dict[str, Any]:
    """All points of a checkpoint, run or shipped name over the bands of a manifest, as plain values.

    `rows` has one entry a band with its `scores`, see `band_scores`; a score that one band has not, as at a rate that
    it does not reach, is left out of all, so that no mean is over easy bands alone. `points` has the curves. Raises
    ConfigError for another network, and what the parts raise.
    """
    resolved = resolve(model)
    network = None if resolved.path is None else load_checkpoint(resolved.path).model
    if not isinstance(network, SarAutoencoder):
        raise ConfigError(f"{model} has no latent to score", fix="name a checkpoint of sar-autoencoder")
    points: list[LatentPoint] = []
    scored: list[dict[str, float]] = []
    for row in rows:
        found = latent_points(network, encoded_band(row.id, read_sar_band(row)), metrics=metrics)
        points += found
        scored.append(band_scores(found, metrics=metrics))
    whole = [name for name in scored[0] if all(math.isfinite(one.get(name, math.nan)) for one in scored)]
    return {
        "conditions": {
            "Bands": ", ".join(row.id for row in rows),
            "Rate": "true bytes of the latent's stream, sizes, scales and tables included",
            "Distortion": "decibels, windows of 40 dB, decoded values clipped to them, PSNR30 with a peak of 30 dB",
        },
        "latent": f"{network.settings.latent} channels at 1/{network.multiple_of} of the size",
        "metrics": list(metrics),
        "rows": [
            {
                "scene": row.id,
                "place": row.place,
                "cover": None,
                "seed": None,
                "scores": {name: one[name] for name in whole},
            }
            for row, one in zip(rows, scored, strict=True)
        ],
        "points": [
            {"band": p.band, "storage": p.storage, "step": p.step, "bpp": p.bpp, "scores": _plain(p.scores)}
            for p in points
        ],
    }


def _padded(image: Tensor, multiple: int) -> Tensor:
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _carried(model: SarAutoencoder, latent: NDArray[np.float32], *, storage: Storage, step: float | None) -> _Coded:
    payload = encode_latent(latent, storage=storage, step=step or 1.0)
    with torch.inference_mode():
        image = model.decode(torch.from_numpy(decode_latent(payload))[None])[0].clamp(0, 1)
    return _Coded(image.numpy(), len(payload))


def _scores(image: NDArray[np.float32], band: EncodedBand, *, metrics: Sequence[str]) -> dict[str, float]:
    low = WINDOW_LOWS[polarisation_of(band.name)]
    decoded, original = (torch.from_numpy(low + WINDOW_SPAN * values) for values in (image, band.values))
    found = sar_scores(decoded, original, valid=torch.from_numpy(band.valid), lows=(low,), names=metrics)
    return {name: float(value) for name, value in found.items()}


def _plain(scores: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}
