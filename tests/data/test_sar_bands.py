import csv
from pathlib import Path

import numpy as np
import pytest

from eorestore.data.sar_bands import place_of, polarisation_of, read_sar_band, read_sar_manifest
from eorestore.errors import BandError, DataError, UnknownNameError
from eorestore.raster import Unit

SHIPPED = Path(__file__).parents[2] / "presets" / "scenes" / "public-sar.csv"


def write(folder: Path, lines: list[str], *, header: str = "id,place,split,sar") -> Path:
    for line in lines:
        np.save(folder / line.split(",")[3], np.zeros((4, 5), np.float32))
    path = folder / "bands.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_name_gives_polarisation_and_place():
    assert polarisation_of("luojia_p4_VH") == "VH"
    assert polarisation_of("airsar_SF_hh") == "HH"
    assert place_of("luojia_p4_VH") == place_of("luojia_p4_VV") == "luojia_p4"
    with pytest.raises(BandError, match="does not end in a polarisation"):
        polarisation_of("scene_XX")


def test_two_dates_of_a_place_are_one_place_only_in_the_series_that_is_dated():
    assert place_of("ssl4eo_20200607_VV") == place_of("ssl4eo_20200903_VH") == "ssl4eo"
    assert place_of("ben_20170613_33UUP_61_39_VV") == "ben_20170613_33UUP_61_39"


def test_the_rows_of_a_manifest_come_in_its_order(tmp_path):
    path = write(tmp_path, ["a_VV,here,train,a_VV.npy", "b_VH,there,validation,b_VH.npy"])
    rows = read_sar_manifest(path)
    assert [(row.id, row.place, row.split, row.polarisation) for row in rows] == [
        ("a_VV", "here", "train", "VV"),
        ("b_VH", "there", "validation", "VH"),
    ]
    assert rows[0].path == tmp_path / "a_VV.npy"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a_VV,here,train,a_VV.npy", "b_VV,here,validation,b_VV.npy"], "place here stands in train and in validation"),
        (["a_VV,here,train,a_VV.npy", "a_VH,there,validation,a_VH.npy"], "place a stands in train and in validation"),
        (
            ["ssl4eo_20200607_VV,x,train,1_VV.npy", "ssl4eo_20200903_VV,y,test,2_VV.npy"],
            "place ssl4eo stands in train and in test",
        ),
        (["a_VV,here,train,a_VV.npy", "a_VV,here,train,b_VV.npy"], "names the id a_VV twice"),
        (["a_VV,,train,a_VV.npy"], "line 2 has no place"),
        ([], "names no band"),
    ],
)
def test_a_manifest_that_would_leak_or_mislead_is_refused(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        read_sar_manifest(write(tmp_path, lines))


def test_columns_splits_and_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(UnknownNameError, match="splitt"):
        read_sar_manifest(write(tmp_path, ["a_VV,here,train,a_VV.npy"], header="id,place,splitt,sar"))
    with pytest.raises(UnknownNameError, match="training"):
        read_sar_manifest(write(tmp_path, ["a_VV,here,training,a_VV.npy"]))
    path = write(tmp_path, ["a_VV,here,train,a_VV.npy"])
    (tmp_path / "a_VV.npy").unlink()
    with pytest.raises(DataError, match="there is no"):
        read_sar_manifest(path)


def test_what_is_not_finite_is_not_valid_and_enters_nowhere(tmp_path):
    path = write(tmp_path, ["a_VV,here,train,a_VV.npy"])
    values = np.full((4, 5), -12.5, np.float32)
    values[1, 2], values[3, 0] = np.nan, -np.inf
    np.save(tmp_path / "a_VV.npy", values)
    band = read_sar_band(read_sar_manifest(path)[0])
    assert band.bands.names == ("VV",)
    assert band.bands["VV"].unit is Unit.DECIBEL
    assert (~band.valid).nonzero()[0].tolist() == [1, 3]
    assert np.isfinite(band.values).all()
    assert (band.values[:, band.valid] == -12.5).all()


def test_zeros_and_negatives_are_taken_out_before_the_logarithm(tmp_path):
    path = write(tmp_path, ["a_VV,here,train,a_VV.npy,linear"], header="id,place,split,sar,unit")
    values = np.full((4, 5), 0.1, np.float32)
    values[0, 0], values[0, 1], values[2, 2] = 0, -0.01, np.nan
    np.save(tmp_path / "a_VV.npy", values)
    band = read_sar_band(read_sar_manifest(path)[0])
    assert band.valid.sum() == 17
    assert np.allclose(band.values[:, band.valid], -10)


def test_an_array_that_is_no_band_is_refused(tmp_path):
    path = write(tmp_path, ["a_VV,here,train,a_VV.npy"])
    np.save(tmp_path / "a_VV.npy", np.zeros((2, 4, 5), np.float32))
    with pytest.raises(DataError, match=r"\(2, 4, 5\)"):
        read_sar_band(read_sar_manifest(path)[0])
    (tmp_path / "a_VV.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no readable array"):
        read_sar_band(read_sar_manifest(path)[0])


def test_the_shipped_manifest_trains_on_none_of_the_test_bands():
    with SHIPPED.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows if row["sar"].startswith("sar/test/")} == {"test"}
    assert {row["split"] for row in rows if row["sar"].startswith("sar/train/")} == {"train", "validation"}
    by_place: dict[str, set[str]] = {}
    for row in rows:
        by_place.setdefault(place_of(row["id"]), set()).add(row["split"])
    assert all(len(splits) == 1 for splits in by_place.values())


@pytest.mark.real
def test_the_shipped_manifest_names_every_public_band(real_data):
    rows = read_sar_manifest(SHIPPED, root=real_data)
    named = {row.path for row in rows}
    assert named == {*(real_data / "sar" / "train").glob("*.npy"), *(real_data / "sar" / "test").glob("*.npy")}
    assert read_sar_band(rows[0]).valid.all()


@pytest.mark.real
def test_a_raster_gives_the_band_of_its_polarisation(real_data, tmp_path):
    file = real_data / "cloud" / "terramind" / "282D_485L_3_3" / "S1RTC.tif"
    path = tmp_path / "bands.csv"
    path.write_text(f"id,place,split,sar,unit\n282D_VH,here,train,{file},decibel\n")
    band = read_sar_band(read_sar_manifest(path)[0])
    array = np.load(real_data / "sar" / "train" / "terramind_282D_VH.npy")
    assert band.bands.names == ("VH",)
    assert np.allclose(band.values[0][band.valid], array[band.valid], atol=1e-3)
