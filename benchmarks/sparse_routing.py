"""What a budget of experts saves and costs: seconds and PSNR of a fusion with all, half, a quarter of the tiles hard.

The tiles are the test pictures of a manifest, laid out as one scene: `prepare` sees their mosaic, so the hardest share
of them runs all experts and the fusion, and the others the first expert alone (models/fused_experts.py). The same with
every tile easy is the first expert by itself. Every share takes its turn in every round; seconds are of the processor.

    python benchmarks/sparse_routing.py --model sr-x4 --data presets/images/aerial.csv --root ../shared/data
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from eorestore.data.degradation import Degradation, rounded
from eorestore.data.image_pairs import pairs_of, read_rows
from eorestore.data.image_samples import PairReader
from eorestore.experiments.bootstrap import paired_interval
from eorestore.experiments.record import hash_paths, make_record, write_record
from eorestore.metrics.luma import psnr_luma
from eorestore.models.catalogue import resolve
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.fused_experts import FusedExperts, Routing, whole_model
from eorestore.models.model import SceneSample

SHARES = (1.0, 0.5, 0.25, 0.1)
EXPERT = "first expert alone"


def routed(model: FusedExperts, lows: list[Tensor]) -> list[Tensor]:
    """Every tile through the fusion, with the limit that `prepare` finds on all of them."""
    side = lows[0].shape[-1]
    scene = SceneSample({}, ({"low": torch.cat(lows, dim=-1)},))
    model.routing = Routing(model.routing.share, tile=side) if model.routing else None
    constants = {name: value[None] for name, value in model.prepare(scene).constants.items()}
    return [model(low=low, **constants).image for low in lows]


def main() -> None:
    """Run all shares in turns and print and record what they took and gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sr-x4")
    parser.add_argument("--data", type=Path, default=Path("presets/images/aerial.csv"))
    parser.add_argument("--root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/sparse-routing.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    checkpoint = load_checkpoint(resolve(options.model).path or Path(options.model))
    models = {f"{share:.0%}": whole_model(checkpoint, routing=Routing(share)) for share in SHARES}
    rows = [row for row in read_rows(options.data, root=options.root) if row.split == "test"]
    pairs = pairs_of(rows, "test", scale=checkpoint.model.scale)
    read = PairReader(checkpoint.processor, Degradation(checkpoint.model.scale))
    place_of = {row.id: row.place for row in rows}
    every = [
        (place_of[pair.id.split("/")[0]], {name: torch.from_numpy(value)[None] for name, value in read(pair).items()})
        for pair in pairs
    ]
    shapes = [one["low"].shape for _, one in every]
    kept = [(place, one) for place, one in every if one["low"].shape == statistics.mode(shapes)]
    maps = [one for _, one in kept]
    lows = [one["low"] for one in maps]
    places = [place for place, _ in kept]
    seconds: dict[str, list[float]] = {name: [] for name in (*models, EXPERT)}
    images: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for _ in range(options.rounds):
            for name, model in models.items():
                assert isinstance(model, FusedExperts)
                before = time.process_time()
                images[name] = routed(model, lows)
                seconds[name].append(time.process_time() - before)
            first = next(iter(models.values()))
            before = time.process_time()
            images[EXPERT] = [first.experts.experts[0](low)[0] for low in lows]
            seconds[EXPERT].append(time.process_time() - before)
    psnr = {
        name: [
            float(psnr_luma(rounded(image), one["target"], valid=one["valid"], shave=checkpoint.model.scale))
            for image, one in zip(made, maps, strict=True)
        ]
        for name, made in images.items()
    }
    whole = f"{SHARES[0]:.0%}"
    table = []
    for name in images:
        lost = [value - reference for value, reference in zip(psnr[name], psnr[whole], strict=True)]
        by_place: dict[str, list[float]] = {}
        for place, value in zip(places, lost, strict=True):
            by_place.setdefault(place, []).append(value)
        interval = paired_interval(by_place) if name != whole else None
        table.append(
            [
                name,
                f"{statistics.mean(psnr[name]):.3f}",
                f"{statistics.mean(lost):+.4f}",
                "reference" if interval is None else f"[{interval.low:+.4f}, {interval.high:+.4f}]",
                round(statistics.median(seconds[name]), 3),
                round(statistics.median(seconds[name]) / statistics.median(seconds[whole]), 3),
            ]
        )
    columns = ["hard tiles", "PSNR, dB", "against all", "95 %", "seconds", "share of the seconds"]
    config = {"model": options.model, "tiles": len(maps), "rounds": options.rounds, "weights": checkpoint.sha256}
    data = hash_paths([path for row in rows for path in row.files], root=options.root)
    scores = {"columns": columns, "rows": table}
    seconds_all = time.perf_counter() - started
    write_record(
        options.out,
        make_record("benchmark", "sparse-routing", config=config, scores=scores, seconds=seconds_all, data=data),
    )
    print(" | ".join(columns))
    for row in table:
        print(" | ".join(str(cell) for cell in row))


if __name__ == "__main__":
    main()
