"""The codecs that sar_codecs.py compares: how each takes a radar band to bytes and back, and at which settings.

A codec is one line of `LOSSY`, `BOUNDED` or `LOSSLESS`. One that is no plain image codec gives its own `encode` and
`decode` over bands in decibels. Settings go from the lowest rate to the highest.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

SPAN = 40.0  # decibels
Array = NDArray[Any]
ImageEncode = Callable[[Array, float], bytes]
ImageDecode = Callable[[bytes, tuple[int, int]], Array]


@dataclass(frozen=True)
class Band:
    """One band. values: decibels clipped to [low, low + 40], (y, x) float64, filled where not `valid`."""

    name: str
    polarisation: str
    low: float
    values: NDArray[np.float64]
    valid: NDArray[np.bool_]

    @property
    def scaled(self) -> NDArray[np.float64]:
        """Values in [0, 1]."""
        return (self.values - self.low) / SPAN


@dataclass(frozen=True)
class Codec:
    """A row of the tables.

    encode: bands of one scene and a setting -> the bytes of a file.
    decode: those bytes and the same bands, of which only size, `low` and polarisation may be used -> decibels.
    joint: whether the bands of a scene go into one file; otherwise `encode` gets one band.
    masked: whether the bytes hold the mask of valid pixels; otherwise it is coded apart and its bytes are added.
    header: whether the file of a constant image is nothing but fixed bytes.
    missing: why the codec cannot run here; None where it can.
    """

    settings: tuple[float, ...]
    encode: Callable[[Sequence[Band], float], bytes]
    decode: Callable[[bytes, Sequence[Band], float], list[NDArray[np.float64]]]
    joint: bool = False
    masked: bool = False
    header: bool = True
    missing: str | None = None


def whole_numbers(
    top: int, encode: ImageEncode, decode: ImageDecode, settings: Sequence[float], missing: str | None = None
) -> Codec:
    """A codec of integers 0 ... top: 255 or 65535 for the window of 40 dB."""
    kind = np.uint8 if top == 255 else np.uint16

    def from_bands(bands: Sequence[Band], setting: float) -> bytes:
        return encode(np.round(top * bands[0].scaled).astype(kind), setting)

    def to_bands(data: bytes, bands: Sequence[Band], setting: float) -> list[NDArray[np.float64]]:  # noqa: ARG001
        found = decode(data, bands[0].values.shape).astype(np.float64) / top
        return [bands[0].low + SPAN * np.clip(found, 0, 1)]

    return Codec(tuple(settings), from_bands, to_bands, missing=missing)


def reals(
    scale: float, encode: ImageEncode, decode: ImageDecode, settings: Sequence[float], *, header: bool = True
) -> Codec:
    """A codec of float32 in [0, scale]."""

    def from_bands(bands: Sequence[Band], setting: float) -> bytes:
        return encode((scale * bands[0].scaled).astype(np.float32), setting)

    def to_bands(data: bytes, bands: Sequence[Band], setting: float) -> list[NDArray[np.float64]]:  # noqa: ARG001
        found = decode(data, bands[0].values.shape).astype(np.float64) / scale
        return [bands[0].low + SPAN * np.clip(found, 0, 1)]

    return Codec(tuple(settings), from_bands, to_bands, header=header)


def steps(
    encode: Callable[[Array], bytes],
    decode: ImageDecode,
    settings: Sequence[float],
    *,
    wide: float,
    missing: str | None = None,
) -> Codec:
    """A lossless codec of integers: steps of `wide` times the setting in decibels from the window's beginning."""

    def from_bands(bands: Sequence[Band], setting: float) -> bytes:
        index = np.round((bands[0].values - bands[0].low) / (wide * setting))
        return encode(index.astype(np.uint8 if SPAN / (wide * setting) <= 255.5 else np.uint16))

    def to_bands(data: bytes, bands: Sequence[Band], setting: float) -> list[NDArray[np.float64]]:
        return [bands[0].low + wide * setting * decode(data, bands[0].values.shape).astype(np.float64)]

    return Codec(tuple(settings), from_bands, to_bands, missing=missing)


