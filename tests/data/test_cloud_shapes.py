"""Shapes of clouds: noise, blobs, sheets, pasted masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch
from skimage.measure import label, regionprops

from eorestore.data.cloud_shapes import Canvas, draw_blobs, draw_mask, draw_sheet, fractal_noise
from eorestore.errors import MaskError

PATCH = Canvas((256, 256), 0, 0, 0, 0)


def _blobs(cover: float, diameters: tuple[float, float], seed: int = 0):
    nothing = np.zeros(PATCH.size, bool)
    return draw_blobs(
        PATCH,
        cover=cover,
        diameters=diameters,
        taken=nothing,
        shadow_reach=(0, 0),
        generator=np.random.default_rng(seed),
    )


def test_noise_falls_with_frequency_as_its_slope_says():
    noise = fractal_noise((512, 512), generator=np.random.default_rng(0), longest=512.0, slope=2.0)
    frequency, density = welch(noise, nperseg=512, axis=1)
    band = (frequency > 0.02) & (frequency < 0.2)
    slope = np.polyfit(np.log(frequency[band]), np.log(density.mean(axis=0)[band]), 1)[0]
    # A line through an isotropic field of amplitude f ** -2 has a power spectrum of f ** -(2 * 2 - 1).
    assert slope == pytest.approx(-3.0, abs=0.3)
    assert noise.std() == pytest.approx(1.0, abs=1e-3)


def test_stretched_noise_is_longer_along_its_direction():
    noise = fractal_noise((256, 256), generator=np.random.default_rng(1), stretch=3.0, direction_rad=0.0)
    down, along = (np.abs(np.diff(noise, axis=axis)).mean() for axis in (0, 1))
    assert along < 0.6 * down


@pytest.mark.parametrize("diameter", [20.0, 60.0, 120.0])
def test_single_blobs_are_about_as_wide_as_asked(diameter: float):
    widths = []
    for seed in range(12):
        field = _blobs(0.05, (diameter, diameter), seed)[0].field
        parts = regionprops(label(field > 0))
        widths.append(max(part.equivalent_diameter_area for part in parts))
    assert np.mean(widths) == pytest.approx(diameter, rel=0.2)


def test_blobs_are_not_discs():
    parts = regionprops(label(_blobs(0.05, (100.0, 100.0))[0].field > 0))
    assert max(parts, key=lambda part: part.area).solidity < 0.95


def test_pixels_already_taken_count_towards_the_cover():
    taken = np.ones(PATCH.size, bool)
    shapes = draw_blobs(
        PATCH,
        cover=0.5,
        diameters=(20, 40),
        taken=taken,
        shadow_reach=(0, 0),
        generator=np.random.default_rng(0),
    )
    assert shapes == []


def test_a_sheet_fills_the_canvas_beyond_the_patch():
    canvas = Canvas((64, 48), 10, 0, 0, 20)
    sheet = draw_sheet(canvas, generator=np.random.default_rng(0))
    assert sheet.field.shape == canvas.shape == (74, 68)
    assert (sheet.row, sheet.column) == (-10, 0)


def test_a_pasted_mask_keeps_its_outline():
    mask = np.zeros((256, 256), bool)
    mask[40:90, 100:180] = True
    shape = draw_mask(PATCH, cover=float(mask.mean()), masks=[mask], generator=np.random.default_rng(3))
    areas = [part.area for part in regionprops(label(shape.field > 0))]
    # The canvas is as large as the mask, and what leaves on one side comes back mirrored: the area may grow.
    assert max(areas) <= 2 * mask.sum()
    boxes = [part.extent for part in regionprops(label(shape.field > 0))]
    assert min(boxes) == pytest.approx(1.0)


def test_masks_without_cloud_are_refused():
    with pytest.raises(MaskError, match="no cloud"):
        draw_mask(PATCH, cover=0.3, masks=[np.zeros((64, 64), bool)], generator=np.random.default_rng(0))


def test_overlap_cuts_a_shape_at_the_patch():
    shape = _blobs(0.05, (60.0, 60.0))[0]
    patch, own = shape.overlap((256, 256), (0, 0))
    assert np.zeros((256, 256))[patch].shape == shape.field[own].shape
    assert shape.overlap((256, 256), (1000, 0)) is None
