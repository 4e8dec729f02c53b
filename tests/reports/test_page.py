import base64
import io
import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eorestore.errors import DataError, GridError, WriteError
from eorestore.raster import SENTINEL2_L1C, Grid, Raster
from eorestore.reports.histogram import histogram_of
from eorestore.reports.page import Layer, write_page
from eorestore.reports.table import Table

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 160, 30)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def plain(colour: tuple[int, int, int], *, size: tuple[int, int] = (96, 96)) -> np.ndarray:
    return np.full((*size, 3), colour, dtype=np.uint8)


def layers() -> list[Layer]:
    return [
        Layer("Input", plain(RED), "with clouds"),
        Layer("Restored", plain(BLUE), "without"),
        Layer("Error map", plain(GREEN), "where it went wrong", key=(("#1ea01e", "0 to <1>"),)),
    ]


def write(path: Path) -> str:
    grid = Grid("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 8, 8)
    values = np.random.default_rng(0).uniform(0, 0.4, (13, 8, 8)).astype(np.float32)
    raster = Raster(values, np.ones((8, 8), dtype=bool), SENTINEL2_L1C, grid)
    write_page(
        path,
        title="A <scene> & more",
        summary="Half of it lay under cloud.",
        layers=layers(),
        metrics=Table(("Region", "PSNR, dB"), (("all", 20.401), ("cloud", float("nan")))),
        facts={"Model": "identity", "Weights": "none"},
        histograms=[histogram_of("B04", {"Input": raster, "Restored": raster})],
    )
    return path.read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Every tag that is opened is closed, in order."""

    EMPTY = frozenset(("meta", "img", "input", "line", "path", "rect", "circle"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in self.EMPTY or self.open.pop() == tag


def test_the_page_is_well_formed_and_names_every_id_once(tmp_path) -> None:
    parser = Balance()
    parser.feed(write(tmp_path / "index.html"))
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids)) > 4


def test_the_page_refers_to_nothing_outside_itself(tmp_path) -> None:
    text = write(tmp_path / "index.html")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert set(re.findall(r'src="([a-z/;:0-9]+),', text)) == {"data:image/png;base64"}
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_the_pictures_inside_are_the_layers(tmp_path) -> None:
    text = write(tmp_path / "index.html")
    found = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([\w+/=]+)", text)
    ]
    assert len(found) == 3
    for layer, picture in zip(layers(), found, strict=True):
        assert np.array_equal(layer.pixels, picture)


def test_words_are_escaped_and_missing_scores_are_not_available(tmp_path) -> None:
    text = write(tmp_path / "index.html")
    assert "A &lt;scene&gt; &amp; more" in text
    assert "0 to &lt;1&gt;" in text
    assert "<td>20.40</td>" in text
    assert "<td>n/a</td>" in text


def test_sections_without_content_are_left_out(tmp_path) -> None:
    write_page(tmp_path / "a.html", title="t", summary="s", layers=layers())
    assert 'class="card"' not in (tmp_path / "a.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [0, 1])
def test_one_picture_cannot_be_compared(tmp_path, count) -> None:
    with pytest.raises(DataError, match="two or more layers"):
        write_page(tmp_path / "a.html", title="t", summary="s", layers=layers()[:count])


def test_two_layers_of_one_name_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="different names"):
        write_page(tmp_path / "a.html", title="t", summary="s", layers=[layers()[0], layers()[0]])


def test_pictures_of_other_aspect_are_refused_but_other_sizes_are_not(tmp_path) -> None:
    larger = Layer("Larger", plain(BLUE, size=(192, 192)), "four times")
    write_page(tmp_path / "a.html", title="t", summary="s", layers=[layers()[0], larger])
    wide = Layer("Wide", plain(BLUE, size=(96, 128)), "wider")
    with pytest.raises(GridError, match="not the same ground"):
        write_page(tmp_path / "b.html", title="t", summary="s", layers=[layers()[0], wide])
    assert not (tmp_path / "b.html").exists()


def test_an_unwritable_page_is_a_write_error(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError):
        write_page(tmp_path / "file" / "a.html", title="t", summary="s", layers=layers())


def browse(page: Path, fragment: str, folder: Path, *options: str) -> bytes:
    """What Chromium prints for a page; its profile is a new folder in `folder`."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    profile = tempfile.mkdtemp(prefix="profile-", dir=folder)
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        f"--user-data-dir={profile}", *options, f"{page.as_uri()}#{fragment}",
    ]  # fmt: skip
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout


