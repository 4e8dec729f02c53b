"""Header, index and tiles as bytes: small, exact, and clear about what is damaged or newer."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace

import pytest

from eorestore.codec.container import ContainerReader, ContainerWriter, pack_front
from eorestore.codec.header import UNITS, Header
from eorestore.errors import CodecError, DataError, WriteError
from eorestore.raster import SENTINEL1, Band, BandSet, Unit, Window
from eorestore.raster.encoding import Encoding
from small_sar import CRS

UTM = (10.0, 0.0, 399960.0, 0.0, -10.0, 4500000.0)
DEGREES = (8.983152841195215e-05, 0.0, -6.123456789012345, 0.0, -8.983152841195215e-05, 38.98765432109876)
PLAIN = Header(
    mode=2, coder=1, size=(300, 600), bands=SENTINEL1, encoding=Encoding("float32"), crs=32630, transform=UTM,
    parameters=(2.8,), stamp=b"12345678", tile=256,
)  # fmt: skip


def written(path, header, tiles):
    with ContainerWriter(path, header) as writer:
        for tile in tiles:
            writer.add(tile)
        writer.finish()
    return path.read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"encoding": Encoding("int16", 0.01, -3.5, -32768.0), "transform": DEGREES, "crs": 4326},
        {"crs": CRS, "tags": {"DATETIME": "2021-05-10", "Ort": "Größe"}},
        {"bands": BandSet((Band("Sigma0_VV_mst", Unit.POWER), Band("VH", Unit.POWER))), "parameters": ()},
        {"crs": "", "stamp": b"", "tile": 0, "parameters": (0.5, 20.0, -3.0)},
    ],
)
def test_a_header_comes_back_as_it_was(tmp_path, change):
    header = replace(PLAIN, **change)
    tiles = [bytes([number]) * 10 for number in range(header.tile_grid[0] * header.tile_grid[1])]
    reader = ContainerReader(io.BytesIO(written(tmp_path / "a.eoz", header, tiles)))
    assert reader.header == header
    assert [reader.tile(entry.row, entry.column) for entry in reader.tiles] == tiles


@pytest.mark.parametrize("transform", [UTM, DEGREES])
@pytest.mark.parametrize("nodata", [None, -99.0, -3.4028234663852886e38])
def test_one_tile_of_one_band_with_an_epsg_code_costs_at_most_120_bytes(transform, nodata):
    band = BandSet((SENTINEL1["VV"],))
    encoding = Encoding("float32", nodata=nodata)
    header = replace(PLAIN, size=(224, 224), bands=band, transform=transform, encoding=encoding, crs=32733)
    kind_of_tile = 1
    assert len(pack_front(header, [(100_000, 0xFFFFFFFF)])) + kind_of_tile <= 120


def test_numbers_of_units_in_files_are_for_good():
    assert [unit.value for unit in UNITS] == [
        "reflectance", "decibel", "power", "amplitude", "kelvin", "count", "index", "class", "metre", "level",
    ]  # fmt: skip
    assert set(UNITS) == set(Unit)


def test_tiles_at_the_edges_are_cut():
    assert PLAIN.tile_grid == (2, 3)
    assert PLAIN.tile_window(1, 2) == Window(256, 512, 44, 88)
    assert replace(PLAIN, tile=0).tile_window(0, 0) == Window(0, 0, 300, 600)


def test_nothing_stands_under_the_name_before_the_end(tmp_path):
    path = tmp_path / "a.eoz"
    with ContainerWriter(path, PLAIN) as writer:
        writer.add(b"tile")
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_write_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError):
        ContainerWriter(tmp_path / "file" / "a.eoz", PLAIN)


def test_every_place_needs_its_tile(tmp_path):
    with pytest.raises(CodecError, match="2 tiles were given for 6 places"):
        written(tmp_path / "a.eoz", PLAIN, [b"a", b"b"])


def test_every_damaged_byte_of_the_header_is_noticed(tmp_path):
    content = written(tmp_path / "a.eoz", replace(PLAIN, tile=0), [b"tile"])
    before = len(content) - 4
    for place in range(before):
        broken = bytearray(content)
        broken[place] ^= 0x41
        with pytest.raises(DataError) as caught:
            ContainerReader(io.BytesIO(bytes(broken)))
        assert caught.value.fix


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_header_that_was_cut_short_is_an_error(tmp_path, share):
    content = written(tmp_path / "a.eoz", PLAIN, [b""] * 6)
    with pytest.raises(DataError):
        ContainerReader(io.BytesIO(content[: int(share * len(content))]))


def test_a_tile_that_was_cut_off_or_changed_is_an_error_and_the_others_are_not(tmp_path):
    content = bytearray(written(tmp_path / "a.eoz", PLAIN, [b"0123456789"] * 6))
    content[-15] ^= 1
    reader = ContainerReader(io.BytesIO(bytes(content[:-3])))
    assert reader.tile(0, 0) == b"0123456789"
    with pytest.raises(CodecError, match="row 1, column 1 does not match its checksum"):
        reader.tile(1, 1)
    with pytest.raises(CodecError, match="the file ends within tile row 1, column 2"):
        reader.tile(1, 2)


def test_a_newer_version_is_named():
    with pytest.raises(CodecError, match="format version 9, this eorestore reads version 1"):
        ContainerReader(io.BytesIO(b"EOZ\x09" + bytes(100)))


def test_another_file_is_none_of_ours():
    with pytest.raises(DataError, match=r"no \.eoz file"):
        ContainerReader(io.BytesIO(b"II*\x00" + bytes(100)))


def test_a_header_that_announces_more_than_it_holds_is_an_error():
    content = bytearray(pack_front(replace(PLAIN, tile=0), [(4, 0)]))
    place = content.index(b"\xac\x02\xd8\x04")  # 300, 600
    content[place : place + 4] = b"\xff\x7f\xff\x7f"
    content[-4:] = zlib.crc32(content[:-4]).to_bytes(4, "little")
    with pytest.raises(CodecError, match="16383 x 16383 pixels are announced"):
        ContainerReader(io.BytesIO(bytes(content)))
