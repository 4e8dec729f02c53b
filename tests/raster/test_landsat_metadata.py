"""Files beside a Landsat thermal band, and the constants in one of them."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.errors import DataError
from eorestore.raster.landsat_metadata import level1_product, metadata_beside, quality_beside
from thermal_files import MTL

SCENE = "LE07_L1TP_015034_20000704_20200918_02_T1"


def test_the_metadata_is_that_of_the_scene_and_of_level_1_only(tmp_path):
    text = tmp_path / f"{SCENE}_MTL.txt"
    text.write_text(MTL)
    for band in ("B6", "B6_VCID_1", "B10", "B11"):
        assert metadata_beside(tmp_path / f"{SCENE}_{band}.TIF") == text
    for name in (f"{SCENE}_ST_B10.TIF", f"{SCENE}_B4.TIF", "other_B10.TIF", "B10.TIF"):
        assert metadata_beside(tmp_path / name) is None


def test_quality_is_found_beside_and_st_qa_only_of_surface_temperature(tmp_path):
    pixel, surface = tmp_path / f"{SCENE}_QA_PIXEL.TIF", tmp_path / f"{SCENE}_ST_QA.TIF"
    pixel.touch()
    surface.touch()
    assert quality_beside(tmp_path / f"{SCENE}_ST_B6.TIF") == {"QA_PIXEL": pixel, "ST_QA": surface}
    assert quality_beside(tmp_path / f"{SCENE}_B6_VCID_2.TIF") == {"QA_PIXEL": pixel}
    assert quality_beside(tmp_path / f"{SCENE}_B4.TIF") == {}


def test_eight_bits_end_in_saturation(tmp_path):
    text = tmp_path / f"{SCENE}_MTL.txt"
    text.write_text(MTL.replace("BAND_10", "BAND_6_VCID_1").replace("3.3420E-04", "0.067087"))
    product, tags = level1_product(tmp_path / f"{SCENE}_B6_VCID_1.TIF", text)
    found = product.conversion.kelvin(np.array([0, 140, 255], np.uint8))
    assert np.isnan(found).tolist() == [True, False, True]
    assert tags == {"ACQUISITION_DATE": "2021-07-04"}


@pytest.mark.parametrize(("name", "content"), [("a_MTL.json", "no json"), ("a_MTL.txt", MTL.replace("774.8853", "x"))])
def test_damaged_metadata_is_told_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
        level1_product(tmp_path / "a_B10.TIF", tmp_path / name)
    assert "\n" not in str(caught.value)
