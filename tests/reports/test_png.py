import io

import numpy as np
import pytest
from PIL import Image

from eorestore.errors import DataError, WriteError
from eorestore.reports.png import encode_png, write_png, write_png_strips


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((5, 7), "L"), ((5, 7, 1), "L"), ((4, 9, 2), "LA"), ((33, 17, 3), "RGB"), ((1, 1, 3), "RGB"), ((8, 3, 4), "RGBA")],
)
def test_pillow_reads_the_same_samples_back(shape: tuple[int, ...], mode: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    image = Image.open(io.BytesIO(encode_png(pixels)))
    assert image.mode == mode
    assert np.array_equal(np.asarray(image).reshape(shape), pixels)


def test_every_row_filter_is_undone_by_pillow() -> None:
    # Each half invites another filter: flat, ramps along rows, along columns, and along both.
    y, x = np.mgrid[0:64, 0:64]
    parts = [np.full((64, 64), 9), 4 * x, 4 * y, 2 * x + 2 * y, (x * y) // 5, 255 - 3 * (x // 2)]
    pixels = np.concatenate(parts).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_smooth_pictures_become_much_smaller_than_their_samples() -> None:
    y, x = np.mgrid[0:256, 0:256] / 40.0
    wave = (127 + 60 * np.sin(x) + 60 * np.cos(y)).astype(np.uint8)
    assert len(encode_png(np.stack([wave, wave, wave], axis=-1))) < 0.1 * wave.size * 3


def test_rasterio_reads_a_written_file(tmp_path) -> None:
    import rasterio

    pixels = np.random.default_rng(2).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    write_png(tmp_path / "new" / "a.png", pixels)
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "new" / "a.png") as source:
        assert np.array_equal(np.moveaxis(source.read(), 0, -1), pixels)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4, 3)), np.zeros((4, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4, np.uint8)]
)
def test_what_is_not_a_picture_is_refused(pixels) -> None:
    with pytest.raises(DataError, match="no picture"):
        encode_png(pixels)


def test_a_file_as_parent_folder_is_a_write_error(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="could not be written"):
        write_png(tmp_path / "file" / "a.png", np.zeros((2, 2, 3), np.uint8))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eorestore.reports.writing.os.replace", fail)
    with pytest.raises(WriteError, match="No space left"):
        write_png(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strips_make_the_same_picture_as_the_whole(rows: int, tmp_path) -> None:
    y, x = np.mgrid[0:40, 0:31]
    pixels = np.stack([4 * x, 4 * y, 2 * x + 2 * y, (x * y) % 251], axis=-1).astype(np.uint8)
    write_png_strips(tmp_path / "a.png", (pixels[first : first + rows] for first in range(0, 40, rows)), size=(40, 31))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), pixels)


def test_a_picture_whose_rows_run_out_leaves_nothing(tmp_path) -> None:
    with pytest.raises(DataError, match="8 rows of a picture of 9 x 5"):
        write_png_strips(tmp_path / "a.png", [np.zeros((8, 5), np.uint8)], size=(9, 5))
    assert list(tmp_path.iterdir()) == []
