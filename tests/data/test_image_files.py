from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eorestore.data.image_files import image_paths, image_size, read_image
from eorestore.errors import BandError, DataError
from small_sar import sar_grid
from small_scenes import write_tif

NAMES = ("B02", "B8A", "B11")
COLOURS = np.random.default_rng(0).integers(0, 256, (10, 14, 3), dtype=np.uint8)


def written(folder: Path, name: str, picture: Image.Image, **options) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.TIFF"])
def test_lossless_formats_give_levels_and_their_size(name, tmp_path):
    path = written(tmp_path, name, Image.fromarray(COLOURS), **({"lossless": True} if name == "a.webp" else {}))
    raster = read_image(path)
    assert raster.bands.names == ("red", "green", "blue")
    assert raster.values.dtype == np.float32
    assert np.array_equal(raster.values, COLOURS.transpose(2, 0, 1))
    assert raster.valid.all()
    assert image_size(path) == raster.grid.size == (10, 14)


def test_jpeg_is_read_as_pillow_reads_it(tmp_path):
    path = written(tmp_path, "a.JPG", Image.fromarray(COLOURS), quality=90)
    assert np.array_equal(read_image(path).values, np.asarray(Image.open(path)).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "YCbCr"])
def test_other_kinds_of_picture_become_red_green_and_blue(mode, tmp_path):
    name = {"CMYK": "a.jpg", "YCbCr": "a.jpg"}.get(mode, "a.png")
    path = written(tmp_path, name, Image.fromarray(COLOURS).convert(mode))
    with Image.open(path) as picture:
        expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(read_image(path).values, expected)


def test_transparent_pixels_are_not_valid(tmp_path):
    pixels = np.dstack([COLOURS, np.full(COLOURS.shape[:2], 255, np.uint8)])
    pixels[2:5, 3:6, 3] = 0
    raster = read_image(written(tmp_path, "a.png", Image.fromarray(pixels)))
    assert np.array_equal(~raster.valid, pixels[..., 3] == 0)


def test_grey_of_16_bits_keeps_what_lies_between_the_levels(tmp_path):
    deep = np.arange(10 * 14, dtype=np.uint16).reshape(10, 14) * 400
    raster = read_image(written(tmp_path, "a.png", Image.fromarray(deep)))
    assert np.allclose(raster.values, deep / 257, rtol=1e-6)


def test_colours_of_16_bits_are_refused_and_not_shortened(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    path = tmp_path / "deep.png"
    path.write_bytes(imagecodecs.png_encode(COLOURS.astype(np.uint16) * 257))
    with pytest.raises(DataError, match=r"deep\.png .* 16 bits") as error:
        read_image(path)
    assert "GeoTIFF" in error.value.fix


def test_a_tiff_with_a_place_keeps_its_bands_and_units(tmp_path):
    values = np.linspace(0, 0.9, 2 * 10 * 14, dtype=np.float32).reshape(2, 10, 14)
    path = write_tif(
        tmp_path / "s2.tif", values, sar_grid((10, 14)), names=("B04", "B08"), units=("reflectance",) * 2
    )  # fmt: skip
    raster = read_image(path)
    assert raster.bands.names == ("B04", "B08")
    assert np.allclose(raster.values, values)
    assert image_size(path) == (10, 14)


def scene(folder: Path, *, hole: bool = False) -> tuple[Path, np.ndarray]:
    values = np.random.default_rng(3).gamma(2, 0.05, (3, 40, 50)).astype(np.float32)
    if hole:
        values[:, 5:9, 7:20] = np.nan
    return write_tif(
        folder / "s2.tif", values, sar_grid((40, 50)), names=NAMES, units=("reflectance",) * 3, nodata=np.nan
    ), values  # fmt: skip


@pytest.mark.parametrize("hole", [False, True])
def test_three_bands_of_a_scene_are_a_picture_of_their_usual_range(hole, tmp_path):
    path, values = scene(tmp_path, hole=hole)
    raster = read_image(path, bands=("B11", "B02", "B8A"))
    assert raster.bands.names == ("red", "green", "blue")
    assert raster.grid.size == (40, 50)
    open_ground = np.isfinite(values[0])
    assert np.array_equal(raster.valid, open_ground)
    for level, band in zip(raster.values, values[[2, 0, 1]], strict=True):
        low, high = np.percentile(band[open_ground], (1, 99))
        assert np.allclose(level[open_ground], 255 * (band[open_ground] - low) / (high - low), atol=1e-2)
        assert level.min() < 0
        assert level.max() > 255, "highlights are not cut off"
    assert np.isfinite(raster.values).all()


def test_a_picture_takes_three_bands_that_the_scene_has_and_that_tell_something(tmp_path):
    path, _ = scene(tmp_path)
    with pytest.raises(DataError, match=r"B11 B02 is not three bands"):
        read_image(path, bands=("B11", "B02"))
    with pytest.raises(BandError, match="B05"):
        read_image(path, bands=("B11", "B02", "B05"))
    flat = write_tif(
        tmp_path / "flat.tif", np.ones((3, 8, 8), np.float32), sar_grid((8, 8)), names=NAMES, units=("reflectance",) * 3
    )
    with pytest.raises(DataError, match="the same everywhere"):
        read_image(flat, bands=NAMES)


def test_what_is_no_image_is_refused_by_name(tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("no image", encoding="utf-8")
    for ask in (image_size, read_image):
        with pytest.raises(DataError, match=r"bad\.png"):
            ask(bad)
    noise = np.random.default_rng(1).integers(0, 256, (99, 99, 3), dtype=np.uint8)
    cut = written(tmp_path, "cut.png", Image.fromarray(noise))
    cut.write_bytes(cut.read_bytes()[:9000])
    with pytest.raises(DataError, match=r"cut\.png"):
        read_image(cut)


def test_a_folder_gives_its_pictures_nested_sorted_and_nothing_else(tmp_path):
    for name in ("b/2.png", "a.webp", "b/1.jpg", ".cache/x.png", "b/.hidden.png"):
        written(tmp_path, name, Image.fromarray(COLOURS))
    (tmp_path / "readme.txt").write_text("no image", encoding="utf-8")
    assert [path.relative_to(tmp_path).as_posix() for path in image_paths(tmp_path)] == ["a.webp", "b/1.jpg", "b/2.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        image_paths(tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        image_paths(tmp_path / "absent")
