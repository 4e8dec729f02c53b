"""The entropy coder: round trips, its price, a second reader, a stream of old, damaged streams."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eorestore.codec.coder import TOKENS, Decoder, Encoder, from_tokens, mantissa_bits, to_tokens
from eorestore.codec.coder_reference import ReferenceDecoder
from eorestore.codec.tables import Tables, tables_from
from eorestore.errors import CodecError

# Made by: python tests/codec/test_coder.py
GOLDEN = Path(__file__).parents[1] / "golden" / "coder.json"

SYMBOLS = 60
magnitudes = hnp.arrays(np.uint32, st.integers(0, 300), elements=st.integers(0, 2**32 - 1))


@lru_cache
def tables(count: int = 12) -> Tables:
    """Laplacian tables of growing spread, made of integers alone; the last one lacks every third symbol."""
    spread = 2 + np.arange(count)[:, None]
    away = np.abs(np.arange(SYMBOLS) - SYMBOLS // 2)[None, :]
    histograms = (1 << 40) // (1 + away * away * 64 // (spread * spread)) ** 2
    histograms[-1, ::3] = 0
    return Tables(np.vstack([tables_from(histograms[:-1]).counts, tables_from(histograms[-1:], floor=0).counts]))


def content(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols drawn from the tables, and the indices of these."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 12, size).astype(np.uint16)
    ends = tables().counts.cumsum(axis=1)
    drawn = rng.integers(0, 2**16, size)
    return (ends[indices] <= drawn[:, None]).sum(axis=1).astype(np.int32), indices


def stream(seed: int, size: int) -> tuple[bytes, list[np.ndarray]]:
    """A payload of two groups of symbols with raw bits between, and what is in it."""
    symbols, indices = content(seed, size)
    tokens, mantissas, _ = to_tokens(np.random.default_rng(seed).integers(0, 2**32, size).astype(np.uint32))
    return write(symbols, indices, tokens, mantissas), [symbols, indices, tokens, mantissas]


def write(symbols: np.ndarray, indices: np.ndarray, tokens: np.ndarray, mantissas: np.ndarray) -> bytes:
    encoder = Encoder(tables())
    half = symbols.size // 2
    encoder.add(symbols[:half], indices[:half])
    encoder.add_bits(mantissas, mantissa_bits(tokens))
    encoder.add(symbols[half:], indices[half:])
    encoder.add_bits(mantissas[:3], 5)
    return encoder.finish()


def read_back(decoder: Decoder | ReferenceDecoder, indices: np.ndarray, tokens: np.ndarray) -> list[np.ndarray]:
    half = indices.size // 2
    first = decoder.take(indices[:half])
    mantissas = decoder.take_bits(mantissa_bits(tokens))
    second = decoder.take(indices[half:])
    short = decoder.take_bits(np.full(min(3, tokens.size), 5, np.uint8))
    decoder.finish()
    return [np.concatenate([first, second]), mantissas, short]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**30), size=st.integers(0, 400))
def test_what_went_in_comes_out(seed, size):
    payload, (symbols, indices, tokens, mantissas) = stream(seed, size)
    decoded, raw, short = read_back(Decoder(payload, tables()), indices, tokens)
    np.testing.assert_array_equal(decoded, symbols)
    np.testing.assert_array_equal(raw, mantissas)
    np.testing.assert_array_equal(short, mantissas[:3] & 31)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**30), size=st.integers(0, 200))
def test_a_reader_written_from_the_equations_reads_the_same_stream(seed, size):
    payload, (symbols, indices, tokens, mantissas) = stream(seed, size)
    decoded, raw, _ = read_back(ReferenceDecoder(payload, tables()), indices, tokens)
    np.testing.assert_array_equal(decoded, symbols)
    np.testing.assert_array_equal(raw, mantissas)


def test_symbols_cost_what_shannon_says():
    symbols, indices = content(1, 20_000)
    encoder = Encoder(tables())
    encoder.add(symbols, indices)
    ideal = tables().cost(symbols, indices)
    assert ideal <= 8 * len(encoder.finish()) <= ideal + 48


def test_a_stream_of_nothing_is_one_byte():
    payload = Encoder(tables()).finish()
    assert payload == b"\0"
    Decoder(payload, tables()).finish()


@settings(max_examples=100, deadline=None)
@given(values=magnitudes)
def test_tokens_and_mantissas_give_any_32_bits_back(values):
    tokens, mantissas, bits = to_tokens(values)
    np.testing.assert_array_equal(from_tokens(tokens, mantissas), values)
    np.testing.assert_array_equal(mantissa_bits(tokens), bits)
    assert (mantissas.astype(np.uint64) < np.uint64(1) << bits.astype(np.uint64)).all()
    assert tokens.max(initial=0) < TOKENS


def test_small_values_are_tokens_and_the_largest_is_the_last_token():
    tokens, _, bits = to_tokens(np.array([0, 15, 16, 2**32 - 1], np.uint32))
    assert tokens.tolist() == [0, 15, 16, TOKENS - 1]
    assert bits.tolist() == [0, 0, 2, 29]


def test_the_golden_stream_still_reads_and_is_still_written():
    golden = json.loads(GOLDEN.read_text())
    payload = bytes.fromhex(golden["payload"])
    symbols, indices, tokens, mantissas = (
        np.array(golden[name], kind)
        for name, kind in [("symbols", "i4"), ("indices", "u2"), ("tokens", "i4"), ("mantissas", "u4")]
    )
    decoded, raw, _ = read_back(Decoder(payload, tables()), indices, tokens)
    np.testing.assert_array_equal(decoded, symbols)
    np.testing.assert_array_equal(raw, mantissas)
    assert write(symbols, indices, tokens, mantissas) == payload


@pytest.mark.parametrize("seed", range(8))
def test_damage_gives_other_symbols_or_a_clear_error(seed):
    rng = np.random.default_rng(seed)
    payload, (symbols, indices, tokens, *_) = stream(seed, 300)
    refused = 0
    for _ in range(25):
        damaged = bytearray(payload)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] ^= int(rng.integers(1, 256))
        cut = bytes(damaged[: rng.integers(0, len(damaged) + 1)] if rng.random() < 0.5 else damaged)
        try:
            decoded, *_ = read_back(Decoder(cut, tables()), indices, tokens)
            assert decoded.shape == symbols.shape
            assert ((decoded >= 0) & (decoded < SYMBOLS)).all()
        except CodecError:
            refused += 1
    assert refused >= 5


def test_an_unfinished_read_is_an_error():
    payload, (_, indices, *_) = stream(3, 50)
    decoder = Decoder(payload, tables())
    decoder.take(indices[:10])
    with pytest.raises(CodecError, match="more than its symbols") as caught:
        decoder.finish()
    assert caught.value.exit_code == 4


def test_raw_bits_past_the_end_are_an_error():
    with pytest.raises(CodecError, match="raw bits"):
        Decoder(b"\x01\xff", tables()).take_bits(np.array([9], np.uint8))


def test_a_symbol_that_its_table_lacks_is_an_error():
    encoder = Encoder(tables())
    encoder.add(np.array([3], np.int32), np.array([11], np.uint16))
    with pytest.raises(CodecError, match="not in table 11"):
        encoder.finish()


def test_two_threads_read_what_one_reads():
    streams = [stream(seed, 200) for seed in range(6)]
    with ThreadPoolExecutor(2) as pool:
        read = list(pool.map(lambda one: read_back(Decoder(one[0], tables()), one[1][1], one[1][2])[0], streams))
    for decoded, (_, (symbols, *_)) in zip(read, streams, strict=True):
        np.testing.assert_array_equal(decoded, symbols)


@pytest.mark.parametrize("counts", [[[2**16, 0]], [[1, 2]], [[2**15, 2**15 - 1]]])
def test_tables_must_share_out_everything_among_two_symbols(counts):
    with pytest.raises(CodecError, match="share"):
        Tables(np.array(counts, np.uint32))


@settings(max_examples=60, deadline=None)
@given(histogram=hnp.arrays(np.int64, (2, 20), elements=st.integers(0, 2**40)))
def test_tables_are_nearest_to_their_histograms(histogram):
    counts = tables_from(histogram).counts
    assert (counts >= 1).all()
    whole = np.where(histogram.sum(axis=1, keepdims=True) > 0, histogram, 1)
    ideal = whole / whole.sum(axis=1, keepdims=True) * (2**16 - 20) + 1
    assert np.abs(counts - ideal).max() < 1.0001


def test_three_million_symbols_a_second_are_read():
    symbols, indices = content(5, 260_000)
    encoder = Encoder(tables())
    encoder.add(symbols, indices)
    payload = encoder.finish()
    seconds = []
    for _ in range(3):
        started = time.process_time()
        Decoder(payload, tables()).take(indices)
        seconds.append(time.process_time() - started)
    assert 260_000 / min(seconds) > 3e6


if __name__ == "__main__":
    payload, (symbols, indices, tokens, mantissas) = stream(11, 60)
    named = {"symbols": symbols, "indices": indices, "tokens": tokens, "mantissas": mantissas}
    lists = {name: values.tolist() for name, values in named.items()}
    GOLDEN.write_text(json.dumps({"payload": payload.hex(), **lists}) + "\n")
