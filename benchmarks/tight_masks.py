"""Scores models under masks that leave out the rim of clouds and shadows, as masks of real scenes do.

Simulated clouds over the test places. A mask is cloud and shadow, grown by some pixels or made narrower by as many
(below 0); what lies outside is cloudy, and each model may take it for clear ground. Scored are the pixels under the
narrowest mask, the same for all.

    python benchmarks/tight_masks.py --root DATA
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
from scipy.ndimage import distance_transform_edt

from eorestore.data.clear_scenes import read_scene
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.manifest import read_manifest, select
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.restorer import load_restorer, restore_raster

MODELS = ("band-mean", "inpaint", "sar-regression", "smoothed-sar-regression", "scene-estimate", "cloud")
MARGINS = (3, 1, 0, -1, -2)  # pixels; 3 is that of `evaluate --simulate`
COVER = 0.4


def with_margin(hidden: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    """The mask (y, x), grown by `margin` pixels or, below 0, narrower by as many."""
    if margin >= 0:
        return np.asarray(distance_transform_edt(~hidden) <= margin)
    return np.asarray(distance_transform_edt(hidden) > -margin)


def main() -> None:
    """Restore and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, default=Path("presets/scenes/public-places.csv"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--record", type=Path, default=Path("results/tight-masks.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    rows = select(read_manifest(options.manifest, root=options.root.resolve()), split=options.split)
    found: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        clear, sar, _ = read_scene(row)
        for seed in options.seeds:
            generator = np.random.default_rng([seed, round(100 * COVER)])
            sky = simulate_clouds(clear, CloudSettings(cover=COVER, size_px=(20.0, 150.0)), generator=generator)
            hidden = sky.cloud | sky.shadow
            scored = with_margin(hidden, min(MARGINS)) & clear.valid
            inputs = {"cloudy": replace(clear, values=sky.image), "sar": sar}
            for margin in MARGINS:
                for name in options.models:
                    restorer = load_restorer(name, bands=clear.bands)
                    restored = restore_raster(restorer, inputs, mask=with_margin(hidden, margin)).raster
                    error = (restored.values - clear.values)[:, scored]
                    found.setdefault((name, margin), []).append(float(-10 * np.log10(np.mean(error**2))))
    table = [[name, *(round(fmean(found[name, margin]), 2) for margin in MARGINS)] for name in options.models]
    scores = {"columns": ["model", *(f"{margin:+d} px, dB" for margin in MARGINS)], "rows": table}
    plain = {"cover": COVER, "seeds": options.seeds, "places": sorted({row.place for row in rows})}
    record = make_record(
        "tight-masks",
        f"{options.split} places",
        config=plain,
        scores=scores,
        seconds=time.perf_counter() - started,
        data=hash_paths([path for row in rows for path in (row.optical, row.sar)], root=options.root.resolve()),
    )
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
