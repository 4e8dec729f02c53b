"""Rules for what files do not say, their order of trust, and the notes they leave."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eorestore.errors import BandError, DataError, UnitError
from eorestore.raster import RGB, SENTINEL1, SENTINEL2_L1C, SENTINEL2_L2A, Unit
from eorestore.raster.products import (
    Declared,
    FileFacts,
    acquisition_date,
    band_files,
    describe,
    folder_tags,
    s2_offset,
)

PLAIN = Declared()


def facts(count: int, dtype: str = "uint16", **said: object) -> FileFacts:
    bare = FileFacts(Path("scene.tif"), count, dtype, None, (None,) * count, (None,) * count, 1.0, 0.0, {})
    return replace(bare, **said)


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(("count", "names"), [(13, SENTINEL2_L1C.names), (12, SENTINEL2_L2A.names)])
def test_thirteen_and_twelve_nameless_bands_are_sentinel_2(count: int, names: tuple[str, ...]):
    bands, _, notes = describe(facts(count), PLAIN)
    assert bands.names == names
    assert {band.unit for band in bands} == {Unit.REFLECTANCE}
    assert [band.wavelength for band in bands] == [SENTINEL2_L1C[name].wavelength for name in names]
    assert f"scene.tif: band names by rule: {count} bands are {', '.join(names)}" in notes


def test_two_nameless_bands_are_radar_in_decibel():
    bands, encoding, notes = describe(facts(2, "float32"), PLAIN)
    assert bands == SENTINEL1
    assert encoding.scale == 1.0
    assert notes == [
        "scene.tif: band names by rule: 2 bands are VV, VH",
        "scene.tif: unit by rule: radar bands are in dB",
    ]


def test_three_nameless_bands_of_eight_bits_are_colours():
    bands, _, notes = describe(facts(3, "uint8"), PLAIN)
    assert bands.names == RGB.names
    assert {band.unit for band in bands} == {Unit.LEVEL}
    assert any("red, green, blue" in note for note in notes)


@pytest.mark.parametrize(("count", "dtype"), [(3, "uint16"), (4, "uint8"), (11, "uint16")])
def test_nameless_bands_of_another_count_must_be_named(count: int, dtype: str):
    with pytest.raises(BandError, match=f"{count} bands without names"):
        describe(facts(count, dtype), PLAIN)


def test_a_single_nameless_band_is_called_like_its_file():
    bands, _, _ = describe(facts(1, path=Path("in/b8a.tif")), PLAIN)
    assert bands.names == ("B8A",)


def test_names_in_the_file_beat_the_rule_and_declared_names_beat_both():
    said = facts(2, descriptions=("B3", "b04"))
    by_tags, _, notes = describe(said, PLAIN)
    assert by_tags.names == ("B03", "B04")
    assert not any("band names" in note for note in notes)
    declared, _, _ = describe(said, Declared(bands=("B8", "B11")))
    assert declared.names == ("B08", "B11")


def test_repeated_names_in_the_file_are_no_names():
    bands, _, _ = describe(facts(2, "float32", descriptions=("gray", "gray")), PLAIN)
    assert bands.names == SENTINEL1.names


def test_a_wrong_number_of_declared_names_is_refused():
    with pytest.raises(BandError, match="2 bands; 3 names"):
        describe(facts(2), Declared(bands=("B02", "B03", "B04")))


def test_the_declared_unit_beats_the_files_and_the_files_beats_the_rule():
    said = facts(2, "float32", units=("power", "power"))
    assert {band.unit for band in describe(said, PLAIN)[0]} == {Unit.POWER}
    assert {band.unit for band in describe(said, Declared(unit=Unit.AMPLITUDE))[0]} == {Unit.AMPLITUDE}


def test_integer_radar_without_a_unit_is_refused():
    with pytest.raises(UnitError, match="VV as int16") as caught:
        describe(facts(2, "int16"), PLAIN)
    assert "--sar-unit" in caught.value.fix


def test_integer_radar_with_a_scale_is_decibel():
    bands, encoding, _ = describe(facts(2, "int16", scale=0.01), PLAIN)
    assert {band.unit for band in bands} == {Unit.DECIBEL}
    assert encoding.scale == 0.01


def test_an_unknown_band_needs_a_unit():
    said = facts(1, "float32", descriptions=("ndvi",))
    with pytest.raises(UnitError, match="unit of band ndvi"):
        describe(said, PLAIN)
    assert describe(said, Declared(unit=Unit.INDEX))[0]["ndvi"].unit is Unit.INDEX


def test_sentinel_2_numbers_are_ten_thousandths_and_zero_is_nodata():
    _, encoding, notes = describe(facts(13), PLAIN)
    assert (encoding.scale, encoding.offset, encoding.nodata) == (1e-4, 0.0, 0.0)
    assert any("(DN - 0) / 10000, offset by rule" in note for note in notes)


def test_nodata_in_the_file_beats_the_rule():
    assert describe(facts(13, nodata=65535.0), PLAIN)[1].nodata == 65535.0


def test_float_sentinel_2_is_reflectance_already():
    _, encoding, _ = describe(facts(13, "float32"), PLAIN)
    assert (encoding.scale, encoding.offset, encoding.nodata) == (1.0, 0.0, None)


def test_float_sentinel_2_declared_as_counts_is_scaled():
    bands, encoding, _ = describe(facts(13, "float32"), Declared(unit=Unit.COUNT, s2_offset=1000))
    assert {band.unit for band in bands} == {Unit.REFLECTANCE}
    assert (encoding.scale, encoding.offset) == (1e-4, pytest.approx(-0.1))


def test_a_scale_in_the_file_beats_the_rule():
    _, encoding, notes = describe(facts(13, scale=2e-4, offset=-0.2), PLAIN)
    assert (encoding.scale, encoding.offset) == (2e-4, -0.2)
    assert "scene.tif: scale 0.0002 and offset -0.2 from the file" in notes


@pytest.mark.parametrize(
    ("tags", "offset", "source"),
    [
        ({}, 0, "by rule"),
        ({"RADIO_ADD_OFFSET": "-1000"}, 1000, "from tag RADIO_ADD_OFFSET"),
        ({"boa_add_offset": "-1000.0"}, 1000, "from tag boa_add_offset"),
        ({"EORESTORE_S2_OFFSET": "0", "PROCESSING_BASELINE": "05.00"}, 0, "from tag EORESTORE_S2_OFFSET"),
        ({"PROCESSING_BASELINE": "04.00"}, 1000, "from baseline 04.00"),
        ({"PROCESSING_BASELINE": "05.11"}, 1000, "from baseline 05.11"),
        ({"PROCESSING_BASELINE": "03.01"}, 0, "from baseline 03.01"),
    ],
)
def test_the_offset_comes_from_tags_before_the_baseline_before_the_rule(tags: dict[str, str], offset: int, source: str):
    found, why = s2_offset(facts(13, tags=tags), PLAIN)
    assert found == offset
    assert why.startswith(source)


@pytest.mark.parametrize("declared", [0, 1000, -1000])
def test_a_declared_offset_beats_every_tag(declared: int):
    said = facts(13, tags={"RADIO_ADD_OFFSET": "-500", "PROCESSING_BASELINE": "04.00"})
    assert s2_offset(said, Declared(s2_offset=declared)) == (abs(declared), "as given")


@pytest.mark.parametrize("key", ["RADIO_ADD_OFFSET", "PROCESSING_BASELINE"])
def test_an_unreadable_offset_tag_is_named(key: str):
    with pytest.raises(DataError, match=key):
        s2_offset(facts(13, tags={key: "unknown"}), PLAIN)


def test_the_offset_reaches_the_encoding():
    _, encoding, notes = describe(facts(13, tags={"PROCESSING_BASELINE": "04.00"}), PLAIN)
    assert encoding.offset == pytest.approx(-0.1)
    assert "scene.tif: reflectance = (DN - 1000) / 10000, offset from baseline 04.00" in notes


def test_earth_engine_metadata_gives_baseline_date_and_sun(tmp_path: Path):
    said = {
        "system:id": "COPERNICUS/S2/20220604T054639_20220604T054831_T43RCP", "PROCESSING_BASELINE": "04.00",
        "system:time_start": 1654321711000, "MEAN_SOLAR_AZIMUTH_ANGLE": 104.5,
    }  # fmt: skip
    (tmp_path / "metadata.json").write_text(json.dumps(said))
    tags = folder_tags(tmp_path)
    assert tags == {"PROCESSING_BASELINE": "04.00", "DATETIME": "2022-06-04T05:48:31", "SUN_AZIMUTH": "104.5"}
    assert s2_offset(facts(13, tags=tags), PLAIN)[0] == 1000


def test_a_harmonised_collection_carries_no_offset_whatever_its_baseline(tmp_path: Path):
    said = {"system:id": "COPERNICUS/S2_SR_HARMONIZED/20220604T054639", "PROCESSING_BASELINE": "04.00"}
    (tmp_path / "metadata.json").write_text(json.dumps(said))
    assert s2_offset(facts(12, tags=folder_tags(tmp_path)), PLAIN)[0] == 0


@pytest.mark.parametrize("text", ["{ broken", "[1, 2]"])
def test_a_broken_metadata_file_is_named(tmp_path: Path, text: str):
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(DataError, match=r"metadata\.json"):
        folder_tags(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "offset"),
    [
        (
            "MTD_MSIL1C.xml",
            '<X>04.00</X><RADIO_ADD_OFFSET band_id="0">-1000<',
            1000,
        ),
        ("MTD_MSIL2A.xml", '<X>05.09</X><BOA_ADD_OFFSET band_id="0">-1000<', 1000),
        ("MTD_MSIL1C.xml", "<X>02.09</X>", 0),
        ("MTD_MSIL1C.xml", "<X>04.01</X>", 1000),
    ],
)
def test_the_products_own_metadata_gives_the_offset(tmp_path: Path, name: str, text: str, offset: int):
    (tmp_path / name).write_text(text.replace("X>", "PROCESSING_BASELINE>"))
    assert s2_offset(facts(13, tags=folder_tags(tmp_path)), PLAIN)[0] == offset


@pytest.mark.parametrize("place", ["MTD_TL.xml", "GRANULE/L1C_T32TQM_A027391_20220604T101053/MTD_TL.xml"])
def test_the_granule_says_where_the_sun_stood(tmp_path: Path, place: str):
    """As a Level-1C tile has it: angles by detector before, angles of view behind."""
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        """<Tile_Angles metadataLevel="Standard">
        <Sun_Angles_Grid><Azimuth><Values_List><VALUES>151.1 151.2</VALUES></Values_List></Azimuth></Sun_Angles_Grid>
        <Mean_Sun_Angle>
          <ZENITH_ANGLE unit="deg">27.3451</ZENITH_ANGLE>
          <AZIMUTH_ANGLE unit="deg">151.8342</AZIMUTH_ANGLE>
        </Mean_Sun_Angle>
        <Mean_Viewing_Incidence_Angle bandId="0">
          <ZENITH_ANGLE unit="deg">8.1</ZENITH_ANGLE><AZIMUTH_ANGLE unit="deg">104.2</AZIMUTH_ANGLE>
        </Mean_Viewing_Incidence_Angle></Tile_Angles>"""
    )
    assert folder_tags(tmp_path) == {"SUN_AZIMUTH": "151.8342"}


def test_a_folder_without_metadata_gives_no_tags(tmp_path: Path):
    assert folder_tags(tmp_path) == {}


def test_band_files_are_found_by_their_last_part_and_stand_in_sensor_order(tmp_path: Path):
    touch(tmp_path, "B12.tif", "b8a.TIF", "T43RCP_20200604T054639_B2.jp2", "VH.tiff", "notes_B3.txt", "thumb.png")
    found = band_files(tmp_path)
    assert list(found) == ["B02", "B8A", "B12", "VH"]
    assert found["B02"].name == "T43RCP_20200604T054639_B2.jp2"


def test_a_level_2a_safe_gives_the_finest_file_of_each_band(tmp_path: Path):
    images = "S2B_MSIL2A.SAFE/GRANULE/L2A_T32TQM/IMG_DATA"
    touch(
        tmp_path,
        *(f"{images}/R10m/T32TQM_20220604T100559_{name}_10m.jp2" for name in ("B02", "B08", "TCI", "AOT")),
        *(f"{images}/R20m/T32TQM_20220604T100559_{name}_20m.jp2" for name in ("B02", "B8A", "SCL")),
        *(f"{images}/R60m/T32TQM_20220604T100559_{name}_60m.jp2" for name in ("B01", "B02", "B8A")),
    )
    found = band_files(tmp_path / "S2B_MSIL2A.SAFE")
    assert {name: path.stem[-3:] for name, path in found.items()} == {
        "B01": "60m", "B02": "10m", "B08": "10m", "B8A": "20m",
    }  # fmt: skip


def test_quality_masks_of_a_safe_are_not_taken_for_bands(tmp_path: Path):
    granule = "S2A_MSIL1C.SAFE/GRANULE/L1C_T32TQM"
    touch(
        tmp_path,
        f"{granule}/IMG_DATA/T32TQM_20220604T100559_B02.jp2",
        f"{granule}/QI_DATA/MSK_DETFOO_B02.jp2",
        f"{granule}/QI_DATA/MSK_QUALIT_B02.jp2",
    )
    assert band_files(tmp_path / "S2A_MSIL1C.SAFE")["B02"].parent.name == "IMG_DATA"


def test_a_band_in_two_files_is_refused(tmp_path: Path):
    with pytest.raises(BandError, match="holds B02 twice"):
        band_files(touch(tmp_path, "B2.tif", "B02.tif"))


def test_a_folder_without_band_files_is_refused(tmp_path: Path):
    with pytest.raises(BandError, match="no band files"):
        band_files(touch(tmp_path, "scene.tif"))


@pytest.mark.parametrize(
    ("path", "tags", "date"),
    [
        ("a.tif", {"DATETIME": "2020-06-04T05:48:31"}, (2020, 6, 4)),
        ("a.tif", {"TIFFTAG_DATETIME": "2020:06:04 05:48:31"}, (2020, 6, 4)),
        ("S2A_MSIL1C_20200604T054639_N0209.SAFE", {}, (2020, 6, 4)),
        ("20200604T054639_20200604T054831_T43RCP/B02.tif", {}, (2020, 6, 4)),
        ("S1A_IW_GRDH_1SDV_20200607T010800_x.tif", {"DATETIME": "2021-01-02"}, (2021, 1, 2)),
        ("a.tif", {"DATETIME": "2020-13-45"}, None),
        ("scene_20200604.tif", {}, None),
    ],
)
def test_the_date_comes_from_tags_before_names(path: str, tags: dict[str, str], date: tuple[int, int, int] | None):
    expected = None if date is None else datetime(*date, tzinfo=UTC)
    assert acquisition_date(Path(path), tags) == expected
