"""Scores the estimate with and without ground that no clear pixel shows, over places where the constants were chosen.

Training and validation places under 70 % of cloud; what ground elsewhere looks like is fitted without the place
(`fit_ground_prior`). The skies that models/thin_cloud.py was made with are those of the seeds 1 to 36, so that other
seeds are new skies, yet over the same ground. Printed and recorded by scene: how many skies are taken for such that
hide strange ground, and what that changes under their clouds.

    python benchmarks/strange_ground.py --root DATA
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import safetensors.torch
from fit_ground_prior import fit_prior

from eorestore.data.manifest import SceneRow, read_manifest
from eorestore.experiments.cases import Case, SimulatedSkies, read_cases
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.models import ground_prior, scene_estimate
from eorestore.restorer import restore_raster

MODEL = "scene-estimate"
COVER = 0.7


def score(case: Case) -> float:
    """PSNR in dB under the clouds of a case."""
    restored = restore_raster(MODEL, {"cloudy": case.cloudy, "sar": case.sar}, mask=case.mask).raster
    return float(-10 * np.log10(np.square(restored.values - case.target.values)[:, case.inside].mean()))


def changes(row: SceneRow, seeds: tuple[int, ...]) -> list[float]:
    """By how many dB each sky changes; exactly 0 where no strange ground is admitted."""
    found = []
    for case in read_cases(row, skies=SimulatedSkies((COVER,), seeds), mask="none"):
        admitting = score(case)
        with patch.object(scene_estimate, "admit_strange_ground", lambda *_, veil, **__: veil):
            found.append(admitting - score(case))
    return found


def main() -> None:
    """Score and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, default=Path("presets/scenes/public-places.csv"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(41, 53)))
    parser.add_argument("--record", type=Path, default=Path("results/strange-ground.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    rows = [row for row in read_manifest(options.manifest, root=options.root.resolve()) if row.split != "test"]
    table: list[list[Any]] = []
    with TemporaryDirectory() as folder:
        for row in rows:
            prior = Path(folder) / f"without-{row.place}.safetensors"
            safetensors.torch.save_file(fit_prior(one for one in rows if one.place != row.place), prior)
            with patch.object(ground_prior, "FILE", prior):
                found = changes(row, tuple(options.seeds))
            admitted = [change for change in found if change != 0]
            least, most = (round(end, 2) for end in (min(found), max(found)))
            table.append([row.id, len(found), len(admitted), round(fmean(found), 3), least, most])
            print(*table[-1], flush=True)
    scores = {
        "columns": ["scene", "skies", "admitted", "mean change, dB", "least, dB", "most, dB"],
        "rows": table,
    }
    record = make_record(
        "strange-ground",
        "training and validation places",
        config={"cover": COVER, "seeds": options.seeds, "model": MODEL},
        scores=scores,
        seconds=time.perf_counter() - started,
        data=hash_paths([path for row in rows for path in (row.optical, row.sar)], root=options.root.resolve()),
    )
    write_record(options.record, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
