"""Places of arrays: HDF-EOS corners, CF mappings, even axes."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.raster.array_grids import Axis, eos_grid, even_transform, mapped_grid
from thermal_files import STRUCT


def axis(name: str, values: np.ndarray, **attributes: object) -> Axis:
    return Axis(name, np.asarray(values, np.float64), attributes)


def test_a_sinusoidal_grid_has_pixels_between_its_corners():
    transform, crs = eos_grid(STRUCT, "VIIRS_Grid_Daily_1km_LST21", (1200, 1200))
    assert transform == pytest.approx((926.6254331, 0, 0, 0, -926.6254331, 5559752.598333))
    assert "+proj=sinu" in crs
    assert "6371007.181" in crs
    assert eos_grid(STRUCT, "another grid", (1200, 1200)) is None


def test_a_geographic_grid_has_packed_degrees():
    text = STRUCT.replace("HE5_GCTP_SNSOID", "HE5_GCTP_GEO")
    text = text.replace("(0.000000,5559752.598333)", "(-180000000.000000,89030000.000000)")
    text = text.replace("(1111950.519667,4447802.078667)", "(180000000.000000,-89030036.000000)")
    transform, crs = eos_grid(text, "VIIRS_Grid_Daily_1km_LST21", (100, 360))
    assert crs == "EPSG:4326"
    assert transform == pytest.approx((1.0, 0, -180.0, 0, -(89.5 + 89.51) / 100, 89.5))


def test_other_projections_are_no_place():
    text = STRUCT.replace("GCTP_SNSOID", "GCTP_LAMAZ")
    assert eos_grid(text, "VIIRS_Grid_Daily_1km_LST21", (1200, 1200)) is None


def test_even_axes_give_edges_half_a_step_before_their_first_centre():
    found = even_transform(np.array([5.0, 5.5, 6.0]), np.array([50.0, 49.0, 48.0]))
    assert found == (0.5, 0.0, 4.75, 0.0, -1.0, 50.5)
    rising = even_transform(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    assert rising == (1.0, 0.0, -0.5, 0.0, 1.0, 0.5)


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0], [1.0], [3.0, 2.0, 3.0], [1.0, np.nan, 3.0]])
def test_uneven_axes_are_no_place(values):
    assert even_transform(np.array(values), np.array([2.0, 1.0])) is None


def test_float32_coordinates_are_even_enough():
    fine = np.linspace(-180, 180, 3601).astype(np.float32).astype(np.float64)
    assert even_transform(fine, fine)[0] == pytest.approx(0.1, rel=1e-6)


def test_a_mapping_without_a_crs_or_axes_is_no_place():
    x, y = axis("x", [0, 1]), axis("y", [1, 0])
    assert mapped_grid({}, x, y) is None
    assert mapped_grid({"crs_wkt": "EPSG:32632"}, None, y) is None
    assert mapped_grid({"crs_wkt": "EPSG:32632"}, x, y) == ((1.0, 0.0, -0.5, 0.0, -1.0, 1.5), "EPSG:32632")
    assert mapped_grid({"grid_mapping_name": "latitude_longitude"}, x, y)[1] == "EPSG:4326"


def test_a_geostationary_view_in_metres_is_not_multiplied_again():
    mapping = {
        "grid_mapping_name": "geostationary", "perspective_point_height": 100.0, "longitude_of_projection_origin": -75.0
    }  # fmt: skip
    y = axis("y", [1, 0], units="rad")
    in_angles = mapped_grid(mapping, axis("x", [0, 1], units="rad"), y)
    in_metres = mapped_grid(mapping, axis("x", [0, 1], units="m"), y)
    assert (in_angles[0][0], in_metres[0][0]) == (100.0, 1.0)
    assert "+proj=geos +h=100 +lon_0=-75" in in_angles[1]
