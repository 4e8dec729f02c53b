"""Peak memory of one training step of every published GLF-CR, batch 1, 128 x 128, with and without checkpointing.

Each step (forward, L1, backward, AdamW) runs in a process of its own on the CPU; the memory of a second network in a
loss comes on top. Prints the table and writes results/training-memory.json. A step takes up to two minutes.

    python benchmarks/training_memory.py --presets glf-cr-v0 glf-cr-v4
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

STEP = """
import resource, sys, time
import torch
from eorestore.config import load_config
from eorestore.losses.pixel import l1
from eorestore.models.catalogue import find_preset
from eorestore.models.parts import example_inputs
from eorestore.models.table import build_model
config = load_config(find_preset(sys.argv[1]))
settings = {**config.model.settings, "checkpointing": sys.argv[2] == "on"}
model = build_model(config.model.name, settings, seed=config.seed).train()
inputs = example_inputs(model, height=128, width=128)
optimizer = torch.optim.AdamW(model.parameters(), lr=config.training.learning_rate)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
image = model(**inputs).image
loss = l1(image, torch.rand_like(image), valid=torch.ones_like(image[:, :1], dtype=torch.bool))
loss.backward()
optimizer.step()
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before / 2**20, peak / 2**20, seconds, sum(weight.numel() for weight in model.parameters()))
"""
PRESETS = ("glf-cr-v0", "glf-cr-v1", "glf-cr-v3", "glf-cr-v4")  # v2 is the network of v1
LIMIT_GB = 4.0


def measure(preset: str, checkpointing: str) -> list[object]:
    """One line of the table: preset, checkpointing, parameters, GiB before the step, at its peak, seconds, fits."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-c", STEP, preset, checkpointing]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{preset} failed: {done.stderr}")
    before, peak, seconds, parameters = (float(word) for word in done.stdout.split())
    line = [preset, checkpointing, int(parameters), round(before, 2), round(peak, 2), round(seconds, 1)]
    return [*line, peak * 2**30 <= LIMIT_GB * 1e9]


def main() -> None:
    """Measure every preset twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--record", type=Path, default=Path("results/training-memory.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    rows = []
    for preset in options.presets:
        for checkpointing in ("off", "on"):
            rows.append(measure(preset, checkpointing))
            print(*rows[-1], flush=True)
    scores = {
        "columns": ["preset", "checkpointing", "parameters", "GiB before", "GiB at peak", "seconds", "fits in 4 GB"],
        "rows": rows,
    }
    write(scores, options.record, seconds=time.perf_counter() - started)


def write(scores: dict[str, object], path: Path, *, seconds: float) -> None:
    """The record of the whole table."""
    from eorestore.experiments.record import make_record, write_record

    config = {"batch": 1, "side": 128, "precision": "fp32", "optimiser": "AdamW", "loss": "l1", "device": "cpu"}
    record = make_record("benchmark", "training-memory", config=config, scores=scores, seconds=seconds, data={})
    write_record(path, record)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
