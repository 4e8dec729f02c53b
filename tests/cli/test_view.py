import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from eorestore.cli.view import view
from eorestore.errors import WriteError
from eorestore.raster import SENTINEL2_L1C, Grid, Raster
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster

app = typer.Typer()
app.command()(view)


@pytest.fixture
def scenes(tmp_path):
    from eorestore.data.synthetic_scene import UTM_32N

    grid = Grid(UTM_32N, (10.0, 0.0, 6e5, 0.0, -10.0, 5.3e6), 20, 30)
    for seed, name in enumerate(("before.tif", "after.tif")):
        values = np.random.default_rng(seed).uniform(0.02, 0.4, (13, 20, 30)).astype(np.float32)
        raster = Raster(values, np.ones((20, 30), dtype=bool), SENTINEL2_L1C, grid)
        write_raster(tmp_path / name, raster, encoding=Encoding("uint16", scale=1e-4, nodata=0.0))
    return tmp_path


def run(folder, *arguments: str):
    paths = [str(folder / "before.tif"), str(folder / "after.tif"), "-o", str(folder / "page.html")]
    return CliRunner().invoke(app, [*paths, *arguments])


def test_view_writes_the_page_and_says_where(scenes) -> None:
    result = run(scenes)
    assert result.exit_code == 0, result.output
    assert result.output.strip().endswith("page.html")
    assert "before.tif and after.tif" in (scenes / "page.html").read_text(encoding="utf-8")


def test_view_draws_the_bands_asked_for(scenes) -> None:
    assert run(scenes).exit_code == 0
    usual = (scenes / "page.html").read_text(encoding="utf-8")
    assert run(scenes, "--bands", "b8, B4 ,B03", "--overwrite").exit_code == 0
    assert (scenes / "page.html").read_text(encoding="utf-8") != usual


def test_view_replaces_a_page_only_when_asked(scenes) -> None:
    (scenes / "page.html").write_text("mine")
    result = run(scenes)
    assert isinstance(result.exception, WriteError)
    assert (scenes / "page.html").read_text() == "mine"
    assert run(scenes, "--overwrite").exit_code == 0
