import io
import re
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from eorestore.reports.drawing import MARKERS, PALETTE, Drawing, colours, marker
from eorestore.reports.forest_plot import Effect, forest
from eorestore.reports.gallery import Picture, mosaic, strips
from eorestore.reports.plots import Point, against_cover, by_stratum, cost_against_score

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def pixels(drawing: Drawing) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB")).astype(int)


def count(drawing: Drawing, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(drawing) - colour).max(axis=-1) < 12).sum())


def effect(name: str, mean: float, *, half: float = 0.1) -> Effect:
    return Effect(name, mean, mean - half, mean + half, f"{mean:+.2f}")


def test_better_rows_are_blue_worse_ones_orange_and_others_neither() -> None:
    clear = forest([effect("a", 0.5), effect("b", -0.5)], label="dB")
    unclear = forest([effect("a", 0.05), effect("b", -0.05)], label="dB")
    assert count(clear, BLUE) > 100
    assert count(clear, ORANGE) > 100
    assert count(unclear, BLUE) == count(unclear, ORANGE) == 0


def test_a_row_far_away_does_not_squeeze_the_others() -> None:
    near = [effect(f"row {number}", 0.1 * number, half=0.3) for number in range(8)]
    alone = forest([*near, effect("far", -0.4, half=0.3)], label="dB")
    beside = forest([*near, effect("far", -17.0, half=0.3)], label="dB")
    width = {name: np.ptp(np.nonzero((np.abs(pixels(one) - BLUE).max(-1) < 12).any(0))[0]) for name, one in
             {"alone": alone, "beside": beside}.items()}  # fmt: skip
    assert width["beside"] > 0.7 * width["alone"]
    assert count(beside, ORANGE) > 30  # the arrow


def test_a_forest_of_one_row_has_an_axis() -> None:
    assert count(forest([effect("only", 0.0, half=0.0)], label="dB"), BLUE) == 0


def test_a_baseline_far_below_is_left_to_the_table() -> None:
    curves = {"a": {0.2: 28.0, 0.7: 26.0}, "b": {0.2: 27.0, 0.7: 25.5}, "identity": {0.2: 12.0, 0.7: 11.0}}
    near = against_cover({name: curves[name] for name in ("a", "b")}, score="dB", dashed=["identity"])
    assert against_cover(curves, score="dB", dashed=["identity"]) == near
    assert against_cover(curves, score="dB") != near


def overlap(boxes: list) -> int:
    return sum(
        one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[number + 1 :]
    )  # fmt: skip


def test_names_do_not_cover_each_other(monkeypatch) -> None:
    from matplotlib.axes import Axes

    drawn = []
    annotate = Axes.annotate
    monkeypatch.setattr(Axes, "annotate", lambda *args, **kwargs: drawn.append(annotate(*args, **kwargs)) or drawn[-1])
    points = [Point(f"a-longer-name-{number}", 1.0 + 0.02 * number, 25.0 + 0.05 * (number % 3)) for number in range(10)]
    cost_against_score(points, cost="GFLOPs", score="dB")
    kept = [text for text in drawn if text.figure is not None and text.axes is not None]
    assert {text.get_text() for text in kept} == {point.name for point in points}
    assert len(kept) == len(points)
    assert overlap([text.get_window_extent() for text in kept]) <= 2


def test_a_stratum_without_a_score_leaves_a_gap() -> None:
    whole = {"distance": {"a": {"0-8 px": 25.0, "8-32 px": 24.0, "32 px and more": 23.0}}}
    gap = {"distance": {"a": {"0-8 px": 25.0, "8-32 px": float("nan"), "32 px and more": 23.0}}}
    assert 0 < count(by_stratum(gap, score="dB"), BLUE) < count(by_stratum(whole, score="dB"), BLUE)


def test_forty_nine_lines_differ_in_colour_or_shape() -> None:
    looks = {(colour, marker(number)) for number, colour in enumerate(colours(49))}
    assert len(looks) == 49
    assert len(PALETTE) == len(MARKERS) == 7


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_colours_can_be_told_apart_without_red_or_green(kind) -> None:
    # Machado, Oliveira & Fernandes (2009), severity 1.0, on linear RGB.
    matrix = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }[kind]
    from skimage.color import deltaE_ciede2000, rgb2lab

    srgb = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in PALETTE])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(matrix).T, 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)[None])[0]
    apart = [deltaE_ciede2000(one, other) for at, one in enumerate(lab) for other in lab[at + 1 :]]
    assert min(apart) > 8


def colour_block(value: int, *, size: tuple[int, int]) -> np.ndarray:
    return np.full((*size, 3), (value, 0, 200), dtype=np.uint8)


def test_pictures_stand_in_a_grid_at_their_own_shape() -> None:
    tiles = [Picture(f"row {number}", colour_block(20 * number, size=(64, 64))) for number in range(7)]
    image = pixels(mosaic(tiles))
    assert image.shape[1] > 1.8 * image.shape[0]
    for number in range(7):
        assert (np.abs(image - (20 * number, 0, 200)).max(-1) < 3).sum() > 20_000
    assert pixels(mosaic(tiles[:1])).shape[1] < 0.3 * image.shape[1]


def test_strips_stand_below_each_other() -> None:
    image = pixels(
        strips([Picture("a", colour_block(0, size=(20, 100))), Picture("b", colour_block(255, size=(20, 100)))])
    )
    rows = [np.nonzero((np.abs(image - (value, 0, 200)).max(-1) < 3).any(1))[0] for value in (0, 255)]
    assert rows[0].max() < rows[1].min()


def test_a_pdf_holds_no_date_and_no_version() -> None:
    data = forest([effect("a", 0.5)], label="dB").pdf
    text = data + b"".join(
        zlib.decompress(found)
        for found in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
        if found[:1] == b"x"
    )
    assert b"matplotlib" not in text.lower()
    assert b"CreationDate" not in text


def test_matplotlib_waits_until_something_is_drawn() -> None:
    import subprocess

    code = "import eorestore.reports.run_report, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