def _pillow(kind: str, **options: object) -> tuple[ImageEncode, ImageDecode]:
    def encode(image: Array, quality: float) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format=kind, quality=int(quality), **options)
        return stream.getvalue()

    def decode(data: bytes, size: tuple[int, int]) -> Array:  # noqa: ARG001
        return np.asarray(Image.open(io.BytesIO(data)).convert("L"))

    return encode, decode


def _plain(function: Callable[..., Array]) -> ImageDecode:
    """The decoder of a self-describing file; of three equal channels the first."""

    def decode(data: bytes, size: tuple[int, int]) -> Array:  # noqa: ARG001
        found = function(data)
        return found if found.ndim == 2 else found[..., 0]

    return decode


def _jpeg2000(image: Array, level: float) -> bytes:
    return imagecodecs.jpeg2k_encode(image, level=level, reversible=False, codecformat="j2k")


def _jpegxl(image: Array, distance: float) -> bytes:
    return imagecodecs.jpegxl_encode(image, distance=distance, effort=7)


def _heic_missing() -> str | None:
    if importlib.util.find_spec("pillow_heif") is None:
        return "pillow-heif is not installed"
    import pillow_heif

    pillow_heif.register_heif_opener()
    return None


def _jpegxl_lossless(image: Array) -> bytes:
    return imagecodecs.jpegxl_encode(image, lossless=True, effort=7)


# fmt: off
_JPEG2000 = (*range(18, 40), *range(40, 66, 2))
_DISTANCES = (
    25, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.75, 1.5, 1.25, 1, 0.8, 0.6,
    0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05,
)
_QUALITIES = (
    1, 3, 5, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 84, 88, 91, 94, 96, 97, 98, 99, 100,
)
_ERRORS = tuple(round(12 / 1.15**index, 3) for index in range(40))
_NEAR = (30, 25, 20, 16, 13, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1)
_BITS = (0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6)
_DECIBELS = (17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 32, 34, 36, 38, 40, 43, 46, 49, 52, 55)
# fmt: on
_STEPS = tuple(0.25 / 1.25**index for index in range(24))
_NO_AVIF = None if features.check("avif") else "this Pillow has no AVIF"

LOSSY: Mapping[str, Codec] = {
    "jpeg2000-16bit": whole_numbers(65535, _jpeg2000, _plain(imagecodecs.jpeg2k_decode), _JPEG2000),
    "jpeg2000-8bit": whole_numbers(255, _jpeg2000, _plain(imagecodecs.jpeg2k_decode), _JPEG2000),
    "heic-8bit": whole_numbers(255, *_pillow("HEIF"), _QUALITIES, missing=_heic_missing()),
    "avif-8bit": whole_numbers(255, *_pillow("AVIF", speed=6, subsampling="4:0:0"), _QUALITIES, missing=_NO_AVIF),
    "jpegxl-8bit": whole_numbers(255, _jpegxl, _plain(imagecodecs.jpegxl_decode), _DISTANCES),
    "jpegxl-16bit": whole_numbers(65535, _jpegxl, _plain(imagecodecs.jpegxl_decode), _DISTANCES),
    "webp-8bit": whole_numbers(
        255,
        lambda image, level: imagecodecs.webp_encode(
            np.stack([image] * 3, axis=-1), level=level, method=6, lossless=False
        ),
        _plain(imagecodecs.webp_decode),
        _QUALITIES,
    ),
    "jpeg-8bit": whole_numbers(
        255,
        lambda image, level: imagecodecs.jpeg8_encode(image, level=int(level), optimize=True),
        _plain(imagecodecs.jpeg8_decode),
        _QUALITIES,
    ),
    "jpegls-near-8bit": whole_numbers(
        255,
        lambda image, level: imagecodecs.jpegls_encode(image, level=int(level)),
        _plain(imagecodecs.jpegls_decode),
        _NEAR,
    ),
    # Decoding turns 255 into 0 in OpenJPH 0.26: scores of bands with values at the window's end are too low.
    "htj2k-8bit": whole_numbers(
        255,
        lambda image, level: imagecodecs.htj2k_encode(image, level=level, reversible=False),
        _plain(imagecodecs.htj2k_decode),
        _STEPS,
    ),
    "lerc-zstd": reals(
        SPAN,
        lambda image, level: imagecodecs.lerc_encode(image, level=level, compression="zstd"),
        _plain(imagecodecs.lerc_decode),
        _ERRORS,
    ),
    "sperr-rate": reals(
        1.0,
        lambda image, level: imagecodecs.sperr_encode(image, level=level, mode="bpp"),
        _plain(imagecodecs.sperr_decode),
        _BITS,
    ),
    "sperr-psnr": reals(
        1.0,
        lambda image, level: imagecodecs.sperr_encode(image, level=level, mode="psnr"),
        _plain(imagecodecs.sperr_decode),
        _DECIBELS,
    ),
    "sz3-abs": reals(
        SPAN,
        lambda image, level: imagecodecs.sz3_encode(image, mode="abs", abs=level),
        lambda data, size: imagecodecs.sz3_decode(data, shape=size, dtype="float32"),
        _ERRORS,
    ),
    "zfp-rate": reals(
        SPAN,
        lambda image, level: imagecodecs.zfp_encode(image, level=level, mode="rate"),
        _plain(imagecodecs.zfp_decode),
        tuple(0.5 + 0.25 * index for index in range(23)),
        header=False,
    ),
    "zfp-accuracy": reals(
        SPAN,
        lambda image, level: imagecodecs.zfp_encode(image, level=level, mode="accuracy"),
        _plain(imagecodecs.zfp_decode),
        (32, 16, 8, 4, 2, 1, 0.5, 0.25),
        header=False,
    ),
}
"""Settings choose quality; compared at equal bits per pixel."""

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0)  # decibels

