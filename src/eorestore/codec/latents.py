"""The latent of an autoencoder as bytes, in the four ways that the study compares; knows no network and no image.

A stream is self-contained: storage, size, what each channel needs, and the numbers.

    1 byte storage   3 x 2 bytes channels, rows, columns   then, little-endian:
    float32, float16 the values
    int8             offset, step (float32) a channel       one byte a value: round((value - offset) / step)
    coded            step (float32)   centre (float16), table (1 byte) a channel   payload of codec.coder

`coded` rounds the distance from the channel's centre, its median, to whole steps: the magnitude is coded under one of
`latent_tables`, the sign as a raw bit. The tables are made of whole numbers alone and every stream names the one of
each channel, so that no float stands between the bytes and the integers. This is a factorised prior: nothing is learned
of neighbours.
"""

from __future__ import annotations

import functools
import struct
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eorestore.codec.coder import TOKENS, Decoder, Encoder, from_tokens, mantissa_bits, to_tokens
from eorestore.codec.tables import Tables, tables_from
from eorestore.errors import CodecError, UsageError

Storage = Literal["float32", "float16", "int8", "coded"]
STORAGES: tuple[Storage, ...] = ("float32", "float16", "int8", "coded")
_HEAD = struct.Struct("<BHHH")
_LARGEST = 1 << 22  # values; a damaged size must not ask for all memory
_WIDTHS = 64  # tables of each shape
_NARROWEST = 4  # in 1024ths
_FRACTION = 30  # bits
_MOST_STEPS = 32_767
_SINGLE = (float(np.finfo(np.float32).min), float(np.finfo(np.float32).max))
_FARTHEST = 4096  # magnitudes beyond have the least count that a table can give
_FIX = "the bytes are damaged: encode the latent again"


def encode_latent(latent: NDArray[np.float32], *, storage: Storage, step: float = 1.0) -> bytes:
    """The bytes of a latent (channel, y, x).

    Args:
        latent: finite values.
        storage: see the head of this file.
        step: of `coded`, above 0: values are rounded to its multiples. The others ignore it.

    Raises:
        UsageError: an unknown storage, a step that is not above 0, or values that are not finite or lie more than
            32,767 steps from their channel's median.
    """
    if storage not in STORAGES:
        raise UsageError(f"no storage {storage!r}", fix=f"use one of {', '.join(STORAGES)}")
    sized = latent.ndim == 3 and min(latent.shape) > 0 and max(latent.shape) < 1 << 16 and latent.size <= _LARGEST
    if not sized or not np.isfinite(latent).all():
        raise UsageError(f"a latent of shape {latent.shape} is no finite (channel, y, x)", fix="encode one item alone")
    head = _HEAD.pack(STORAGES.index(storage), *latent.shape)
    if storage == "float32":
        return head + latent.astype("<f4").tobytes()
    if storage == "float16":
        return head + np.clip(latent, *_half_range()).astype("<f2").tobytes()
    if storage == "int8":
        return head + _to_int8(latent)
    if not step > 0:
        raise UsageError(f"a step of {step}", fix="give a step above 0")
    stored = np.float32(step)  # what the decoder multiplies by
    return head + struct.pack("<f", stored) + _to_coded(latent, stored)


def decode_latent(payload: bytes) -> NDArray[np.float32]:
    """The latent (channel, y, x) as far as its storage kept it. Raises CodecError for bytes that are none."""
    if len(payload) < _HEAD.size:
        raise CodecError(f"{len(payload)} bytes are no latent", fix=_FIX)
    number, *sizes = _HEAD.unpack_from(payload)
    body = payload[_HEAD.size :]
    channels, rows, columns = shape = (int(sizes[0]), int(sizes[1]), int(sizes[2]))
    values = channels * rows * columns
    if number >= len(STORAGES) or values > _LARGEST:
        raise CodecError(f"storage {number} of {values:,} values is no latent", fix=_FIX)
    storage = STORAGES[number]
    if storage == "coded":
        return _from_coded(body, shape)
    expected = {"float32": 4 * values, "float16": 2 * values, "int8": values + 8 * channels}[storage]
    if len(body) != expected:
        raise CodecError(f"a {storage} latent of {shape} has {len(body)} bytes, not {expected}", fix=_FIX)
    if storage == "int8":
        scales = np.frombuffer(body, "<f4", 2 * channels).reshape(2, channels, 1, 1)
        levels = np.frombuffer(body, np.uint8, values, 8 * channels).reshape(shape)
        if not np.isfinite(scales).all():
            raise CodecError("an int8 latent has a scale that is not finite", fix=_FIX)
        return np.asarray(levels * scales[1] + scales[0], dtype=np.float32)
    return np.frombuffer(body, "<f4" if storage == "float32" else "<f2").reshape(shape).astype(np.float32)


