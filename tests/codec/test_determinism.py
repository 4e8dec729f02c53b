"""The same bytes give the same symbols, however many threads and whatever kernels work on them; pixels nearly so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import decoded_symbols
from decoded_symbols import heard_while_decoding, heard_while_encoding
from eorestore.codec import block_transform, fallback
from eorestore.codec.container import ContainerWriter
from eorestore.codec.fallback import as_jpeg2000
from eorestore.codec.fidelity_coder import FidelityCoder
from eorestore.codec.modes import Wish
from eorestore.codec.scene import compress_scene, plan_header
from eorestore.codec.source import RasterSource
from small_sar import sar_raster, sar_values

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.eoz"))
MADE = ("larger.eoz", "quicklook.eoz", "jpeg2000.eoz")
NAMES = (*(path.name for path in GOLDEN), *MADE)
LAST_BITS = 1e-4  # dB: what float32 sums in another order may differ by
ENVIRONMENTS = {
    "one thread": dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "two threads": dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2"),
    "kernels without AVX": {"OPENBLAS_CORETYPE": "Nehalem", "OMP_NUM_THREADS": "1"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """By environment: digests of symbols, whether torch was imported, and pixels, from a process of its own."""
    folder = tmp_path_factory.mktemp("streams")
    patch = pytest.MonkeyPatch()
    patch.setattr(fallback, "MOST_VALUES", 0)
    compress_scene(RasterSource(sar_raster((250, 256), names=("VV",))), folder / MADE[0], Wish(quality=6.0))
    compress_scene(RasterSource(sar_raster((80, 72), hole=True)), folder / MADE[1], Wish(quicklook=True))
    patch.undo()
    source = RasterSource(sar_raster((80, 72)))
    whole = as_jpeg2000(source, plan_header(source, Wish(quality=5.0)), size=2000, psnr=0.0)
    with ContainerWriter(folder / MADE[2], whole.header) as writer:
        writer.add(whole.content)
        writer.finish()
    paths = [*GOLDEN, *(folder / name for name in MADE)]
    found = {}
    for name, environment in ENVIRONMENTS.items():
        out = folder / f"{name}.npz"
        command = [sys.executable, decoded_symbols.__file__, str(out), *map(str, paths)]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout) | {"pixels": dict(np.load(out))}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_threads_and_kernels_do_not_change_a_symbol(runs, name):
    digests = {run["symbols"][name] for run in runs.values()}
    assert len(digests) == 1
    counts = {run["pixels"][name].size for run in runs.values()}
    assert len(counts) == 1


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_files_hold_the_symbols_that_were_coded(runs, path):
    told = path.with_suffix(".symbols").read_text().strip()
    assert {run["symbols"][path.name] for run in runs.values()} == {told}


@pytest.mark.parametrize("name", NAMES)
def test_pixels_differ_by_the_last_bits_of_float32_at_most(runs, name):
    first, *others = (run["pixels"][name] for run in runs.values())
    exact = not name.startswith(("v1-fidelity", "larger", "quicklook"))
    for other in others:
        if exact:
            assert np.array_equal(first, other, equal_nan=True)
        else:
            np.testing.assert_allclose(other, first, rtol=0, atol=LAST_BITS)


def test_decoding_imports_no_torch_and_so_no_onednn(runs):
    assert {name: run["torch"] for name, run in runs.items()} == dict.fromkeys(ENVIRONMENTS, False)


def coded(values, valid, step):
    """(bytes, digest of the symbols that went into them)."""
    with heard_while_encoding() as payloads:
        content = FidelityCoder(step).encode(values, valid)
    return content, next(symbols.digest for payload, symbols in payloads.items() if content.endswith(payload))


@pytest.mark.parametrize("step", [1.0, 2.8, 8.0])
def test_analysis_in_bfloat16_gives_other_bytes_and_each_decodes_to_what_was_coded(monkeypatch, step):
    values = sar_values((120, 100))
    valid = np.ones(values.shape, bool)
    streams = {"float32": coded(values, valid, step)}
    exact = block_transform.forward

    def rounded(plane, grid):
        return torch.from_numpy(exact(plane, grid)).to(torch.bfloat16).to(torch.float32).numpy()

    monkeypatch.setattr(block_transform, "forward", rounded)
    streams["bfloat16"] = coded(values, valid, step)
    monkeypatch.undo()
    assert streams["float32"][0] != streams["bfloat16"][0]
    errors = {}
    for name, (content, symbols) in streams.items():
        with heard_while_decoding() as heard:
            back = FidelityCoder(step).decode(content, valid)
        assert heard.digest == symbols
        assert heard.count > values.size / 4
        errors[name] = np.sqrt(np.mean((back - values) ** 2))
    assert errors["bfloat16"] == pytest.approx(errors["float32"], rel=0.05)
