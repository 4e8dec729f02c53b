"""Numbers and texts as few bytes: exact, short, and never read past their end."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eorestore.codec.fields import Fields, deflate, inflate, put_bytes, put_number, put_text, put_varint
from eorestore.errors import CodecError


@given(st.floats(allow_nan=False))
def test_every_float_comes_back_to_the_last_bit_in_at_most_nine_bytes(value):
    content = put_number(value)
    assert struct.pack("<d", Fields(content).number()) == struct.pack("<d", value)
    assert len(content) <= 9


def test_nan_comes_back():
    assert math.isnan(Fields(put_number(math.nan)).number())


@pytest.mark.parametrize(("value", "size"), [(0.0, 1), (10.0, 2), (-10.0, 2), (0.5, 2), (-99.0, 3), (399960.0, 4)])
def test_numbers_that_people_choose_are_short(value, size):
    assert len(put_number(value)) == size


@given(st.integers(0, (1 << 63) - 1))
def test_every_integer_comes_back(value):
    fields = Fields(put_varint(value))
    assert fields.varint() == value
    fields.finish()


def test_texts_and_bytes_come_back_in_order():
    fields = Fields(put_text("Größe") + put_bytes(b"\x00\xff") + b"rest")
    assert (fields.text(), fields.bytes(), fields.rest()) == ("Größe", b"\x00\xff", b"rest")


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"", Fields.byte),
        (b"\x05abc", Fields.bytes),
        (b"\xff" * 12, Fields.varint),
        (b"\x80", Fields.varint),
        (b"\x02\x00", Fields.number),
        (b"\xc8", Fields.number),
        (b"\x02\xff\xff", Fields.text),
    ],
)
def test_what_ends_too_early_or_cannot_be_is_an_error(content, read):
    with pytest.raises(CodecError):
        read(Fields(content))


def test_bytes_left_over_are_an_error():
    with pytest.raises(CodecError, match="1 bytes are left over"):
        Fields(b"x").finish()


def test_a_deflated_part_that_grows_beyond_its_size_is_refused():
    bomb = deflate(bytes(10_000_000))
    assert inflate(bomb, size=10_000_000) == bytes(10_000_000)
    with pytest.raises(CodecError, match="another length"):
        inflate(bomb, size=100)
    with pytest.raises(CodecError):
        inflate(bomb[:-3], size=10_000_000)