BOUNDED: Mapping[str, Codec] = {
    "round + jpegxl": steps(_jpegxl_lossless, _plain(imagecodecs.jpegxl_decode), BOUNDS, wide=2),
    "round + jpegls": steps(imagecodecs.jpegls_encode, _plain(imagecodecs.jpegls_decode), BOUNDS, wide=2),
    "sz3": reals(
        SPAN,
        lambda image, level: imagecodecs.sz3_encode(image, mode="abs", abs=level),
        lambda data, size: imagecodecs.sz3_decode(data, shape=size, dtype="float32"),
        BOUNDS,
    ),
    "lerc-zstd": reals(
        SPAN,
        lambda image, level: imagecodecs.lerc_encode(image, level=level, compression="zstd"),
        _plain(imagecodecs.lerc_decode),
        BOUNDS,
    ),
}
"""The setting is the largest error in decibels of any valid pixel."""

EIGHT_BITS, CENTIBEL = SPAN / 255, 0.01  # decibels a step

LOSSLESS: Mapping[str, Codec] = {
    "jpegxl": steps(_jpegxl_lossless, _plain(imagecodecs.jpegxl_decode), (EIGHT_BITS, CENTIBEL), wide=1),
    "jpegls": steps(imagecodecs.jpegls_encode, _plain(imagecodecs.jpegls_decode), (EIGHT_BITS, CENTIBEL), wide=1),
    "jpeg2000-5/3": steps(
        lambda image: imagecodecs.jpeg2k_encode(image, reversible=True, codecformat="j2k"),
        _plain(imagecodecs.jpeg2k_decode),
        (EIGHT_BITS, CENTIBEL),
        wide=1,
    ),
    "htj2k-reversible": steps(
        lambda image: imagecodecs.htj2k_encode(image, reversible=True),
        _plain(imagecodecs.htj2k_decode),
        (EIGHT_BITS, CENTIBEL),
        wide=1,
    ),
    "webp-lossless": steps(
        lambda image: imagecodecs.webp_encode(np.stack([image] * 3, axis=-1), lossless=True),
        _plain(imagecodecs.webp_decode),
        (EIGHT_BITS,),
        wide=1,
    ),
    "zstd19": steps(
        lambda image: imagecodecs.zstd_encode(image.tobytes(), level=19),
        lambda data, size: _raw(imagecodecs.zstd_decode(data), size),
        (EIGHT_BITS, CENTIBEL),
        wide=1,
    ),
}
"""The setting is the step in decibels of the integers that have to come back."""


def _raw(data: bytes, size: tuple[int, int]) -> Array:
    return np.frombuffer(data, np.uint8 if len(data) == size[0] * size[1] else np.uint16).reshape(size)
