"""Scores models on a real cloudy scene beside a clear scene of the same place ten days earlier.

SSL4EO-S12, place 0000200: Level-1C of 2020-08-23, two thirds cloud, and Level-2A of 2020-08-13. Each band of the clear
scene is brought to the mean and spread of the cloudy scene's clear pixels, since one is of the ground and the other of
the top of the atmosphere. The mask is what differs between the two, so that no model is scored for its mask; within it
the same difference tells shadow from cloud. Fields change in ten days and the reference is not the truth: the score of
the clear pixels, printed with the others, is about what a perfect restoration would get. Constants of
models/thin_cloud.py were set by looking at this scene, so that its scores are no test of them. The default is scored in
the same regions under other masks, too: the built-in one, none, and one that covers everything.

    python benchmarks/real_clouds.py --root DATA
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, median_filter

from eorestore.data.clear_scenes import read_scene
from eorestore.data.manifest import SceneRow
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.processing.cloud_mask import cloud_and_shadow, shadow_limits, widen
from eorestore.raster import Raster, Unit
from eorestore.restorer import load_restorer, restore_raster

DEFAULT = "cloud"
MODELS = ("identity", "band-mean", "inpaint", "sar-regression", "smoothed-sar-regression", "scene-estimate", DEFAULT)
PLACE = "cloud/ssl4eo"
CLOUDY = f"{PLACE}/s2c/0000200/20200823T054639_20200823T055618_T43RCP"
CLEAR = f"{PLACE}/s2a/0000200/20200813T054639_20200813T054952_T43RCP"
SAR = f"{PLACE}/s1/0000200/S1A_IW_GRDH_1SDV_20200903T131212_20200903T131237_034195_03F8F5_AC1C"
SURE = ("B02", "B03", "B04", "B08", "B11")  # bands that tell what differs
DIFFERS = 0.75  # mean of their smoothed differences, in spreads of clear pixels, from which a pixel is masked
SHADED, THICK, THIN = 0.7, 0.4, 0.25  # of the clear near infrared; visible reflectance from which, and below which
SAFE, MARGIN, SMOOTH = 6, 4, 3.0  # pixels


def matched(clear: Raster, cloudy: Raster, open_ground: NDArray[np.bool_]) -> dict[str, NDArray[np.float32]]:
    """The clear scene's bands with the mean and spread of the cloudy scene where both are clear."""
    found = {}
    for name in clear.bands.names:
        here, there = (raster.values[raster.bands.index(name)] for raster in (cloudy, clear))
        gain = here[open_ground].std() / there[open_ground].std()
        found[name] = here[open_ground].mean() + gain * (there - there[open_ground].mean())
    return found


def what_differs(
    cloudy: Raster, reference: dict[str, NDArray[np.float32]], open_ground: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Pixels (y, x) at which the two dates differ by more than fields do."""
    total = np.zeros(cloudy.grid.size)
    for name in SURE:
        values = cloudy.values[cloudy.bands.index(name)]
        total += np.abs(gaussian_filter(values - reference[name], SMOOTH)) / values[open_ground].std()
    return widen(median_filter((total > DIFFERS * len(SURE)).astype(np.uint8), 5) > 0, MARGIN)


def main() -> None:
    """Restore and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--record", type=Path, default=Path("results/real-clouds.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    paths = [options.root.resolve() / part for part in (CLOUDY, SAR, CLEAR)]
    row = SceneRow("real", "ssl4eo-0000200", "test", *paths, sar_unit=Unit.DECIBEL)
    cloudy, sar, clear = read_scene(row)
    assert clear is not None  # the row names one
    cloud, shadow = cloud_and_shadow(cloudy, shadow_limits([cloudy]))
    open_ground = ~widen(cloud | shadow, SAFE)
    mask = what_differs(cloudy, matched(clear, cloudy, open_ground), open_ground)
    reference = matched(clear, cloudy, ~mask)
    red, infrared = (cloudy.values[cloudy.bands.index(name)] for name in ("B04", "B08"))
    visible = (red + cloudy.values[cloudy.bands.index("B03")] + cloudy.values[cloudy.bands.index("B02")]) / 3
    shaded = mask & (infrared < SHADED * reference["B08"])
    regions = {
        "mask": mask,
        "shadow": shaded,
        "thin": mask & ~shaded & (visible < THIN),
        "thick": mask & (visible >= THICK),
    }
    rows = [index for index, name in enumerate(cloudy.bands.names) if name in reference and name != "B09"]
    target = np.stack([reference[cloudy.bands.names[index]] for index in rows])

    def score(image: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
        error = (image[rows] - target) ** 2
        return round(float(-10 * np.log10(error[:, region].mean())), 2)

    table = [["clear pixels, as observed", score(cloudy.values, ~mask), "", "", ""]]
    masks: dict[str, NDArray[np.bool_] | str | None] = {
        "the built-in mask": "auto",
        "without a mask": None,
        "all masked": np.ones_like(mask),
    }
    runs: list[tuple[str, str, NDArray[np.bool_] | str | None]] = [(name, name, mask) for name in options.models]
    if DEFAULT in options.models:
        runs += [(f"{DEFAULT}, {what}", DEFAULT, other) for what, other in masks.items()]
    for label, name, chosen in runs:
        restorer = load_restorer(name, bands=cloudy.bands)
        restored = restore_raster(restorer, {"cloudy": cloudy, "sar": sar}, mask=chosen).raster
        table.append([label, *(score(restored.values, region) for region in regions.values())])
        print(*table[-1], flush=True)
    scores = {"columns": ["model", *(f"{name}, dB" for name in regions)], "rows": table}
    plain = {"cloudy": CLOUDY, "clear": CLEAR, "sar": SAR, "masked": round(float(mask.mean()), 4)}
    record = make_record(
        "real-clouds",
        "ssl4eo-0000200",
        config=plain,
        scores=scores,
        seconds=time.perf_counter() - started,
        data=hash_paths(paths, root=options.root.resolve()),
    )
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