def _to_int8(latent: NDArray[np.float32]) -> bytes:
    low, high = (edge.astype("<f4") for edge in (latent.min(axis=(1, 2)), latent.max(axis=(1, 2))))
    step = np.where(high > low, (high - low) / np.float32(255), np.float32(1)).astype("<f4")
    levels = np.round((latent - low[:, None, None]) / step[:, None, None])
    return b"".join([low.tobytes(), step.tobytes(), np.clip(levels, 0, 255).astype(np.uint8).tobytes()])


def _to_coded(latent: NDArray[np.float32], step: np.float32) -> bytes:
    # About the channel's own median both signs are as frequent, which raw bits for them take for granted.
    centre = np.clip(np.median(latent, axis=(1, 2)), *_half_range()).astype("<f2")
    levels = np.round((latent - centre[:, None, None].astype(np.float64)) / float(step))
    if np.abs(levels).max() > _MOST_STEPS:
        raise UsageError(f"a latent lies more than {_MOST_STEPS:,} steps from its median", fix="give a larger step")
    distance = levels.astype(np.int64).reshape(len(levels), -1)
    tokens, mantissa, bits = to_tokens(np.abs(distance).astype(np.uint32))
    tables = latent_tables()
    histograms = np.stack([np.bincount(row, minlength=TOKENS) for row in tokens])
    best = (histograms @ tables.bits.T.astype(np.float64)).argmin(axis=1).astype(np.uint8)
    encoder = Encoder(tables)
    encoder.add(tokens.ravel(), np.repeat(best, distance.shape[1]).astype(np.uint16))
    encoder.add_bits(mantissa.ravel(), bits.ravel())
    encoder.add_bits((distance[distance != 0] < 0).astype(np.uint32), 1)
    return b"".join([centre.tobytes(), best.tobytes(), encoder.finish()])


def _from_coded(body: bytes, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    channels, each = shape[0], shape[1] * shape[2]
    start = 4 + 3 * channels
    if len(body) < start:
        raise CodecError(f"a coded latent of {channels} channels ends after {len(body)} bytes", fix=_FIX)
    step = struct.unpack_from("<f", body)[0]
    centre = np.frombuffer(body, "<f2", channels, 4).astype(np.float64)
    best = np.frombuffer(body, np.uint8, channels, 4 + 2 * channels)
    tables = latent_tables()
    if not (np.isfinite(step) and step > 0) or not np.isfinite(centre).all() or (best >= len(tables)).any():
        raise CodecError(f"a coded latent has step {step:g} or a centre or table that is none", fix=_FIX)
    decoder = Decoder(body[start:], tables)
    tokens = decoder.take(np.repeat(best, each).astype(np.uint16))
    magnitudes = from_tokens(tokens, decoder.take_bits(mantissa_bits(tokens))).astype(np.int64)
    found = magnitudes > 0
    signs = decoder.take_bits(np.ones(int(found.sum()), dtype=np.uint8)).astype(np.int64)
    decoder.finish()
    magnitudes[found] *= 1 - 2 * signs
    values = magnitudes.reshape(channels, each) * float(step) + centre[:, None]
    return np.clip(values, *_SINGLE).reshape(shape).astype(np.float32)


@functools.cache
def latent_tables() -> Tables:
    """Tables of magnitudes, narrow to wide: 64 of two-sided geometric distributions, then 64 of Gaussian ones.

    Geometric: p(m) ~ q^|m|; Gaussian: p(m) ~ q^(m^2); q = t / (t + 1024) for whole t. Products are taken in whole
    numbers over 2^30, so that every machine has the same tables.
    """
    tails, bells = [_NARROWEST], [_NARROWEST]
    for _ in range(_WIDTHS - 1):
        tails.append(tails[-1] * 6 // 5 + 1)
        bells.append(bells[-1] * 5 // 4 + 1)
    width = np.array(tails + bells, dtype=np.int64)
    base = (width << _FRACTION) // (width + 1024)
    # from one magnitude to the next, a geometric share falls by q, a Gaussian one by q, q^3, q^5, ...
    growth = np.where(np.arange(2 * _WIDTHS) < _WIDTHS, 1 << _FRACTION, base * base >> _FRACTION)
    share = np.full(2 * _WIDTHS, 1 << _FRACTION, dtype=np.int64)
    histograms = np.zeros((2 * _WIDTHS, TOKENS), dtype=np.int64)
    ratio = base
    for token in to_tokens(np.arange(_FARTHEST, dtype=np.uint32))[0].tolist():
        histograms[:, token] += share if token == 0 else 2 * share
        share = share * ratio >> _FRACTION
        ratio = ratio * growth >> _FRACTION
    return tables_from(histograms)


def _half_range() -> tuple[float, float]:
    limits = np.finfo(np.float16)
    return float(limits.min), float(limits.max)
