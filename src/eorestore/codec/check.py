"""A written .eoz file held against what was compressed, with the metrics of radar; knows no command line."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eorestore.codec.decibel import observe_decibel
from eorestore.codec.source import Source
from eorestore.codec.stored_scene import StoredScene
from eorestore.metrics import sar, speckle
from eorestore.raster import Window

LONGEST = 2048  # pixels a side of the part in the middle that the metrics see


def check_scene(source: Source, scene: StoredScene) -> dict[str, Any]:
    """What decoding gives, as plain values. Integers kept as they are: whether they are `equal`.

    Decibel: errors, bias of blocks of 24 x 24 pixels off the codec's own grid, looks, texture, over at most LONGEST
    pixels a side in the middle of the scene; see `metrics.sar` and `metrics.speckle`. Raises CodecError.
    """
    height, width = scene.header.size
    size = min(height, LONGEST), min(width, LONGEST)
    window = Window((height - size[0]) // 2, (width - size[1]) // 2, *size)
    if scene.pipe.step == 0:
        equal = all(np.array_equal(source.read_raw(strip), raw, equal_nan=False) for strip, raw in scene.strips())
        return {"equal": equal}
    unit = scene.bands.bands[0].unit
    before = observe_decibel(source.read_raw(window), scene.header.encoding, unit)
    after = observe_decibel(scene.read_raw(window), scene.encoding, unit)
    original, decoded = torch.from_numpy(before.values), torch.from_numpy(after.values)
    valid = torch.from_numpy(before.valid)
    scores = {
        "psnr30_db": sar.psnr30(decoded, original, valid=valid),
        "rmse_db": sar.rmse_db(decoded, original, valid=valid),
        "largest_error_db": sar.max_error_db(decoded, original, valid=valid),
        "mean_bias_db": sar.mean_bias_db(decoded, original, valid=valid),
        "block_bias_median_db": sar.block_bias_median_db(decoded, original, valid=valid, block=24, offset=(5, 11)),
        "block_bias_rms_db": sar.block_bias_rms_db(decoded, original, valid=valid, block=24, offset=(5, 11)),
        "enl_ratio": speckle.enl_ratio(decoded, original, valid=valid),
        "texture_ratio": speckle.texture_ratio(decoded, original, valid=valid),
    }
    facts: dict[str, Any] = {"gaps_equal": bool(np.array_equal(before.valid, after.valid))}
    facts |= {name: _plain(value) for name, value in scores.items()}
    if size != (height, width):
        facts["seen"] = f"{size[0]} x {size[1]} pixels in the middle"
    return facts


def _plain(value: Tensor) -> float | None:
    number = float(value)
    return round(number, 4) if math.isfinite(number) else None
