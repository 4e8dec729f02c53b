"""Small numbers, decimals and texts as few bytes, and a reader that never runs past its end; knows no format."""

from __future__ import annotations

import math
import struct
import zlib
from decimal import Decimal

from eorestore.errors import CodecError

_ZERO, _NAN, _DOUBLE = 0, 1, 2
_EXPONENT = 64  # a first byte of 3 to 127 is an exponent of ten, counted from here
_MIXED = 10  # bytes of the longest varint: 64 bits


def put_varint(value: int) -> bytes:
    """A non-negative integer, seven bits a byte, least significant first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_bytes(content: bytes) -> bytes:
    """Length and content."""
    return put_varint(len(content)) + content


def put_text(text: str) -> bytes:
    """Length and UTF-8."""
    return put_bytes(text.encode())


def put_number(value: float) -> bytes:
    """A float, exact to the last bit: the shortest decimal that reads back equal, or its 8 bytes if they are fewer.

    0.0 is 1 byte, 0.5 is 2, -99 is 3, 399960 is 4; never more than 9.
    """
    if value == 0 and math.copysign(1, value) > 0:
        return bytes([_ZERO])
    if math.isnan(value):
        return bytes([_NAN])
    if math.isfinite(value) and value != 0:
        sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
        mantissa = int("".join(map(str, digits)))
        if isinstance(exponent, int) and 3 <= exponent + _EXPONENT <= 127:
            short = bytes([exponent + _EXPONENT]) + put_varint(mantissa << 1 | sign)
            if len(short) < 9:
                return short
    return bytes([_DOUBLE]) + struct.pack("<d", value)


def deflate(content: bytes) -> bytes:
    """Raw deflate without header and checksum: whoever stores it has a checksum of its own."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def inflate(content: bytes, *, size: int) -> bytes:
    """What `deflate` packed. Raises CodecError unless it is whole and exactly `size` bytes."""
    unpacker = zlib.decompressobj(-15)
    try:
        plain = unpacker.decompress(content, size + 1)
    except zlib.error as error:
        raise damaged(f"a deflated part cannot be read ({error})") from None
    if len(plain) != size or unpacker.unconsumed_tail or unpacker.unused_data:
        raise damaged("a deflated part has another length than announced")
    return plain


class Fields:
    """Reads what the `put_` functions wrote. Every method raises CodecError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._place

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            raise damaged(f"{count} bytes are announced where {self.left} are left")
        self._place += count
        return self._data[self._place - count : self._place]

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def varint(self, *, below: int = 1 << 63) -> int:
        """A non-negative integer less than `below`."""
        value = 0
        for position in range(_MIXED):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * position)
            if byte < 0x80:
                break
        if byte >= 0x80 or value >= below:
            raise damaged(f"a number is {value}, at most {below - 1} is possible")
        return value

    def bytes(self) -> bytes:
        """What `put_bytes` wrote."""
        return self.take(self.varint())

    def text(self) -> str:
        """What `put_text` wrote."""
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise damaged("a text is not UTF-8") from None

    def number(self) -> float:
        """What `put_number` wrote."""
        first = self.byte()
        if first == _ZERO:
            return 0.0
        if first == _NAN:
            return math.nan
        if first == _DOUBLE:
            return float(struct.unpack("<d", self.take(8))[0])
        if first > 127:
            raise damaged(f"a number begins with byte {first}")
        mixed = self.varint()
        return float(f"{'-' if mixed & 1 else ''}{mixed >> 1}e{first - _EXPONENT}")

    def finish(self) -> None:
        """Raises CodecError unless everything has been read."""
        if self.left:
            raise damaged(f"{self.left} bytes are left over")


def damaged(what: str) -> CodecError:
    """The error of a stream that cannot be what was written."""
    return CodecError(f"the compressed data is damaged: {what}", fix="take another copy of the file")
