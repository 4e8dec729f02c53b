"""The lossless coder of whole numbers: exactness, rate against others, damaged streams, a stream of old."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from eorestore.codec.predictive import PredictiveCoder
from eorestore.errors import CodecError

# Made by: python tests/codec/test_predictive.py
GOLDEN = Path(__file__).parents[1] / "golden" / "predictive.json"
EXTREMES = (-(2**31), 2**31 - 1)


def speckle(height: int, width: int, *, step: float, seed: int = 0) -> np.ndarray:
    """A scene of 4 looks in steps of `step` dB, correlated as map-grid products are: int32 (2, y, x)."""
    rng = np.random.default_rng(seed)
    kernel = np.array([0.5, 1.0, 0.5])
    ground = ndimage.gaussian_filter(rng.normal(size=(height, width)), 8) * 40 - 12
    bands = []
    for offset in (0, -7):
        power = np.zeros((height, width))
        for _ in range(4):
            field = rng.normal(size=(height, width)) + 1j * rng.normal(size=(height, width))
            power += np.abs(ndimage.convolve1d(ndimage.convolve1d(field, kernel, axis=0), kernel, axis=1)) ** 2
        bands.append(ground + offset + 10 * np.log10(power / power.mean()))
    return np.round(np.stack(bands) / step).astype(np.int32)


def resampled(bands: np.ndarray) -> np.ndarray:
    """The nearest neighbours on a slightly turned grid with narrower columns: every fifth column or so comes twice."""
    y, x = np.mgrid[: bands.shape[1], : int(bands.shape[2] / 0.82)]
    columns = np.floor(0.79 * x + 0.02 * y + 1.3).astype(int)
    return np.ascontiguousarray(bands[:, y, np.clip(columns, 0, bands.shape[2] - 1)])


def rate(payload: bytes, values: np.ndarray) -> float:
    return 8 * len(payload) / values.size


def assert_exact(values: np.ndarray, valid: np.ndarray) -> bytes:
    payload = PredictiveCoder().encode(values, valid)
    decoded = PredictiveCoder().decode(payload, valid)
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, np.where(valid, values, 0))
    return payload


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 2**30),
    spread=st.sampled_from([1, 3, 100, 2**20, 2**31 - 1]),
    share=st.sampled_from([0.0, 0.1, 0.9, 1.0]),
)
def test_any_tile_comes_back(shape, seed, spread, share):
    rng = np.random.default_rng(seed)
    values = rng.integers(-spread, spread, shape, dtype=np.int64).astype(np.int32)
    assert_exact(values, rng.random(shape) < share)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 50), (2, 50, 1), (1, 17, 16), (1, 33, 2)])
def test_the_ends_of_32_bits_come_back(shape):
    rng = np.random.default_rng(1)
    assert_exact(rng.choice(np.array(EXTREMES, np.int32), shape), np.ones(shape, bool))


@pytest.mark.parametrize("constant", [0, -3, *EXTREMES])
def test_a_constant_tile_costs_next_to_nothing(constant):
    values = np.full((1, 256, 256), constant, np.int32)
    assert len(assert_exact(values, np.ones(values.shape, bool))) < 10


def test_a_band_may_be_constant_beside_one_that_is_not():
    values = speckle(40, 40, step=1.0)
    values[0] = 7
    assert_exact(values, np.ones(values.shape, bool))
    assert_exact(values[::-1].copy(), np.ones(values.shape, bool))


def test_a_tile_without_valid_pixels_is_no_bytes():
    values = np.ones((2, 30, 30), np.int32)
    assert assert_exact(values, np.zeros(values.shape, bool)) == b""


def test_invalid_pixels_cost_nothing_whatever_they_hold():
    values = speckle(128, 128, step=0.01)
    valid = np.ones(values.shape, bool)
    whole = len(assert_exact(values, valid))
    valid[:, :, 64:] = False
    noise = values.copy()
    noise[:, :, 64:] = np.random.default_rng(2).integers(*EXTREMES, noise[:, :, 64:].shape)
    assert len(assert_exact(noise, valid)) < 0.56 * whole
    assert PredictiveCoder().encode(noise, valid) == PredictiveCoder().encode(values, valid)


@pytest.mark.parametrize(("step", "most"), [(0.01, 9.8), (1.0, 3.1)])
def test_speckle_takes_no_more_bits_than_it_did(step, most):
    values = speckle(192, 192, step=step)
    assert rate(assert_exact(values, np.ones(values.shape, bool)), values) < most


def test_doubled_columns_are_nearly_free():
    plain = speckle(192, 192, step=0.01)
    doubled = resampled(plain)
    valid = np.ones(doubled.shape, bool)
    single = rate(PredictiveCoder().encode(plain, np.ones(plain.shape, bool)), plain)
    assert rate(assert_exact(doubled, valid), doubled) < 0.9 * single
    turned = np.ascontiguousarray(doubled.transpose(0, 2, 1))
    assert rate(assert_exact(turned, np.ones(turned.shape, bool)), turned) < 0.9 * single


def test_numbers_that_never_occur_are_not_paid_for():
    values = speckle(128, 128, step=0.01)
    gaps = values * 3 // 2
    dense = rate(assert_exact(values, np.ones(values.shape, bool)), values)
    assert rate(assert_exact(gaps, np.ones(values.shape, bool)), values) < dense + 0.12


def test_a_second_band_is_predicted_from_the_first():
    first = speckle(128, 128, step=0.1)[0]
    second = first - 70 + np.random.default_rng(3).integers(-1, 2, first.shape).astype(np.int32)
    both = np.stack([first, second])
    alone = PredictiveCoder().encode(second[None], np.ones((1, 128, 128), bool))
    first_alone = PredictiveCoder().encode(first[None], np.ones((1, 128, 128), bool))
    assert len(assert_exact(both, np.ones(both.shape, bool))) < len(first_alone) + 0.9 * len(alone)


@pytest.mark.parametrize(("values", "valid"), [((1, 8, 8), (1, 8, 9)), ((8, 8), (8, 8))])
def test_a_tile_of_another_shape_is_refused(values, valid):
    with pytest.raises(CodecError, match="a tile is"):
        PredictiveCoder().encode(np.zeros(values, np.int32), np.ones(valid, bool))


def test_floats_are_refused():
    with pytest.raises(CodecError, match="float32"):
        PredictiveCoder().encode(np.zeros((1, 4, 4), np.float32), np.ones((1, 4, 4), bool))


@pytest.mark.parametrize("kind", ["plain", "doubled", "gaps"])
def test_damage_gives_a_clear_error_or_other_pixels(kind):
    values = speckle(64, 64, step=1.0)
    values = {"plain": values, "doubled": resampled(values), "gaps": values * 3 // 2}[kind]
    valid = np.ones(values.shape, bool)
    payload = PredictiveCoder().encode(values, valid)
    rng = np.random.default_rng(4)
    tracemalloc.start()
    started = time.process_time()
    refused = 0
    for case in range(16):
        damaged = bytearray(payload)
        head = case % 3 == 0
        for place in rng.integers(0, 60 if head else len(damaged), 2):
            damaged[place] ^= int(rng.integers(1, 256))
        cut = bytes(damaged[: rng.integers(0, len(damaged))] if case % 4 == 0 else damaged)
        try:
            decoded = PredictiveCoder().decode(cut, valid)
            assert decoded.shape == values.shape
        except CodecError:
            refused += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused >= 4
    assert peak < 100e6
    assert time.process_time() - started < 30


def test_an_empty_payload_is_an_error_where_pixels_are_valid():
    with pytest.raises(CodecError):
        PredictiveCoder().decode(b"", np.ones((1, 4, 4), bool))


def test_threads_and_processes_write_the_same_bytes(tmp_path):
    values = speckle(96, 96, step=0.01)
    valid = np.ones(values.shape, bool)
    payload = PredictiveCoder().encode(values, valid)
    with ThreadPoolExecutor(2) as pool:
        written = list(pool.map(lambda _: PredictiveCoder().encode(values, valid), range(4)))
        read = list(pool.map(lambda one: PredictiveCoder().decode(one, valid), written))
    assert set(written) == {payload}
    for decoded in read:
        np.testing.assert_array_equal(decoded, values)
    script = (
        "import sys, hashlib, numpy as np\n"
        "from eorestore.codec.predictive import PredictiveCoder\n"
        "values = np.load(sys.argv[1])\n"
        "print(hashlib.sha256(PredictiveCoder().encode(values, np.ones(values.shape, bool))).hexdigest())"
    )
    path = tmp_path / "tile.npy"
    np.save(path, values)
    digests = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        digests.add(
            subprocess.run(
                [sys.executable, "-c", script, str(path)], env=environment, capture_output=True, text=True, check=True
            ).stdout
        )
    assert len(digests) == 1


def test_the_golden_stream_still_reads_and_is_still_written():
    golden = json.loads(GOLDEN.read_text())
    values = np.array(golden["values"], np.int32)
    valid = np.array(golden["valid"], bool)
    assert PredictiveCoder().stamp.hex() == golden["stamp"]
    decoded = PredictiveCoder().decode(bytes.fromhex(golden["payload"]), valid)
    np.testing.assert_array_equal(decoded, np.where(valid, values, 0))
    assert PredictiveCoder().encode(values, valid).hex() == golden["payload"]


@pytest.mark.real
@pytest.mark.parametrize(("step", "most"), [(0.01, 8.05), (1.0, 2.22)])
def test_public_bands_take_fewer_bits_than_with_jpeg_xl(real_data, step, most):
    """JPEG XL, effort 7, lossless, takes 8.39 and 2.33 bits per pixel on these five bands."""
    rates = []
    for path in sorted((real_data / "sar" / "test").glob("*.npy")):
        lowest = -30 if path.stem.endswith("VV") else -38
        plane = np.clip(np.load(path).astype(np.float64), lowest, lowest + 40)
        values = np.round(plane / step).astype(np.int32)[None]
        rates.append(rate(assert_exact(values, np.ones(values.shape, bool)), values))
    assert len(rates) == 5
    assert np.mean(rates) < most


if __name__ == "__main__":
    scene = resampled(speckle(24, 30, step=0.5, seed=9))
    mask = np.ones(scene.shape, bool)
    mask[0, :5, :7] = mask[1, 20:, 20:] = False
    coder = PredictiveCoder()
    stored = {"stamp": coder.stamp.hex(), "payload": coder.encode(scene, mask).hex()}
    lists = {"values": np.where(mask, scene, 0).tolist(), "valid": mask.astype(int).tolist()}
    GOLDEN.write_text(json.dumps({**stored, **lists}, separators=(",", ":")) + "\n")
