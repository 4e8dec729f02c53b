"""Stored values to decibel and back, with everything that is no observation returned as it was."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec.decibel import observe_decibel, observe_raw, raw_from_decibel
from eorestore.codec.fields import Fields
from eorestore.codec.gaps import pack_gaps, unpack_gaps
from eorestore.errors import CodecError, DataError, UnitError
from eorestore.processing.units import power_to_decibel
from eorestore.raster import Unit
from eorestore.raster.encoding import Encoding

NAN = float("nan")


def plane(*values, dtype="float32"):
    return np.array(values, dtype)[None, None]


@pytest.mark.parametrize(
    ("unit", "values", "nodata", "valid"),
    [
        (Unit.DECIBEL, (-12.5, NAN, -99.0, -9999.0, -np.inf, -89.0), None, (1, 0, 0, 0, 0, 1)),
        (Unit.DECIBEL, (-12.5, 9999.0, 3.4e38, -90.0), None, (1, 0, 0, 0)),
        (Unit.DECIBEL, (-12.5, 0.0, 3.0), 0.0, (1, 0, 1)),
        (Unit.DECIBEL, (-12.5, -12.0), -12.5, (0, 1)),
        (Unit.POWER, (0.05, 0.0, NAN, 1e-8), None, (1, 0, 0, 1)),
        (Unit.POWER, (0.05, 1e-12), None, (1, 0)),
        (Unit.AMPLITUDE, (0.2, 0.0, 1e6), 0.0, (1, 0, 1)),
    ],
)
def test_what_is_no_observation_comes_back_as_it_was(unit, values, nodata, valid):
    raw = plane(*values)
    encoding = Encoding("float32", nodata=nodata)
    observed = observe_decibel(raw, encoding, unit)
    assert observed.valid.tolist() == [[[bool(one) for one in valid]]]
    assert np.isfinite(observed.values).all()
    back = raw_from_decibel(observed, encoding, unit)
    assert np.array_equal(back[~observed.valid], raw[~observed.valid], equal_nan=True)
    np.testing.assert_allclose(back[observed.valid], raw[observed.valid], rtol=1e-6)


def test_of_many_marks_the_rarest_become_the_scene_s_own():
    raw = plane(-99.0, -99.0, -999.0, -999.0, -9999.0, -9999.0, -500.0, -600.0)
    encoding = Encoding("float32", nodata=-7777.0)
    back = raw_from_decibel(observe_decibel(raw, encoding, Unit.DECIBEL), encoding, Unit.DECIBEL)
    assert back[0, 0].tolist() == [*raw[0, 0, :6].tolist(), -7777.0, -7777.0]


def test_negative_intensity_has_no_logarithm_and_comes_back_as_zero():
    encoding = Encoding("float32")
    observed = observe_decibel(plane(-1e-4, 0.1), encoding, Unit.POWER)
    assert raw_from_decibel(observed, encoding, Unit.POWER).tolist()[0][0][0] == 0.0


def test_decibel_agree_with_those_of_the_package():
    power = np.random.default_rng(0).gamma(4.0, 0.02, (1, 20, 20)).astype(np.float32)
    encoding = Encoding("float32")
    np.testing.assert_allclose(
        observe_decibel(power, encoding, Unit.POWER).values, power_to_decibel(power), atol=1e-5
    )  # fmt: skip
    amplitude = observe_decibel(np.sqrt(power), encoding, Unit.AMPLITUDE).values
    np.testing.assert_allclose(amplitude, power_to_decibel(power), atol=1e-5)


def test_a_valid_value_never_becomes_the_nodata_value():
    encoding = Encoding("float32", nodata=-10.0)
    observed = observe_decibel(plane(-10.001, -10.0), encoding, Unit.DECIBEL)
    coded = type(observed)(np.where(observed.valid, -10.0, 0.0), observed.valid)
    assert (raw_from_decibel(coded, encoding, Unit.DECIBEL) == -10.0).tolist() == [[[False, True]]]


def test_scaled_integers_are_read_as_what_they_mean():
    encoding = Encoding("int16", 0.01, 0.0, -32768.0)
    observed = observe_decibel(plane(-1234, -32768, 50, dtype="int16"), encoding, Unit.DECIBEL)
    np.testing.assert_allclose(observed.values[0, 0], [-12.34, 0.0, 0.5])
    assert observed.valid.tolist() == [[[True, False, True]]]


@pytest.mark.parametrize("nodata", [None, 0.0, -1.5, 1e9, NAN])
def test_integers_know_nodata_only_where_they_can_hold_it(nodata):
    observed = observe_raw(plane(0, 7, 65535, dtype="uint16"), Encoding("uint16", nodata=nodata))
    assert observed.valid.tolist() == [[[nodata != 0.0, True, True]]]
    assert observed.values[0, 0, 1:].tolist() == [7, 65535]


def test_integers_too_large_for_the_coder_are_an_error():
    with pytest.raises(DataError, match="integers of"):
        observe_raw(plane(1 << 31, dtype="uint32"), Encoding("uint32"))


def test_other_units_have_no_decibel():
    with pytest.raises(UnitError, match="kelvin has no decibel"):
        observe_decibel(plane(290.0), Encoding("float32"), Unit.KELVIN)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("marks", [(), (-99.0,), (NAN, 0.0, -9999.0)])
@pytest.mark.parametrize("together", [True, False])
def test_gaps_come_back_exactly(share, marks, together):
    generator = np.random.default_rng(3)
    valid = generator.random((2, 33, 21)) >= share
    if together:
        valid[1] = valid[0]
    labels = generator.integers(0, len(marks), int((~valid).sum())).astype(np.uint8) if len(marks) > 1 else None
    kind, content = pack_gaps(valid, marks, labels)
    fields = Fields(content)
    found, found_marks, found_labels = unpack_gaps(kind, fields, valid.shape)
    fields.finish()
    assert np.array_equal(found, valid)
    if share:
        assert np.array_equal(found_marks, marks, equal_nan=True)
        assert (labels is None and found_labels is None) or np.array_equal(labels, found_labels)


def test_a_border_of_nodata_costs_little():
    valid = np.ones((2, 512, 512), bool)
    valid[:, :, :100] = False
    assert len(pack_gaps(valid, (), None)[1]) < 130


def test_gaps_that_were_cut_short_are_an_error():
    valid = np.random.default_rng(0).random((1, 64, 64)) > 0.5
    kind, content = pack_gaps(valid, (), None)
    with pytest.raises(CodecError):
        unpack_gaps(kind, Fields(content[:-5]), valid.shape)