def screenshot(page: Path, fragment: str, folder: Path, *, size: tuple[int, int] = (1280, 900)) -> np.ndarray:
    """What a browser shows of a page, RGB (y, x, 3)."""
    out = folder / "screenshot.png"
    browse(page, fragment, folder, f"--window-size={size[0]},{size[1]}", f"--screenshot={out}")
    return np.asarray(Image.open(out).convert("RGB")).astype(int)


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(image - colour).max(axis=-1) <= 3).mean())


def test_the_browser_shows_both_pictures_and_the_divider_moves(tmp_path) -> None:
    page = tmp_path / "index.html"
    write(page)
    wide, narrow = (screenshot(page, f"split={split}&theme=light", tmp_path) for split in (80, 20))
    assert wide.std() > 20
    assert share(wide, RED) > 3 * share(wide, BLUE) > 0.05
    assert share(narrow, BLUE) > 3 * share(narrow, RED) > 0.05
    total = share(wide, RED) + share(wide, BLUE)
    assert share(narrow, RED) + share(narrow, BLUE) == pytest.approx(total, abs=0.02)
    assert total > 0.3


def test_the_address_chooses_the_layers(tmp_path) -> None:
    page = tmp_path / "index.html"
    write(page)
    image = screenshot(page, "left=restored&right=error-map&split=50", tmp_path)
    assert share(image, BLUE) > 0.1
    assert share(image, GREEN) > 0.1
    assert share(image, RED) < 0.02


def test_both_themes_and_a_phone_show_the_picture(tmp_path) -> None:
    page = tmp_path / "index.html"
    write(page)
    light, dark = (screenshot(page, f"theme={theme}", tmp_path) for theme in ("light", "dark"))
    assert light[-40:, :20].mean() > 200
    assert dark[-40:, :20].mean() < 50
    phone = screenshot(page, "theme=light", tmp_path, size=(500, 900))
    assert share(phone[:, 40:-40], RED) > 0.1
    assert share(phone[:, -12:], tuple(light[-5, 5])) > 0.95


def test_an_address_that_makes_no_sense_still_shows_the_pictures(tmp_path) -> None:
    page = tmp_path / "index.html"
    write(page)
    image = screenshot(page, "left=nothing&split=far&zoom=9&theme=pink", tmp_path)
    assert share(image, RED) == pytest.approx(share(image, BLUE), abs=0.02)
    assert share(image, RED) > 0.1


ACTIONS = """<script>addEventListener("load", () => {
  const stage = document.getElementById("stage"), divider = document.getElementById("divider"), seen = [];
  const note = () => seen.push(divider.getAttribute("aria-valuenow"));
  const key = (name, shiftKey = false) => {
    divider.dispatchEvent(new KeyboardEvent("keydown", { key: name, shiftKey, bubbles: true, cancelable: true }));
    note();
  };
  key("ArrowRight"); key("ArrowLeft", true); key("Home"); key("ArrowLeft"); key("End");
  stage.setPointerCapture = () => {};
  const box = stage.getBoundingClientRect();
  const point = (kind, share) => {
    const at = { clientX: box.left + share * box.width, clientY: box.top + 50, bubbles: true, button: 0 };
    stage.dispatchEvent(new PointerEvent(kind, at));
    note();
  };
  point("pointerdown", 0.25); point("pointermove", 0.75); point("pointermove", 2); point("pointerup", 2);
  point("pointermove", 0.1);
  document.getElementById("swap").click();
  document.querySelector('.choice[data-layer="error-map"]').click();
  document.querySelector('input[name="right"][value="restored"]').click();
  document.body.dataset.seen = seen.join(" ") + " " + location.hash;
});</script>"""


def test_keys_pointer_and_choices_move_the_divider_and_change_the_layers(tmp_path) -> None:
    page = tmp_path / "index.html"
    page.write_text(write(page).replace("</body>", ACTIONS + "</body>"), encoding="utf-8")
    text = browse(page, "split=50", tmp_path, "--window-size=1280,900", "--dump-dom").decode()
    seen = re.search(r'data-seen="([^"]*)"', text)[1].replace("&amp;", "&")
    keys, pointer = "52 42 0 0 100", "25 75 100 100 100"
    # Swapping put Restored on the left; choosing it on the right hands the error map over to the left.
    assert seen == f"{keys} {pointer} #left=error-map&right=restored&split=100&zoom=1"
