"""SAR scenes through an autoencoder that restores them by themselves: units, grid, nodata, tiles, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

import eorestore
from eorestore.errors import BandError, UsageError
from eorestore.models.checkpoint import load_checkpoint, save_checkpoint
from eorestore.models.table import build_model
from eorestore.processing.table import sar_processor
from eorestore.restorer import restore_raster
from eorestore.restorer.estimate import estimate
from eorestore.restorer.request import Request
from small_sar import sar_raster, sar_values, write_sar
from small_scenes import make_world, read_tif, write_world

SIZE = (72, 88)
SETTINGS = {"channels": [4, 6], "latent": 3, "norm": "none", "output": "linear"}
LOW, SPAN = -30.0, 40.0  # the window of VV


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "autoencoder"
    model = build_model("sar-autoencoder", SETTINGS, seed=3).eval()
    with torch.no_grad():
        model.decoder[-1].weight.mul_(20)  # an untrained one gives a grey image otherwise
    processor = sar_processor("VV")
    save_checkpoint(path, model, processor, task="sar-compression", provenance={}, tile=160, overlap=64)
    return path


def passed(checkpoint: Path, decibel: np.ndarray) -> np.ndarray:
    """VV (y, x) through the network at once, in decibel."""
    inside = torch.from_numpy(np.clip((decibel - LOW) / SPAN, 0, 1).astype(np.float32))
    with torch.inference_mode():
        image = load_checkpoint(checkpoint).model(sar=inside[None, None]).image[0, 0].numpy()
    return LOW + SPAN * image


@pytest.mark.parametrize("unit", ["decibel", "power", "amplitude"])
def test_a_scene_comes_back_as_the_network_gives_it_in_its_own_unit(tmp_path, checkpoint, unit):
    decibel = sar_values(SIZE)[:1]
    as_stored = {"decibel": decibel, "power": 10 ** (decibel / 10), "amplitude": 10 ** (decibel / 20)}[unit]
    path = write_sar(tmp_path / "s1.tif", as_stored.astype(np.float32), unit=unit)
    eorestore.restore(path, model=str(checkpoint), out=tmp_path / "out.tif")
    result = read_tif(tmp_path / "out.tif")
    found = {"decibel": lambda x: x, "power": lambda x: 10 * np.log10(x), "amplitude": lambda x: 20 * np.log10(x)}
    expected = passed(checkpoint, decibel[0])
    assert expected.std() > 0.2
    np.testing.assert_allclose(found[unit](result[0]), expected, atol=2e-3)
    with rasterio.open(path) as before, rasterio.open(tmp_path / "out.tif") as after:
        assert (after.crs, after.transform, after.dtypes) == (before.crs, before.transform, before.dtypes)
        assert after.units == before.units
        assert after.tags()["EORESTORE_MASK"] == "none"


def test_tiles_are_blended_and_agree_with_the_whole_scene_away_from_their_edges(tmp_path, checkpoint):
    decibel = sar_values((160, 400))[:1]
    path = write_sar(tmp_path / "s1.tif", decibel)
    eorestore.restore(path, model=str(checkpoint), out=tmp_path / "out.tif")
    assert json.loads((tmp_path / "out.tif.json").read_text())["tiles"]["count"] > 2
    result, whole = read_tif(tmp_path / "out.tif")[0], passed(checkpoint, decibel[0])
    np.testing.assert_allclose(result[:, :96], whole[:, :96], atol=1e-3)  # one tile alone
    steps = [np.abs(np.diff(image, axis=1)).mean(axis=0) for image in (result, whole)]
    assert (steps[0] / steps[1]).max() < 1.5  # no edge of a tile shows


def test_nodata_stays_nodata_and_enters_no_network(tmp_path, checkpoint):
    decibel = sar_values(SIZE)[:1]
    decibel[:, :20, :30] = np.nan
    path = write_sar(tmp_path / "s1.tif", decibel, nodata=float("nan"))
    eorestore.restore(path, model=str(checkpoint), out=tmp_path / "out.tif")
    result = read_tif(tmp_path / "out.tif")
    assert np.array_equal(np.isnan(result), np.isnan(decibel))


def test_a_band_that_the_network_does_not_give_stays_and_is_named(tmp_path, checkpoint):
    values = sar_values(SIZE)
    path = write_sar(tmp_path / "s1.tif", values)
    eorestore.restore(path, model=str(checkpoint), out=tmp_path / "out.tif")
    result = read_tif(tmp_path / "out.tif")
    assert np.array_equal(result[1], values[1])
    assert not np.array_equal(result[0], values[0])
    facts = json.loads((tmp_path / "out.tif.json").read_text())
    assert facts["warnings"] == ["VH stays as it is: autoencoder gives VV"]


def test_a_raster_comes_out_as_a_raster_without_a_mask(checkpoint):
    raster = sar_raster(SIZE, names=("VV",), hole=True)
    result = eorestore.restore(raster, model=str(checkpoint))
    assert (result.bands, result.grid) == (raster.bands, raster.grid)
    assert np.array_equal(result.values[:, ~raster.valid], raster.values[:, ~raster.valid])
    assert not np.array_equal(result.values[:, raster.valid], raster.values[:, raster.valid])
    by_keyword = restore_raster(str(checkpoint), {"sar": raster}).raster
    assert np.array_equal(by_keyword.values, result.values)


def test_what_a_mask_leaves_out_is_untouched(checkpoint):
    raster = sar_raster(SIZE, names=("VV",))
    mask = np.zeros(SIZE, bool)
    mask[20:40, 30:60] = True
    result = restore_raster(str(checkpoint), {"sar": raster}, mask=mask).raster
    assert np.array_equal(result.values[:, ~mask], raster.values[:, ~mask])
    assert not np.array_equal(result.values[:, mask], raster.values[:, mask])


def test_a_dry_run_knows_the_scene_for_what_it_is(tmp_path, checkpoint):
    path = write_sar(tmp_path / "s1.tif", sar_values(SIZE))
    facts = estimate(Request(path, tmp_path / "out.tif", model=str(checkpoint)))
    assert (facts["bands"], facts["model"]) == (["VV", "VH"], "autoencoder")


def test_other_scenes_are_refused_with_what_to_do(tmp_path, checkpoint):
    model = str(checkpoint)
    values = sar_values(SIZE)
    both, crossed = write_sar(tmp_path / "s1.tif", values), write_sar(tmp_path / "vh.tif", values[1:], names=("VH",))
    folder = write_world(tmp_path / "in", make_world((64, 64), seed=1))
    out = tmp_path / "out.tif"
    with pytest.raises(BandError, match=r"autoencoder needs VV; vh\.tif has VH") as refused:
        eorestore.restore(crossed, model=model, out=out)
    assert "-m " not in refused.value.fix
    with pytest.raises(BandError, match=r"autoencoder needs VV; s2\.tif has"):
        eorestore.restore(folder / "s2.tif", model=model, out=out)
    with pytest.raises(UsageError, match="restores a sar scene by itself") as refused:
        eorestore.restore(folder / "s2.tif", sar=folder / "s1.tif", model=model, out=out)
    assert refused.value.fix == "name s1.tif as IN, without --sar"
    with pytest.raises(UsageError, match="csmask finds no clouds"):
        eorestore.restore(both, model=model, out=out, mask="csmask")
    assert not out.exists()
