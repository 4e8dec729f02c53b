"""A scene as one JPEG2000 codestream, taken where it is no larger and no worse than the tiles; knows no file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from eorestore.codec.container import pack_front
from eorestore.codec.header import Header
from eorestore.codec.jpeg2000_coder import Jpeg2000Coder
from eorestore.codec.source import Source
from eorestore.codec.tile import Score, TilePipe
from eorestore.codec.tile_coder import coder_number
from eorestore.raster import Window

logger = logging.getLogger(__name__)

SMALLEST_SIDE = 64  # pixels of scenes that are tried: below it JPEG2000 has no wavelet to speak of
MOST_VALUES = 1 << 22  # of scenes that are tried: they are held in memory
_STORED_BYTES = 2  # of a value that the codestream is made from
_TRIES = 5
_FULL = 0.995  # of the bytes there are, which is full enough
_PER_BIT = 7.0  # dB of PSNR that a bit per pixel gains at most; 6.02 by theory


@dataclass(frozen=True)
class WholeScene:
    """A scene as one tile: the header that goes with it, its bytes, and what decoding them gives."""

    header: Header
    content: bytes
    score: Score


def as_jpeg2000(source: Source, header: Header, *, size: int, psnr: float) -> WholeScene | None:
    """The scene in a file of at most `size` bytes with at least `psnr` in dB, or None where that cannot be.

    A codestream may be larger or smaller than asked for; then less or more is asked for.
    """
    values = header.size[0] * header.size[1] * len(header.bands)
    if values > MOST_VALUES or min(header.size) < SMALLEST_SIDE:
        return None
    header = replace(header, coder=coder_number("jpeg2000"), tile=0, stamp=b"")
    pipe = TilePipe(header, decoding=False)
    observed = pipe.observe(source.read_raw(Window(0, 0, *header.size)))
    room = size - len(pack_front(header, [(size, 0)]))
    best: bytes | None = None
    wanted = float(room)
    for turn in range(_TRIES):
        if wanted < 1:
            break
        pipe.coder = Jpeg2000Coder(pipe.windows, share=min(wanted / (values * _STORED_BYTES), 1.0))
        content = pipe.pack(observed)
        if turn == 0 and not _within_reach(pipe.verify(observed, content), (room - len(content)) * 8 / values, psnr):
            return None
        if len(content) <= room and (best is None or len(content) > len(best)):
            best = content
        if _FULL * room <= len(content) <= room:
            break
        wanted *= (room if len(content) < room else 0.995 * room) / len(content)
    if best is None:
        return None
    score = pipe.verify(observed, best)
    logger.info("as JPEG2000: %d bytes, PSNR30 %.2f dB", len(best), score.psnr)
    return WholeScene(header, best, score) if score.psnr >= psnr else None


def _within_reach(score: Score, spare: float, psnr: float) -> bool:
    """Whether `spare` more bits per pixel (fewer, where negative) could bring a codestream to `psnr`."""
    reach = score.psnr + _PER_BIT * max(spare, 0.0)
    logger.info("as JPEG2000: PSNR30 %.2f dB, at most %.2f dB where %.2f dB are needed", score.psnr, reach, psnr)
    return reach >= psnr
