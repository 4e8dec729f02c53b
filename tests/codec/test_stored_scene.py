"""Damaged, cut and newer files: a clear error, or the intact tiles and the names of the others; never more."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from eorestore.codec.container import ContainerWriter
from eorestore.codec.header import Header
from eorestore.codec.modes import Wish
from eorestore.codec.scene import compress_scene
from eorestore.codec.source import RasterSource
from eorestore.codec.stored_scene import StoredScene
from eorestore.errors import CodecError, DataError
from eorestore.raster import SENTINEL1, Window
from eorestore.raster.encoding import Encoding
from mutated_streams import TILES_SWAPPED, forged_front, mutated
from small_sar import sar_raster, use_plain_coders

SIZE = (300, 520)  # 2 x 3 tiles


@pytest.fixture(autouse=True)
def _plain_coders(monkeypatch):
    use_plain_coders(monkeypatch)


@pytest.fixture
def content(tmp_path):
    compress_scene(RasterSource(sar_raster(SIZE)), tmp_path / "a.eoz", Wish(max_error=1.0), tile=256)
    return (tmp_path / "a.eoz").read_bytes()


@pytest.fixture
def whole(content):
    with StoredScene(io.BytesIO(content)) as stored:
        return stored.read_raw()


def damage(content, row, column):
    """The file with one byte of a tile changed."""
    with StoredScene(io.BytesIO(content)) as stored:
        entry = stored._container.tiles[row * 3 + column]
    broken = bytearray(content)
    broken[entry.offset + entry.length // 2] ^= 0x10
    return bytes(broken)


def test_a_damaged_tile_is_named_and_the_others_are_read(content, whole):
    broken = damage(content, 1, 2)
    with StoredScene(io.BytesIO(broken)) as stored:
        with pytest.raises(
            CodecError, match=r"1 damaged tile: tile row 1, column 2 \(rows 256 to 299, columns 512 to 519"
        ):
            stored.read_raw()
        np.testing.assert_array_equal(stored.read_raw(Window(0, 0, 300, 512)), whole[:, :, :512])
    with StoredScene(io.BytesIO(broken), keep_going=True) as stored:
        back = stored.read_raw()
        assert list(stored.damaged) == [(1, 2)]
    assert np.isnan(back[:, 256:, 512:]).all()
    back[:, 256:, 512:] = whole[:, 256:, 512:]
    np.testing.assert_array_equal(back, whole)


def test_check_names_all_damaged_tiles_and_reads_on(content):
    with StoredScene(io.BytesIO(damage(damage(content, 0, 0), 1, 1))) as stored:
        assert [(tile.row, tile.column) for tile in stored.check()] == [(0, 0), (1, 1)]


def test_of_a_file_that_was_cut_short_the_whole_tiles_are_read(content, whole):
    with StoredScene(io.BytesIO(content[:-2000]), keep_going=True) as stored:
        back = stored.read_raw()
        assert (1, 2) in stored.damaged
        assert (0, 0) not in stored.damaged
    np.testing.assert_array_equal(back[:, :256, :256], whole[:, :256, :256])


def test_500_mutated_files_give_an_error_or_intact_tiles(content, whole):
    generator = np.random.default_rng(7)
    opened = 0
    for _ in range(500):
        kind, broken = mutated(content, generator)
        try:
            stored = StoredScene(io.BytesIO(broken), keep_going=True)
        except DataError:
            continue
        with stored:
            back = stored.read_raw()
        opened += 1
        assert kind != TILES_SWAPPED or stored.damaged
        for row in range(2):
            for column in range(3):
                place = stored.header.tile_window(row, column)
                tile, right = (values[:, place.rows, place.columns] for values in (back, whole))
                assert np.isnan(tile).all() if (row, column) in stored.damaged else np.array_equal(tile, right)
    assert 200 < opened < 400


def test_headers_forged_with_a_right_checksum_give_an_error_or_pixels(content):
    generator = np.random.default_rng(8)
    opened = 0
    for _ in range(300):
        try:
            stored = StoredScene(io.BytesIO(forged_front(content, generator)), keep_going=True)
        except DataError:
            continue
        opened += 1
        with stored:
            stored.read_raw(Window(0, 0, 1, 1))
            assert len(stored.header.bands) * stored.header.tile_grid[0] < 100
    assert opened > 20


def header(**changes):
    plain = Header(
        mode=1, coder=0, size=(8, 8), bands=SENTINEL1, encoding=Encoding("float32"), crs=32630,
        transform=(10.0, 0.0, 0.0, 0.0, -10.0, 0.0), parameters=(1.0,), tile=256,
    )  # fmt: skip
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": 9}, "the file has mode 9; this eorestore knows lossless, max_error, fidelity, quicklook"),
        ({"coder": 14}, "the file was made by coder 14"),
        ({"stamp": b"\x01\x02"}, "needs predictive model 0102, this eorestore has none"),
        ({"parameters": (1.0, 2.0)}, "parameters that this eorestore does not know"),
        ({"parameters": ()}, "no step for decibel"),
        ({"parameters": (float("nan"),)}, "parameters"),
        ({"crs": 999999}, "PROJ knows no EPSG:999999"),
    ],
)
def test_what_a_newer_version_wrote_fails_with_one_clear_line(tmp_path, changes, message):
    with ContainerWriter(tmp_path / "a.eoz", header(**changes)) as writer:
        writer.add(b"")
        writer.finish()
    with pytest.raises(DataError, match=message) as caught:
        StoredScene(tmp_path / "a.eoz")
    assert "\n" not in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize("tile", [b"", b"\x80", b"\x04\xff", b"\x01\x00", b"\x00short"])
def test_tiles_that_no_coder_wrote_are_damaged_not_fatal(tmp_path, tile):
    with ContainerWriter(tmp_path / "a.eoz", header()) as writer:
        writer.add(tile)
        writer.finish()
    with StoredScene(tmp_path / "a.eoz") as stored:
        assert len(stored.check()) == 1


@pytest.mark.parametrize("window", [(-1, 0, 5, 5), (0, 0, 301, 5), (0, 520, 5, 1), (0, 0, 0, 5)])
def test_a_window_outside_the_scene_is_an_error(content, window):
    with StoredScene(io.BytesIO(content)) as stored, pytest.raises(DataError, match="does not lie in the scene"):
        stored.read(Window(*window))


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be opened"):
        StoredScene(tmp_path / "none.eoz")
