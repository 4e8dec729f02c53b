"""Temperatures in .npz and .npy: factor, gaps, swaths, and nothing that runs code."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from eorestore.errors import BandError, DataError, GridError, UnitError
from eorestore.raster import Unit, Window
from eorestore.raster.files import open_raster
from eorestore.raster.products import Declared
from thermal_files import SIZE, numbers

KELVIN = Declared(unit=Unit.KELVIN)


class Hostile:
    """Runs a command when it is unpickled by the usual means."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def swath(seed: int) -> dict:
    temperature = np.random.default_rng(seed).integers(14_000, 30_000, SIZE).astype(np.uint16)
    metadata = {"orbit_type": "A", "scale_factor": 0.01, "temp_range": (np.float32(140.0), 300.0), "shape": SIZE}
    return {"temperature": temperature, "metadata": metadata}


def objects(items: list) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def test_a_swath_in_hundredths_of_a_kelvin_with_zero_missing(tmp_path):
    dn = numbers(14_000, 30_000)
    dn[0, 0] = 0
    np.savez_compressed(tmp_path / "tb.npz", temperature=dn, period=np.array("A"))
    file = open_raster(tmp_path / "tb.npz", anywhere=True)
    scene = file.read()
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0]])
    np.testing.assert_allclose(scene.values[0, 1:], dn[1:] * 0.01, atol=1e-4)
    assert np.array_equal(file.read_raw(Window(3, 2, 4, 5)), file.read_raw()[:, 3:7, 2:7])
    with pytest.raises(GridError, match="no CRS"):
        open_raster(tmp_path / "tb.npz")


@pytest.mark.parametrize("key", ["swaths", "swath_array"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_swaths_are_counted_from_zero_and_the_first_is_read(tmp_path, key, protocol, monkeypatch):
    import pickle

    dump = pickle.dump
    monkeypatch.setattr(pickle, "dump", lambda value, file, **_: dump(value, file, protocol=protocol))
    np.savez(tmp_path / "tb.npz", **{key: objects([swath(0), swath(1)])})
    first = open_raster(tmp_path / "tb.npz", anywhere=True)
    second = open_raster(tmp_path / "tb.npz", anywhere=True, declared=Declared(bands=("swath1",)))
    np.testing.assert_allclose(first.read().values[0], swath(0)["temperature"] * 0.01, atol=1e-4)
    np.testing.assert_allclose(second.read().values[0], swath(1)["temperature"] * 0.01, atol=1e-4)
    assert (second.bands.names, second.descriptions) == (("thermal",), ("swath1",))
    assert any("swath0 of 2" in note for note in first.notes)
    with pytest.raises(BandError, match="no swath swath2") as caught:
        open_raster(tmp_path / "tb.npz", anywhere=True, declared=Declared(bands=("swath2",)))
    assert "swath0 to swath1" in caught.value.fix


@pytest.mark.parametrize("place", ["item", "metadata", "temperature"])
def test_a_hostile_pickle_is_refused_before_anything_runs(tmp_path, place):
    marker = tmp_path / "was here"
    items = [swath(0)]
    if place == "item":
        items.append(Hostile(marker))
    else:
        items[0][place] = Hostile(marker)
    np.savez(tmp_path / "tb.npz", swaths=objects(items))
    with pytest.raises(DataError, match="could run code") as caught:
        open_raster(tmp_path / "tb.npz", anywhere=True)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_an_object_array_called_temperature_is_not_unpickled_at_all(tmp_path):
    marker = tmp_path / "was here"
    np.savez(tmp_path / "tb.npz", temperature=objects([Hostile(marker)]))
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(tmp_path / "tb.npz", anywhere=True)
    assert not marker.exists()


def test_an_archive_without_temperature_names_what_it_has(tmp_path):
    np.savez(tmp_path / "a.npz", tb36=numbers(14_000, 30_000), ice=numbers(0, 2))
    with pytest.raises(BandError, match="tb36, ice"):
        open_raster(tmp_path / "a.npz", anywhere=True)
    file = open_raster(tmp_path / "a.npz", anywhere=True, declared=Declared(bands=("tb36",)))
    assert (file.bands.names, file.read().values.max() < 300) == (("thermal",), True)


def test_floats_of_an_archive_are_kelvin_by_name_or_by_declaration(tmp_path):
    np.savez(tmp_path / "a.npz", skin=numbers(280, 300, "float32"))
    choice = Declared(bands=("skin",))
    with pytest.raises(UnitError, match="does not say the unit of skin"):
        open_raster(tmp_path / "a.npz", anywhere=True, declared=choice)
    declared = Declared(bands=("skin",), unit=Unit.KELVIN)
    assert open_raster(tmp_path / "a.npz", anywhere=True, declared=declared).read().values.min() >= 280


@pytest.mark.parametrize("keep", [0, 20, 0.5])
def test_an_archive_cut_short_is_refused_in_one_line(tmp_path, keep):
    path = tmp_path / "tb.npz"
    np.savez(path, temperature=numbers(14_000, 30_000))
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(DataError, match="cannot be read") as caught:
        open_raster(path, anywhere=True)
    assert "\n" not in str(caught.value)


def test_an_archive_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("swaths.npy", b"not numpy at all")
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(tmp_path / "a.npz", anywhere=True)


def test_a_plain_array_needs_its_unit_from_the_caller(tmp_path):
    values = numbers(280, 300, "float32")
    values[0, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UnitError) as caught:
        open_raster(tmp_path / "a.npy", anywhere=True)
    assert "--unit kelvin" in caught.value.fix
    scene = open_raster(tmp_path / "a.npy", anywhere=True, declared=KELVIN).read()
    assert np.array_equal(np.argwhere(~scene.valid), [[0, 0]])
    assert np.array_equal(scene.values[0, 1:], values[1:])


def test_a_plain_array_of_another_shape_or_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), np.float32))
    with pytest.raises(DataError, match="shape"):
        open_raster(tmp_path / "a.npy", anywhere=True, declared=KELVIN)
    np.save(tmp_path / "b.npy", numbers(280, 300, "float32"))
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-50])
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(tmp_path / "b.npy", anywhere=True, declared=KELVIN)
    np.save(tmp_path / "c.npy", objects([Hostile(tmp_path / "was here")]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(tmp_path / "c.npy", anywhere=True, declared=KELVIN)
    assert not (tmp_path / "was here").exists()


def test_the_real_swath_has_the_range_that_is_known_of_it(real_data):
    path = real_data / "thermal" / "amsr2_tb.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    scene = open_raster(path, anywhere=True).read()
    assert scene.grid.size == (2042, 243)
    assert scene.valid.all()
    assert (scene.values.min(), scene.values.max()) == pytest.approx((126.71, 337.82), abs=1e-3)
