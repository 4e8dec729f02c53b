import json
import re

import numpy as np
import pytest
import rasterio

from eorestore.api import restore
from eorestore.errors import WriteError
from eorestore.reports.demo import demo_scene, make_demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    make_demo(folder, restore=restore, model="sar-regression", size=96, seed=3)
    return folder


def read(path):
    with rasterio.open(path) as source:
        return source.read()


def test_the_demo_leaves_the_scene_the_result_and_the_page(folder) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "cloudy.tif", "sar.tif", "reference.tif", "mask.tif", "restored.tif", "restored.tif.json",
        "restored.tif.preview.png", "restored.source.tif", "index.html",
    }  # fmt: skip


def test_pixels_that_the_source_layer_calls_observed_are_those_of_the_cloudy_file(folder) -> None:
    cloudy, restored, source = (read(folder / f"{name}.tif") for name in ("cloudy", "restored", "restored.source"))
    observed = source[0] == 1
    assert 0.1 < observed.mean() < 0.95
    assert np.array_equal(cloudy[:, observed], restored[:, observed])
    assert not np.array_equal(cloudy, restored)


def test_the_scores_on_the_page_are_those_of_the_files(folder) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    reference, cloudy, restored = (
        np.clip(read(folder / f"{name}.tif") * 1e-4, 0, 1) for name in ("reference", "cloudy", "restored")
    )
    cells = re.search(r">whole scene</th>(.*?)</tr>", (folder / "index.html").read_text(encoding="utf-8"))[1]
    found = [float(text) for text in re.findall(r"<td>([\d.]+)</td>", cells)]
    for raster, psnr in ((cloudy, found[0]), (restored, found[1])):
        assert psnr == pytest.approx(peak_signal_noise_ratio(reference, raster, data_range=1.0), abs=0.02)
    assert found[1] > found[0] + 3


def test_the_page_shows_six_layers_and_states_what_the_sidecar_says(folder) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    sidecar = json.loads((folder / "restored.tif.json").read_text(encoding="utf-8"))
    assert re.findall(r'data-name="(\w+)"', text) == ["Input", "Restored", "Reference", "SAR", "Error", "Source"]
    assert f"<dd>{sidecar['date_gap_days']:g} days</dd>" in text
    assert f"<dd>{sidecar['model']}</dd>" in text
    assert text.count('class="histogram"') == 4


def test_an_earlier_demo_is_replaced_only_when_asked(folder) -> None:
    before = (folder / "cloudy.tif").read_bytes()
    with pytest.raises(WriteError, match="exists"):
        make_demo(folder, restore=restore, model="inpaint", size=96, seed=4)
    assert (folder / "cloudy.tif").read_bytes() == before


def test_a_seed_gives_one_scene_and_another_seed_another() -> None:
    first, again, other = (demo_scene(size=64, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.cloudy.values, again.cloudy.values)
    assert not np.array_equal(first.cloudy.values, other.cloudy.values)
