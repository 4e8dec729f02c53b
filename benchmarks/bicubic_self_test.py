"""Does bicubic enlargement score what is published for it? If so, images, resizing, luma and metrics are right.

Set5 and Set14 at x4 under both protocols of metrics/luma.py. RGB: the low-resolution image and the result are rounded
to 8 bits. Y only: luma is rounded to 8 bits, shrunk, enlarged without rounding in between, and the result is rounded.

    python benchmarks/bicubic_self_test.py --root DATA/sr
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from eorestore.data.degradation import Degradation
from eorestore.data.image_files import image_paths, read_image
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.metrics.luma import eight_bit_luma, psnr_luma, ssim_luma
from eorestore.processing.resize import enlarge

SCALE = 4
SETS = ("Set5", "Set14")
KNOWN = {
    ("Set5", "RGB"): (28.431, 0.8113),
    ("Set5", "Y only"): (28.421, 0.8104),
    ("Set14", "RGB"): (26.092, 0.7050),
    ("Set14", "Y only"): (26.094, 0.7037),
}
"""PSNR and SSIM. Set5 is published as 28.42 / 0.8104; Set14 as 26.00 / 0.7027, which no public copy of it gives."""


def bicubic_scores(path: Path) -> dict[str, tuple[float, float]]:
    """PSNR and SSIM of an image by protocol."""
    whole = torch.from_numpy(read_image(path).values / 255).double()
    high = Degradation(SCALE).crop(whole)
    grey = (eight_bit_luma(high) + 0.5).floor() / 255
    return {
        "RGB": _scores(high, Degradation(SCALE).apply(high)),
        "Y only": _scores(grey, Degradation(SCALE, levels=0).apply(grey)),
    }


def _scores(high: Tensor, low: Tensor) -> tuple[float, float]:
    image = enlarge(low, factor=SCALE)
    valid = torch.ones_like(high[:1], dtype=torch.bool)
    return psnr_luma(image, high, valid=valid).item(), ssim_luma(image, high, valid=valid).item()


def main() -> None:
    """Score both sets, compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=Path("results/bicubic-self-test.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    files = {name: image_paths(options.root / name) for name in SETS}
    rows = []
    for name, paths in files.items():
        scores = [bicubic_scores(path) for path in paths]
        for protocol in scores[0]:
            psnr, ssim = (fmean(one[protocol][part] for one in scores) for part in (0, 1))
            expected = KNOWN[name, protocol]
            agree = abs(psnr - expected[0]) < 2e-3 and abs(ssim - expected[1]) < 2e-4
            rows.append([name, protocol, len(paths), round(psnr, 3), round(ssim, 4), *expected, agree])
    columns = ["set", "protocol", "images", "PSNR, dB", "SSIM", "expected PSNR", "expected SSIM", "agree"]
    record = make_record(
        "benchmark",
        "bicubic-self-test",
        config={"scale": SCALE, "sets": list(SETS)},
        scores={"columns": columns, "rows": rows},
        seconds=time.perf_counter() - started,
        data=hash_paths([path for paths in files.values() for path in paths], root=options.root),
    )
    write_record(options.record, record)
    print(json.dumps(record.scores, indent=1))


if __name__ == "__main__":
    main()
