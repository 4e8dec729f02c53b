"""A scene to an .eoz file and back: promises kept, windows equal crops of the whole, few bytes read."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest

from eorestore.codec import scene as scene_module
from eorestore.codec import tile_coder
from eorestore.codec.modes import Mode, Wish, step_of
from eorestore.codec.scene import compress_scene, plan_header
from eorestore.codec.source import FileSource, RasterSource
from eorestore.codec.stored_scene import StoredScene
from eorestore.errors import CodecError, DataError, UsageError
from eorestore.raster import BandSet, Raster, Unit, Window
from eorestore.raster.bands import Band
from eorestore.raster.files import open_raster
from small_sar import CRS, RoundingCoder, ZlibCoder, sar_grid, sar_raster, sar_values, use_plain_coders, write_sar
from small_scenes import read_tif

SIZE = (300, 520)


@pytest.fixture(autouse=True)
def _plain_coders(monkeypatch):
    use_plain_coders(monkeypatch)


@pytest.fixture(scope="module")
def raster():
    return sar_raster(SIZE, hole=True)


def coded(path, raster, **wish):
    done = compress_scene(RasterSource(raster, {"DATETIME": "2021-05-10"}), path, Wish(**wish), tile=256)
    with StoredScene(path, seams=False) as stored:
        return done, stored.read(), stored


@pytest.mark.parametrize(
    ("wish", "bound"),
    [
        ({"lossless": True}, 0.005),
        ({"max_error": 0.5}, 0.5),
        ({"max_error": 0.1}, 0.1),
        ({"quality": 5}, step_of(5) / 2),
        ({"quicklook": True}, step_of(0) / 2),
        ({"preset": "archive"}, step_of(7) / 2),
    ],
)
def test_every_mode_keeps_its_bound_place_bands_tags_and_gaps(tmp_path, raster, wish, bound):
    done, back, stored = coded(tmp_path / "a.eoz", raster, **wish)
    errors = np.abs(back.values - raster.values)[:, raster.valid]
    assert bound * 0.9 < errors.max() <= bound + 1e-5
    assert done.score.largest == pytest.approx(errors.max(), abs=1e-5)
    assert np.array_equal(back.valid, raster.valid)
    assert (back.grid, back.bands, stored.tags) == (raster.grid, raster.bands, {"DATETIME": "2021-05-10"})
    assert done.file_bytes == (tmp_path / "a.eoz").stat().st_size
    assert done.bits_per_pixel == pytest.approx(8 * done.file_bytes / raster.values.size)


def test_the_report_agrees_with_errors_counted_by_hand(tmp_path, raster):
    done, back, _ = coded(tmp_path / "a.eoz", raster, quality=5)
    error = (back.values - raster.values)[:, raster.valid]
    assert done.score.rmse == pytest.approx(np.sqrt(np.mean(error.astype(float) ** 2)), rel=1e-4)
    assert done.psnr == pytest.approx(20 * np.log10(30 / done.score.rmse))
    powers = [np.mean(10 ** (one.values[:, raster.valid] / 10)) for one in (back, raster)]
    assert done.score.bias == pytest.approx(10 * np.log10(powers[0] / powers[1]), abs=1e-4)


@pytest.mark.parametrize("window", [(0, 0, 1, 1), (250, 250, 10, 20), (0, 300, 300, 200), (299, 519, 1, 1)])
def test_a_window_is_a_crop_of_the_whole(tmp_path, raster, window):
    window = Window(*window)
    _, whole, _ = coded(tmp_path / "a.eoz", raster, quality=5)
    with StoredScene(tmp_path / "a.eoz", seams=False) as stored:
        part = stored.read(window)
    expected = whole.crop(window)
    assert np.array_equal(part.values, expected.values)
    assert np.array_equal(part.valid, expected.valid)
    assert part.grid == expected.grid


class CountingFile(io.BytesIO):
    """A file that counts what is read from it."""

    count = 0

    def read(self, size=-1):
        content = super().read(size)
        self.count += len(content)
        return content


def test_a_window_of_a_large_file_reads_little_of_it(tmp_path):
    size = (2560, 2560)
    flat = np.repeat(np.repeat(sar_values((160, 160), bands=1), 16, axis=1), 16, axis=2)
    noisy = flat + np.random.default_rng(0).normal(0, 0.5, flat.shape).astype(np.float32)
    raster = Raster(noisy, np.ones(size, bool), BandSet((Band("VV", Unit.DECIBEL),)), sar_grid(size))
    path = tmp_path / "large.eoz"
    compress_scene(RasterSource(raster), path, Wish(max_error=0.5), tile=256)
    content = path.read_bytes()
    file = CountingFile(content)
    with StoredScene(file) as stored:
        stored.read(Window(1024, 1280, 256, 256))
        assert file.count < 0.02 * len(content)
        stored.read(Window(1000, 1250, 100, 100))
        assert file.count < 0.06 * len(content)


@pytest.mark.parametrize(("unit", "factor"), [("power", 10), ("amplitude", 20)])
@pytest.mark.parametrize("wish", [{"max_error": 0.2}, {"quality": 6}, {"lossless": True}])
def test_linear_units_come_back_in_their_unit(tmp_path, unit, factor, wish):
    decibel = sar_values((70, 60))
    linear = (10 ** (decibel / factor)).astype(np.float32)
    linear[:, :10, :10] = 0
    linear[0, 20, 20] = np.nan
    path = write_sar(tmp_path / "s1.tif", linear, unit=unit, tags={"A": "b"})
    compress_scene(FileSource(open_raster(path)), tmp_path / "a.eoz", Wish(**wish), tile=256)
    with StoredScene(tmp_path / "a.eoz") as stored:
        back = stored.read_raw()
        assert {band.unit for band in stored.bands} == {Unit(unit)}
        assert dict(stored.tags) == {"A": "b"}
    seen = linear > 0
    assert np.array_equal(back[~seen], linear[~seen], equal_nan=True)
    bound = {"max_error": 0.2, "quality": step_of(6) / 2, "lossless": 0.005}[next(iter(wish))]
    assert np.abs(factor * np.log10(back[seen]) - decibel[seen]).max() <= bound + 1e-5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_integers_come_back_bit_by_bit(tmp_path, dtype, nodata):
    counts = np.clip(np.rint(10 ** (sar_values((70, 60)) / 20 + 2.2)), 0, np.iinfo(dtype).max).astype(dtype)
    counts[0, :10, :10] = 0
    path = write_sar(tmp_path / "s1.tif", counts, unit="count", nodata=nodata)
    done = compress_scene(FileSource(open_raster(path)), tmp_path / "a.eoz", Wish(lossless=True), tile=256)
    with StoredScene(tmp_path / "a.eoz") as stored:
        back = stored.read_raw()
        assert stored.encoding.nodata == nodata
    assert back.dtype == counts.dtype
    assert np.array_equal(back, counts)
    assert (done.step, done.psnr) == (0, float("inf"))


def test_a_float_file_of_hundredths_is_lossless_to_the_bit(tmp_path):
    values = (np.rint(100 * sar_values((70, 60))) / 100).astype(np.float32)
    values[:, 3, 4] = -99
    path = write_sar(tmp_path / "s1.tif", values, nodata=-99)
    compress_scene(FileSource(open_raster(path)), tmp_path / "a.eoz", Wish(lossless=True))
    with StoredScene(tmp_path / "a.eoz") as stored:
        assert np.array_equal(stored.read_raw(), read_tif(path))


def test_a_band_with_gaps_of_its_own_keeps_them(tmp_path):
    values = sar_values((70, 60))
    values[1, 10:20] = -99
    path = write_sar(tmp_path / "s1.tif", values, nodata=-99)
    compress_scene(FileSource(open_raster(path)), tmp_path / "a.eoz", Wish(max_error=0.5))
    with StoredScene(tmp_path / "a.eoz") as stored:
        assert np.array_equal(stored.read_raw() == -99, values == -99)


def test_nodata_can_be_declared_where_the_file_is_silent(tmp_path):
    values = sar_values((70, 60))
    values[:, :9] = -25.5
    path = write_sar(tmp_path / "s1.tif", values)
    compress_scene(FileSource(open_raster(path), nodata=-25.5), tmp_path / "a.eoz", Wish(max_error=0.5))
    with StoredScene(tmp_path / "a.eoz") as stored:
        assert not stored.read().valid[:9].any()
        assert stored.read().valid[9:].all()


def test_bright_ships_outside_the_window_survive_a_coarse_step(tmp_path):
    raster = sar_raster((70, 60))
    raster.values[0, 30, 30] = 31.5
    raster.values[1, 40, 10] = -52.0
    _, back, _ = coded(tmp_path / "a.eoz", raster, quality=3)
    assert back.values[0, 30, 30] == pytest.approx(31.5, abs=step_of(3) / 8 + 0.01)
    assert back.values[1, 40, 10] == pytest.approx(-52.0, abs=step_of(3) / 8 + 0.01)


def test_uncalibrated_counts_get_a_window_of_their_own(tmp_path):
    counts = np.rint(10 ** (sar_values((70, 60)) / 20) * 3000).astype(np.uint16)
    path = write_sar(tmp_path / "s1.tif", counts, unit="amplitude", nodata=0)
    done = compress_scene(FileSource(open_raster(path)), tmp_path / "a.eoz", Wish(quality=6))
    assert done.header.parameters[1] == pytest.approx(20 * np.log10(np.median(counts[0])) - 20, abs=0.6)
    assert done.score.largest <= step_of(6) / 2 + 0.01


def test_a_crs_without_epsg_code_comes_back(tmp_path, raster):
    own = CRS.replace(',AUTHORITY["EPSG","32630"]', "").replace("-3]", "-2.5]").replace("zone 30N", "own zone")
    moved = replace(raster, grid=replace(raster.grid, crs=own))
    done, back, _ = coded(tmp_path / "a.eoz", moved, max_error=1.0)
    assert done.header.crs == own
    assert back.grid == moved.grid


def test_one_tile_of_one_band_has_at_most_120_fixed_bytes(tmp_path):
    raster = sar_raster((200, 200), names=("VV",))
    done = compress_scene(RasterSource(raster), tmp_path / "a.eoz", Wish(quality=5))
    assert done.header.crs == 32630
    payload = len(RoundingCoder(step_of(5)).encode(raster.values, np.ones((1, 200, 200), bool)))
    assert done.file_bytes - payload <= 120


@pytest.mark.parametrize(("wish", "low", "high"), [({"bits": 3.0}, 2.95, 3.0), ({"psnr": 35.0}, 35.0, 35.1)])
def test_a_rate_or_a_psnr_is_found(tmp_path, raster, wish, low, high):
    done, _, _ = coded(tmp_path / "a.eoz", raster, **wish)
    found = done.bits_per_pixel if "bits" in wish else done.psnr
    assert low <= found <= high
    assert done.sampled == 1.0


def test_a_search_on_a_sample_says_so(tmp_path, raster, monkeypatch):
    monkeypatch.setattr(scene_module, "SAMPLE_PIXELS", 2 * 256 * 256)
    done, _, _ = coded(tmp_path / "a.eoz", raster, bits=3.0)
    assert done.sampled < 0.8
    assert done.facts["search_saw_share"] == pytest.approx(done.sampled, abs=1e-4)
    assert done.bits_per_pixel == pytest.approx(3.0, rel=0.15)


def test_progress_counts_pixels_to_the_end(tmp_path, raster):
    seen = []
    compress_scene(
        RasterSource(raster), tmp_path / "a.eoz", Wish(max_error=1.0), tile=256,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen[0] == (0, 300 * 520)
    assert seen[-1] == (300 * 520, 300 * 520)


class OffCoder(ZlibCoder):
    """Decodes one pixel wrongly."""

    def decode(self, payload, valid):
        values = super().decode(payload, valid).copy()
        values[0, -1, -1] += 1
        return values


@pytest.mark.parametrize("wish", [{"max_error": 0.5}, {"lossless": True}])
def test_a_coder_that_breaks_its_promise_is_noticed_and_nothing_is_written(tmp_path, raster, monkeypatch, wish):
    broken = {**tile_coder.CODERS, 0: tile_coder.CoderEntry("predictive", __name__, "OffCoder", integers=True)}
    monkeypatch.setattr(tile_coder, "CODERS", broken)
    if "lossless" in wish:
        counts = np.ones((1, 64, 64), np.uint16)
        source = FileSource(open_raster(write_sar(tmp_path / "in" / "s1.tif", counts, unit="count")))
    else:
        source = RasterSource(raster)
    with pytest.raises(CodecError, match="check after coding failed"):
        compress_scene(source, tmp_path / "a.eoz", Wish(**wish))
    assert list(tmp_path.glob("*.eoz")) == list(tmp_path.glob(".*")) == []


def test_a_scene_without_a_valid_pixel_is_an_error(tmp_path):
    raster = sar_raster((64, 64))
    empty = replace(raster, valid=np.zeros((64, 64), bool))
    with pytest.raises(DataError, match="no valid pixel"):
        compress_scene(RasterSource(empty), tmp_path / "a.eoz", Wish(max_error=0.5))


def test_a_tile_without_a_valid_pixel_costs_next_to_nothing(tmp_path, raster):
    raster = sar_raster((512, 256))
    raster.valid[256:] = False
    _, back, stored = coded(tmp_path / "a.eoz", raster, max_error=0.5)
    assert not back.valid[256:].any()
    assert stored._container.tiles[1].length <= 2


@pytest.mark.parametrize(
    ("unit", "wish", "message"),
    [
        (Unit.KELVIN, {"quality": 5}, "no decibel"),
        (Unit.COUNT, {"max_error": 0.5}, "no decibel"),
        (Unit.REFLECTANCE, {"lossless": True}, "no decibel"),
    ],
)
def test_modes_of_decibel_need_radar(raster, unit, wish, message):
    other = replace(raster, bands=raster.bands.with_unit(unit))
    with pytest.raises(UsageError, match=message):
        plan_header(RasterSource(other), Wish(**wish))


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"quality": 5, "bits": 1.0}, "--quality and --bpp"),
        ({"lossless": True, "max_error": 1.0}, "contradict"),
        ({"quicklook": True, "lossless": True}, "--quicklook and --lossless"),
        ({"quality": 11}, "out of range"),
        ({"max_error": 0.0}, "out of range"),
        ({"preset": "archiv"}, "no preset is called"),
    ],
)
def test_wishes_that_cannot_be_are_refused(wish, message):
    with pytest.raises(UsageError, match=message):
        Wish(**wish).checked()


def test_quality_halves_the_step_every_two_points():
    assert step_of(5) == pytest.approx(2 * step_of(7), rel=1e-3)
    assert Wish().checked().quality == 5
    assert Wish(quicklook=True).checked().mode is Mode.QUICKLOOK
