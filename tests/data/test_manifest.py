"""Manifests: columns, paths, places and splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from eorestore.data.manifest import manifest_text, read_manifest, select
from eorestore.errors import DataError, EorestoreError, UnitError, UnknownNameError
from eorestore.raster import Unit

HEADER = "id,place,split,optical,sar"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.tif", "b.tif", "s1.tif", "SCL.tif"):
        (tmp_path / name).touch()
    (tmp_path / "bands").mkdir()
    return tmp_path


def _write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "scenes.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


def test_rows_come_in_order_with_paths_beside_the_manifest(folder: Path):
    rows = read_manifest(_write(folder, "1,north,train,a.tif,s1.tif", "", "2,south,test,bands,s1.tif"))
    assert [row.id for row in rows] == ["1", "2"]
    assert rows[0].optical == folder / "a.tif"
    assert rows[1].optical == folder / "bands"
    assert rows[0].reference is None


def test_paths_may_start_from_another_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    elsewhere = _write(tmp_path_factory.mktemp("lists"), "1,north,train,a.tif,s1.tif")
    assert read_manifest(elsewhere, root=folder)[0].sar == folder / "s1.tif"


def test_optional_columns_are_read(folder: Path):
    header = f"{HEADER},reference,mask,s2_offset,sar_unit,product"
    path = _write(folder, 'x,p,test,a.tif,s1.tif,b.tif,"SCL.tif:3,8,9",1000,dB,S2MSI1C', header=header)
    row = read_manifest(path)[0]
    assert (row.reference, row.mask) == (folder / "b.tif", f"{folder / 'SCL.tif'}:3,8,9")
    assert (row.s2_offset, row.sar_unit, row.product) == (1000.0, Unit.DECIBEL, "S2MSI1C")


def test_bands_are_named_in_file_order_by_name_or_by_colour(folder: Path):
    header = f"{HEADER},optical_bands,optical_scale,sar_bands"
    path = _write(folder, '1,n,train,a.tif,s1.tif,"blue, Green,red;nir",0.0002,vv', header=header)
    row = read_manifest(path)[0]
    assert row.optical_bands == ("B02", "B03", "B04", "B08")
    assert (row.optical_scale, row.sar_bands) == (0.0002, ("VV",))
    row = read_manifest(_write(folder, "1,n,train,a.tif,s1.tif,B2 b8a,,", header=header))[0]
    assert (row.optical_bands, row.optical_scale, row.sar_bands) == (("B02", "B8A"), None, None)


def test_a_place_in_two_splits_is_refused_by_name(folder: Path):
    path = _write(folder, "1,north,train,a.tif,s1.tif", "2,north,test,b.tif,s1.tif")
    with pytest.raises(DataError, match="place north stands in train and in test"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("lines", "header", "kind", "says"),
    [
        (["1,n,train,a.tif,s1.tif", "1,n,train,b.tif,s1.tif"], HEADER, DataError, "id 1 twice"),
        (["1,n,train,a.tif"], "id,place,split,optical", DataError, "column sar"),
        (["1,n,train,gone.tif,s1.tif"], HEADER, DataError, "line 2 names gone.tif"),
        (["1,n,training,a.tif,s1.tif"], HEADER, UnknownNameError, "training"),
        (["1,,train,a.tif,s1.tif"], HEADER, DataError, "no place"),
        (["1,n,train,a.tif,s1.tif,extra"], HEADER, DataError, "more cells"),
        ([], HEADER, DataError, "names no scene"),
        (["1,n,train,a.tif,s1.tif,b.tif"], HEADER + ",refrence", UnknownNameError, "refrence"),
        (["1,n,train,a.tif,s1.tif,much"], HEADER + ",s2_offset", DataError, "much"),
        (["1,n,train,a.tif,s1.tif,0"], HEADER + ",optical_scale", DataError, "optical_scale '0'"),
        (["1,n,train,a.tif,s1.tif,nan"], HEADER + ",s2_offset", DataError, "s2_offset 'nan'"),
        (["1,n,train,a.tif,s1.tif,volt"], HEADER + ",sar_unit", UnitError, "volt"),
        (["1,n,train,a.tif,s1.tif,no.tif:3"], HEADER + ",mask", DataError, "no.tif"),
    ],
)
def test_a_wrong_manifest_says_what_is_wrong(folder: Path, lines, header, kind, says):
    with pytest.raises(kind, match=says) as error:
        read_manifest(_write(folder, *lines, header=header))
    assert isinstance(error.value, EorestoreError)
    assert error.value.fix


def test_a_missing_manifest_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="no manifest"):
        read_manifest(tmp_path / "none.csv")


def test_a_split_without_scenes_is_an_error(folder: Path):
    rows = read_manifest(_write(folder, "1,north,train,a.tif,s1.tif"))
    assert select(rows, "train") == rows
    with pytest.raises(DataError, match="no test scene"):
        select(rows, "test")
    with pytest.raises(UnknownNameError):
        select(rows, "holdout")


def test_a_manifest_written_is_the_one_read(folder: Path):
    lines = [
        {"id": "1", "place": "n", "split": "train", "optical": "a.tif", "sar": "s1.tif", "mask": "SCL.tif:3,8"},
        {"id": "2", "place": "m", "split": "test", "optical": "b.tif", "sar": "s1.tif", "product": ""},
    ]
    path = folder / "scenes.csv"
    path.write_text(manifest_text(lines), encoding="utf-8")
    rows = read_manifest(path)
    assert [row.place for row in rows] == ["n", "m"]
    assert rows[0].mask == f"{folder / 'SCL.tif'}:3,8"
    assert rows[1].mask is None
    assert "product" not in path.read_text(encoding="utf-8")
