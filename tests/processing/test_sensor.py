"""Operators of sensors: their weights against numpy, SciPy and the Fourier transform, and what is no sensor."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.errors import UsageError
from eorestore.processing.sensor import Sensor
from eorestore.processing.taps import shrink_taps


def test_a_block_mean_weighs_every_fine_pixel_of_its_own_equally():
    ((rows, columns),) = Sensor("mean").terms(4)
    assert rows == columns
    assert (rows.first, rows.weights) == (0, (0.25,) * 4)


def test_a_bicubic_sensor_has_the_weights_of_imresize():
    assert Sensor("bicubic").terms(3) == ((shrink_taps(3), shrink_taps(3)),)


@pytest.mark.parametrize("factor", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("mtf", [0.1, 0.2, 0.3, 0.6])
def test_the_transfer_of_a_gaussian_at_nyquist_is_the_one_asked_for(mtf, factor):
    ((row, _),) = Sensor("gaussian", mtf).terms(factor)
    length = 2 * factor * 64
    response = np.zeros(length)
    response[: len(row.weights)] = row.weights
    transfer = np.abs(np.fft.fft(response))
    assert transfer[0] == pytest.approx(1.0)
    assert transfer[length // (2 * factor)] == pytest.approx(mtf, abs=0.01)


@pytest.mark.parametrize("factor", [2, 3, 5, 16])
def test_a_gaussian_is_centred_on_the_coarse_pixel(factor):
    ((row, _),) = Sensor("gaussian", 0.3).terms(factor)
    places = row.first + np.arange(len(row.weights))
    assert places @ np.array(row.weights) == pytest.approx((factor - 1) / 2)
    assert row.weights == pytest.approx(row.weights[::-1])


@pytest.mark.parametrize("kind", ["mean", "gaussian", "bicubic"])
def test_the_inverse_undoes_enlarging_and_observing(kind):
    """Along one axis and far from an edge, within what is cut off at eight pixels."""
    from eorestore.processing.resize import enlarging

    sensor, factor = Sensor(kind), 3
    ((row, _),) = sensor.terms(factor)
    ((inverse, _),) = sensor.inverse(factor)
    low = np.random.default_rng(0).standard_normal(64)
    given = np.convolve(low, inverse.weights[::-1], mode="same")
    fine = enlarging(64, factor) @ given
    again = [np.dot(fine[factor * i + row.first :][: len(row.weights)], row.weights) for i in range(20, 44)]
    assert np.abs(np.array(again) - low[20:44]).max() < 0.02


@pytest.mark.parametrize("text", ["mean", "bicubic", "gaussian:0.2"])
def test_the_words_of_a_sensor_are_read_again(text):
    assert Sensor.parse(text).words == text
    assert Sensor.parse(Sensor.parse(text).words) == Sensor.parse(text)


def test_a_gaussian_without_a_number_has_the_usual_transfer():
    assert Sensor.parse("gaussian") == Sensor("gaussian", 0.3)


def test_a_kernel_file_is_normalised_and_may_be_oblong(tmp_path):
    kernel = np.random.default_rng(1).uniform(0.1, 1, (5, 3))
    np.save(tmp_path / "psf.npy", kernel)
    sensor = Sensor.parse(str(tmp_path / "psf.npy"))
    assert np.allclose(sensor.kernel, kernel / kernel.sum())
    assert sensor.words == "kernel of 5 x 3"
    rows = sum(np.outer(row.weights, column.weights) for row, column in sensor.inverse(4))
    assert rows.sum() == pytest.approx(1.0, abs=1e-3)


def test_a_kernel_that_hides_detail_of_the_coarse_image_is_refused():
    wide = tuple(tuple(row) for row in np.full((9, 9), 1 / 81))
    with pytest.raises(UsageError, match="passes"):
        Sensor("kernel", kernel=wide).inverse(2)


def test_the_terms_of_a_kernel_add_up_to_it(tmp_path):
    kernel = np.random.default_rng(2).uniform(0, 1, (6, 4))
    np.save(tmp_path / "psf.npy", kernel)
    terms = Sensor.parse(str(tmp_path / "psf.npy")).terms(2)
    total = sum(np.outer(rows.weights, columns.weights) for rows, columns in terms)
    assert len(terms) == 4
    assert np.allclose(total, kernel / kernel.sum())
    assert {(rows.first, columns.first) for rows, columns in terms} == {(-2, -1)}


def test_a_separable_kernel_is_one_term(tmp_path):
    np.save(tmp_path / "psf.npy", np.outer([1, 2, 3, 2, 1], [1, 4, 1]))
    assert len(Sensor.parse(str(tmp_path / "psf.npy")).terms(3)) == 1


@pytest.mark.parametrize("text", ["box", "gaussian:wide", "gaussian:0", "gaussian:1.2", "gaussian:nan", "psf.tif", ""])
def test_what_is_no_sensor_is_refused_with_a_way_out(text):
    with pytest.raises(UsageError) as caught:
        Sensor.parse(text)
    assert caught.value.fix


SPOILED = {
    "a line": np.ones(5),
    "nothing": np.zeros((0, 3)),
    "no sum": np.array([[1.0, -1.0]]),
    "not finite": np.array([[1.0, np.nan]]),
    "too wide": np.ones((3, 131)),
    "texts": np.array([["a"]]),
    "complex": np.ones((3, 3), complex),
}


@pytest.mark.parametrize("kernel", SPOILED.values(), ids=SPOILED)
def test_what_is_no_kernel_is_refused(tmp_path, kernel):
    np.save(tmp_path / "psf.npy", kernel)
    with pytest.raises(UsageError, match=r"psf\.npy"):
        Sensor.parse(str(tmp_path / "psf.npy"))


def test_a_kernel_that_is_missing_or_pickled_or_an_archive_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, kernel=np.ones((3, 3)))
    for name in ("absent.npy", "objects.npy", "archive.npy"):
        with pytest.raises(UsageError, match=name):
            Sensor.parse(str(tmp_path / name))


def test_a_kind_and_a_kernel_of_its_own_exclude_each_other():
    for arguments in ({"kind": "kernel"}, {"kind": "mean", "kernel": ((1.0,),)}):
        with pytest.raises(UsageError):
            Sensor(**arguments)
