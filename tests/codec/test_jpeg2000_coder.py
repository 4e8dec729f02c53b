"""JPEG2000 codestreams for whole scenes: read by another library, within a rate, and taken only where better."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.codec import fallback, tile_coder
from eorestore.codec.jpeg2000_coder import Jpeg2000Coder
from eorestore.codec.modes import Wish
from eorestore.codec.scene import compress_scene
from eorestore.codec.source import RasterSource
from eorestore.codec.stored_scene import StoredScene
from eorestore.errors import CodecError
from eorestore.raster import Window
from eorestore.raster.files.jpeg2000 import read_codestream, write_codestream
from small_sar import sar_raster, sar_values, use_plain_coders

WINDOWS = (-30.0, -38.0)


def levels(size=(150, 170), bands=2):
    return np.clip((sar_values(size, bands=bands) + 38) / 40 * 65535, 0, 65535).astype(np.uint16)


def test_another_library_reads_the_same_values():
    imagecodecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    values = levels(bands=1)
    content = write_codestream(values, share=0.1)
    ours, theirs = read_codestream(content, shape=values.shape)[0], imagecodecs.jpeg2k_decode(content)
    assert content[:4] == b"\xff\x4f\xff\x51"  # SOC and SIZ: a bare codestream
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("bands", [1, 2])
def test_the_rate_is_kept_and_more_bytes_are_better(share, bands):
    values = levels(bands=bands)
    content = write_codestream(values, share=share)
    assert 0.8 * share < len(content) / values.nbytes < 1.05 * share
    errors = [
        np.std(read_codestream(write_codestream(values, share=one), shape=values.shape).astype(float) - values)
        for one in (share, 2 * share)
    ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("size", [(64, 64), (65, 300), (257, 64)])
def test_small_scenes_can_be_coded(size):
    values = levels(size, bands=1)
    back = read_codestream(write_codestream(values, share=1.0), shape=values.shape)
    assert np.abs(back.astype(int) - values).max() < 200


def test_scenes_too_small_for_a_wavelet_are_not_tried(tmp_path, monkeypatch):
    with pytest.raises(CodecError, match="cannot be written"):
        write_codestream(levels((3, 40), bands=1), share=1.0)
    use_plain_coders(monkeypatch)
    monkeypatch.setattr(fallback, "MOST_VALUES", 1 << 22)
    done = compress_scene(RasterSource(sar_raster((3, 40))), tmp_path / "a.eoz", Wish(quality=5))
    assert tile_coder.coder_entry(done.header.coder).name == "fidelity"


def test_damaged_streams_and_other_shapes_are_errors():
    content = write_codestream(levels(), share=0.1)
    with pytest.raises(CodecError, match="damaged"):
        read_codestream(content[:60], shape=(2, 150, 170))
    with pytest.raises(CodecError, match="not"):
        read_codestream(content, shape=(1, 150, 170))


def test_the_coder_keeps_gaps_at_zero():
    decibel = sar_values((60, 50))
    valid = np.ones(decibel.shape, bool)
    valid[:, :20] = False
    coder = Jpeg2000Coder(WINDOWS, share=0.3)
    back = coder.decode(coder.encode(np.where(valid, decibel, 0), valid), valid)
    assert (back[~valid] == 0).all()
    assert np.abs(back - decibel)[valid].std() < 0.5


def test_a_scene_is_stored_whole_where_that_is_no_larger_and_no_worse(tmp_path, monkeypatch):
    use_plain_coders(monkeypatch)
    raster = sar_raster((150, 170), hole=True)
    tiles = compress_scene(RasterSource(raster), tmp_path / "tiles.eoz", Wish(quality=5))
    monkeypatch.setattr(fallback, "MOST_VALUES", 1 << 22)
    whole = compress_scene(RasterSource(raster), tmp_path / "whole.eoz", Wish(quality=5))
    assert (tile_coder.coder_entry(tiles.header.coder).name, tiles.header.tile) == ("fidelity", 512)
    assert (tile_coder.coder_entry(whole.header.coder).name, whole.header.tile) == ("jpeg2000", 0)
    assert whole.file_bytes <= tiles.file_bytes
    assert whole.psnr >= tiles.psnr
    with StoredScene(tmp_path / "whole.eoz") as stored:
        back = stored.read()
        part = stored.read(Window(70, 60, 20, 30))
    assert np.array_equal(back.valid, raster.valid)
    assert np.array_equal(part.values, back.values[:, 70:90, 60:90])
    error = (back.values - raster.values)[:, raster.valid]
    assert whole.score.rmse == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)


def test_tiles_that_are_better_stay(tmp_path, monkeypatch):
    use_plain_coders(monkeypatch)
    flat = sar_raster((128, 128))
    flat.values[:] = np.where(np.random.default_rng(0).random(flat.values.shape) < 0.5, -5.0, -25.0)
    monkeypatch.setattr(fallback, "MOST_VALUES", 1 << 22)
    done = compress_scene(RasterSource(flat), tmp_path / "a.eoz", Wish(max_error=0.5))
    assert tile_coder.coder_entry(done.header.coder).name == "predictive"
    noise = compress_scene(RasterSource(flat), tmp_path / "b.eoz", Wish(quality=10))
    assert tile_coder.coder_entry(noise.header.coder).name == "fidelity"
