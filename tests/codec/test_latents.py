import math
import struct

import numpy as np
import pytest
from scipy.stats import laplace, norm

from eorestore.codec.coder import TOKENS, to_tokens
from eorestore.codec.latents import STORAGES, decode_latent, encode_latent, latent_tables
from eorestore.errors import CodecError, UsageError


def latent(*shape: int, scale: float = 3.0, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    channels = generator.normal(0, 5, size=(shape[0], 1, 1))
    return (channels + scale * generator.laplace(size=shape)).astype(np.float32)


def test_float32_is_exact_and_costs_four_bytes_a_value():
    values = latent(5, 7, 9)
    payload = encode_latent(values, storage="float32")
    assert len(payload) == 7 + 4 * 5 * 7 * 9
    assert np.array_equal(decode_latent(payload), values)


def test_float16_is_what_numpy_makes_of_it():
    values = latent(5, 7, 9)
    payload = encode_latent(values, storage="float16")
    assert len(payload) == 7 + 2 * 5 * 7 * 9
    assert np.array_equal(decode_latent(payload), values.astype(np.float16).astype(np.float32))
    assert np.isfinite(decode_latent(encode_latent(values * 1e6, storage="float16"))).all()


def test_int8_is_off_by_half_of_its_channels_step_at_most():
    values = latent(4, 12, 10)
    values[2] = 7.5  # a channel that does not vary has no step
    payload = encode_latent(values, storage="int8")
    assert len(payload) == 7 + 4 * 8 + 4 * 120
    step = np.ptp(values, axis=(1, 2)) / 255
    error = np.abs(decode_latent(payload) - values).max(axis=(1, 2))
    assert (error <= 0.501 * step + 1e-5).all()
    assert (decode_latent(payload)[2] == 7.5).all()


@pytest.mark.parametrize("step", [0.01, 0.3, 1.0, 40.0])
def test_coded_values_are_whole_steps_from_the_median_of_their_channel_and_off_by_half_a_step(step):
    values = latent(6, 9, 11)
    decoded = decode_latent(encode_latent(values, storage="coded", step=step))
    median = np.median(values, axis=(1, 2), keepdims=True).astype(np.float16).astype(np.float64)
    exact = median + np.round((values - median) / float(np.float32(step))) * float(np.float32(step))
    assert np.array_equal(decoded, exact.astype(np.float32))
    assert np.abs(decoded - values).max() <= 0.5001 * step + 1e-5


@pytest.mark.parametrize("draw", [laplace, norm], ids=["Laplace", "normal"])
def test_coded_bytes_are_within_three_per_cent_of_the_entropy_of_what_is_coded(draw):
    values = draw.rvs(scale=4.0, size=(1, 200, 200), random_state=1).astype(np.float32)
    payload = encode_latent(values, storage="coded", step=1.0)
    edges = np.arange(-200, 201) - 0.5
    shares = np.diff(draw.cdf(edges, scale=4.0))
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert entropy < 8 * len(payload) / values.size < 1.03 * entropy


def test_a_coarse_step_costs_no_more_than_the_entropy_of_the_few_levels_left():
    values = norm.rvs(loc=0.75, scale=0.15, size=(1, 200, 200), random_state=1).astype(np.float32)
    for step in (0.3, 0.6):
        levels = np.round((values - np.median(values)) / step)
        shares = np.unique(levels, return_counts=True)[1] / values.size
        entropy = -(shares * np.log2(shares)).sum()
        assert 8 * len(encode_latent(values, storage="coded", step=step)) / values.size < 1.05 * entropy + 0.02


def test_channels_of_different_spread_get_tables_of_their_own():
    values = np.concatenate([latent(1, 40, 40, scale=0.2), latent(1, 40, 40, scale=30)])
    apart = sum(len(encode_latent(values[i : i + 1], storage="coded")) for i in (0, 1))
    assert len(encode_latent(values, storage="coded")) <= apart


def test_values_far_beyond_the_tables_still_come_back():
    values = latent(3, 5, 5)
    values[1, 2, 3] = 30_000
    assert decode_latent(encode_latent(values, storage="coded"))[1, 2, 3] == pytest.approx(30_000, abs=0.51)
    with pytest.raises(UsageError, match="32,767 steps"):
        encode_latent(values, storage="coded", step=0.5)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_latent_of_one_value_comes_back(storage):
    assert decode_latent(encode_latent(np.full((1, 1, 1), -3, np.float32), storage=storage)).tolist() == [[[-3.0]]]


@pytest.mark.parametrize("storage", STORAGES)
def test_damaged_bytes_are_an_error_or_other_values_of_the_same_kind(storage):
    payload = encode_latent(latent(4, 6, 6), storage=storage)
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(payload)
        damaged[generator.integers(len(damaged))] ^= 1 << int(generator.integers(8))
        cut = bytes(damaged[: generator.integers(len(damaged) + 1)]) if generator.random() < 0.5 else bytes(damaged)
        try:
            assert decode_latent(cut).ndim == 3
        except CodecError:
            continue


def test_a_size_that_asks_for_all_memory_is_refused():
    payload = encode_latent(latent(2, 3, 3), storage="coded")
    with pytest.raises(CodecError, match="is no latent"):
        decode_latent(struct.pack("<BHHH", 3, 60_000, 60_000, 60_000) + payload[7:])


def test_what_is_no_latent_is_refused():
    with pytest.raises(UsageError, match="finite"):
        encode_latent(np.full((1, 2, 2), np.nan, np.float32), storage="float32")
    with pytest.raises(UsageError, match="step of 0"):
        encode_latent(latent(1, 2, 2), storage="coded", step=0)
    with pytest.raises(UsageError, match="no storage"):
        encode_latent(latent(1, 2, 2), storage="jpeg")


def test_the_tables_are_the_distributions_that_they_are_named_after():
    counts = latent_tables().counts / 2**16
    tokens = to_tokens(np.arange(4096, dtype=np.uint32))[0]
    width = 4
    for _ in range(20):
        width = width * 6 // 5 + 1
    q = width / (width + 1024)
    shares = (1 - q) / (1 + q) * np.where(np.arange(4096) == 0, 1, 2) * q ** np.arange(4096)
    expected = np.bincount(tokens, weights=shares, minlength=TOKENS)
    assert np.abs(counts[20] - expected).max() < 0.003
    assert counts.shape == (128, TOKENS)
    assert math.isclose(counts[64 + 63, 0], counts[64 + 63, 1] / 2, rel_tol=0.05)  # a wide bell is flat at its top
