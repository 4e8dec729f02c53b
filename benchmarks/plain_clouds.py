"""Scores models under clouds made otherwise than those of the package: how much do scores owe to its simulator?

Outlines and opacities are those of data/cloud_simulation.py, the light is not: a cloud has one grey brightness in all
bands but those of water vapour, with texture of its own, and a shadow takes the same share of every band; air scatters
nothing. So models/thin_cloud.py meets a sky that its constants were not made for. Test places, same mask for all.

    python benchmarks/plain_clouds.py --root DATA
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from eorestore.data.clear_scenes import read_scene
from eorestore.data.cloud_pairs import MASK_MARGIN, grow_mask
from eorestore.data.cloud_simulation import CloudSettings, SimulatedClouds, simulate_clouds
from eorestore.data.manifest import read_manifest, select
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.raster import Raster
from eorestore.restorer import load_restorer, restore_raster

MODELS = ("identity", "band-mean", "inpaint", "sar-regression", "smoothed-sar-regression", "scene-estimate", "cloud")
COVERS = (0.2, 0.4, 0.7)
VAPOUR = {"B09": 0.2, "B10": 0.02}  # of the brightness
BRIGHTNESS, TEXTURE, DARKNESS = (0.55, 0.85), 0.08, (0.35, 0.65)
SOFT, COARSE = 2.0, 6.0  # pixels: edge of shadows, grain of texture


def plain_sky(clear: Raster, sky: SimulatedClouds, generator: np.random.Generator) -> NDArray[np.float32]:
    """(band, y, x): the clear scene under grey clouds and grey shadows of the given outlines."""
    height, width = sky.thickness.shape
    grain = gaussian_filter(generator.normal(size=(height, width)), COARSE)
    brightness = generator.uniform(*BRIGHTNESS) * (1 + TEXTURE * grain / grain.std())
    shade = gaussian_filter(sky.shadow.astype(np.float32), SOFT) * generator.uniform(*DARKNESS)
    colour = np.array([VAPOUR.get(name, 1.0) for name in clear.bands.names])[:, None, None]
    seen = (1 - sky.thickness) * (1 - shade) * clear.values + sky.thickness * brightness * colour
    return np.asarray(seen, dtype=np.float32)


def main() -> None:
    """Restore and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, default=Path("presets/scenes/public-places.csv"))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--record", type=Path, default=Path("results/plain-clouds.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    rows = select(read_manifest(options.manifest, root=options.root.resolve()), split="test")
    found: dict[tuple[str, float], list[float]] = {}
    for row in rows:
        clear, sar, _ = read_scene(row)
        for cover in COVERS:
            for seed in options.seeds:
                generator = np.random.default_rng([seed, round(100 * cover)])
                settings = CloudSettings(cover=cover, size_px=(20.0, 150.0))
                sky = simulate_clouds(clear, settings, generator=generator)
                cloudy = replace(clear, values=plain_sky(clear, sky, generator))
                mask = grow_mask(sky.cloud | sky.shadow, MASK_MARGIN)
                under = sky.cloud & clear.valid
                for name in options.models:
                    restorer = load_restorer(name, bands=clear.bands)
                    restored = restore_raster(restorer, {"cloudy": cloudy, "sar": sar}, mask=mask).raster
                    error = (restored.values - clear.values)[:, under]
                    found.setdefault((name, cover), []).append(float(-10 * np.log10(np.mean(error**2))))
    table = [[name, *(round(fmean(found[name, cover]), 2) for cover in COVERS)] for name in options.models]
    scores = {"columns": ["model", *(f"{cover:.0%}, dB" for cover in COVERS)], "rows": table}
    plain = {"covers": list(COVERS), "seeds": options.seeds, "places": sorted({row.place for row in rows})}
    record = make_record(
        "plain-clouds",
        "test places",
        config=plain,
        scores=scores,
        seconds=time.perf_counter() - started,
        data=hash_paths([path for row in rows for path in (row.optical, row.sar)], root=options.root.resolve()),
    )
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
