"""SAR that is missing, wholly or by band: taken by the models made for it, refused by name by the others."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from eorestore.api import restore
from eorestore.errors import BandError, UsageError
from eorestore.models import catalogue
from eorestore.models.model import Settings
from eorestore.raster import SENTINEL1, MemoryPixels, Raster, Window
from eorestore.restorer import restore_raster
from eorestore.restorer import survey as survey_module
from eorestore.restorer.plan import ModelFacts
from eorestore.restorer.requirements import lenient
from eorestore.restorer.restore import Restorer, baseline_processor, load_restorer
from small_scenes import make_world, tiny_checkpoint, write_tif, write_world
from telling_model import WITHOUT_SAR, Surveying, telling_checkpoint

SHOWN = {"both": ("VV", "VH"), "VV": ("VV",), "VH": ("VH",), "none": ()}


@pytest.fixture(scope="module")
def world():
    return make_world((80, 76), seed=31)


@pytest.fixture
def telling(tmp_path, monkeypatch):
    return telling_checkpoint(tmp_path / "telling", monkeypatch)


def rasters_of(world, names):
    return {"cloudy": world.cloudy} | ({"sar": world.place.sar.select(names)} if names else {})


def expected(world, names):
    """What the network of `telling_model` gives with those SAR bands."""
    low = {"VV": -25.0, "VH": -32.5}
    scaled = {name: np.clip(world.place.sar.values[row], low[name], 0) / -low[name] + 1 for row, name in enumerate(low)}
    seen = np.mean([scaled[name] for name in names], axis=0) if names else WITHOUT_SAR
    return 0.8 * np.clip(world.cloudy.values, 0, 1) + 0.02 + 0.1 * seen


@pytest.mark.parametrize("shown", SHOWN)
def test_a_model_made_for_it_sees_nan_in_place_of_what_is_missing(world, telling, shown):
    restored = restore_raster(str(telling), rasters_of(world, SHOWN[shown]), mask=None).raster
    np.testing.assert_allclose(restored.values, expected(world, SHOWN[shown]), atol=1e-5)


@pytest.mark.parametrize("overview", [1200, 40])
@pytest.mark.parametrize("shown", SHOWN)
def test_prepare_sees_nan_throughout_in_place_of_what_is_missing(world, monkeypatch, shown, overview):
    monkeypatch.setattr(survey_module, "OVERVIEW", overview)
    bands = world.cloudy.bands
    facts = ModelFacts(load_restorer("identity", bands=bands).facts.resolved, catalogue.SizeRule(), 32, 0, {})
    processor = lenient(baseline_processor(bands), ("sar",))
    model = Surveying(Settings())
    restore_raster(Restorer("surveying", model, processor, facts), rasters_of(world, SHOWN[shown]), mask=world.mask)
    assert len(model.seen_sar) >= 2
    for seen in model.seen_sar:
        assert seen.shape[:2] == (1, 2)
        for row, name in enumerate(("VV", "VH")):
            missing = torch.isnan(seen[:, row])
            assert missing.all() if name not in SHOWN[shown] else not missing.any()
    assert model.seen_sar[0].shape[-2:] == ((80, 76) if overview == 1200 else (40, 38))


def test_no_sar_pixel_is_read_when_the_model_takes_none(world, monkeypatch):
    """The reading side leaves alone what nobody looks at."""

    class Unread(MemoryPixels):
        def read_raw(self, window: Window | None = None):
            if self.bands == SENTINEL1:
                raise AssertionError("SAR was read")
            return super().read_raw(window)

    monkeypatch.setattr("eorestore.restorer.memory.MemoryPixels", Unread)
    assert isinstance(restore_raster("identity", rasters_of(world, ("VV", "VH")), mask=world.mask).raster, Raster)


@pytest.mark.parametrize("shown", ["VV", "VH"])
def test_a_model_that_needs_both_refuses_one_by_name(world, tmp_path, shown):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny"))
    with pytest.raises(BandError) as caught:
        restore_raster(checkpoint, rasters_of(world, SHOWN[shown]), mask=world.mask)
    assert caught.value.message == f"tiny needs VV, VH; sar has {shown}"


def test_sar_of_other_polarisations_is_refused_even_where_none_is_needed(world, telling, tmp_path):
    folder = write_world(tmp_path / "in", world)
    write_tif(folder / "s1.tif", world.place.sar.values, world.cloudy.grid, names=("HH", "HV"))
    with pytest.raises(BandError, match=r"telling takes VV, VH; s1\.tif has HH, HV"):
        restore(folder / "s2.tif", sar=folder / "s1.tif", model=str(telling), out=tmp_path / "out.tif")


def test_the_fix_names_a_shipped_model_that_does_without(world, telling, tmp_path, monkeypatch):
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny"))
    with pytest.raises(UsageError) as caught:
        restore_raster(checkpoint, {"cloudy": world.cloudy}, mask=world.mask)
    assert caught.value.message == "tiny needs a sar scene"
    assert "telling" not in caught.value.fix
    shutil.copytree(telling, tmp_path / "weights" / "telling")
    monkeypatch.setattr(catalogue, "WEIGHTS_FOLDER", tmp_path / "weights")
    for rasters in (rasters_of(world, ()), rasters_of(world, ("VV",))):
        with pytest.raises((UsageError, BandError)) as caught:
            restore_raster(checkpoint, rasters, mask=world.mask)
        assert caught.value.fix.endswith("or choose a model that does without: -m telling")


@pytest.mark.parametrize("shown", SHOWN)
def test_the_sidecar_says_which_sar_bands_were_used(world, telling, tmp_path, shown):
    folder = write_world(tmp_path / "in", world)
    names = SHOWN[shown]
    if names:
        write_tif(folder / "s1.tif", world.place.sar.select(names).values, world.cloudy.grid, names=names)
    options = {"sar": folder / "s1.tif"} if names else {}
    for model, used in ((str(telling), list(names)), ("identity", [])):
        out = tmp_path / f"{len(used)}.tif"
        restore(folder / "s2.tif", model=model, out=out, mask=str(folder / "mask.tif"), overwrite=True, **options)
        assert json.loads((tmp_path / f"{len(used)}.tif.json").read_text())["sar_bands"] == used


def test_an_old_checkpoint_needs_all_it_was_trained_with(world, tmp_path):
    """config.json of earlier versions says nothing of optional inputs, of inputs, or of extras."""
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    config = json.loads((checkpoint / "config.json").read_text())
    for key in ("inputs", "optional_inputs", "extras"):
        del config[key]
    (checkpoint / "config.json").write_text(json.dumps(config))
    read = catalogue.read_config(checkpoint)
    assert (read["optional_inputs"], read["inputs"]) == ([], ["cloudy", "sar"])
    restored = restore_raster(str(checkpoint), rasters_of(world, ("VV", "VH")), mask=world.mask)
    assert np.isfinite(restored.raster.values).all()
    with pytest.raises(UsageError, match="needs a sar scene"):
        restore_raster(str(checkpoint), rasters_of(world, ()), mask=world.mask)


@pytest.mark.parametrize("shown", ["VV", "none"])
def test_a_dry_run_refuses_what_the_run_would(world, tmp_path, telling, shown, capsys):
    from eorestore.cli.app import run

    folder = write_world(tmp_path / "in", world)
    write_tif(folder / "s1.tif", world.place.sar.values[:1], world.cloudy.grid, names=("VV",))
    radar = ["--sar", str(folder / "s1.tif")] if shown == "VV" else []
    command = ["restore", str(folder / "s2.tif"), *radar, "-o", str(tmp_path / "out.tif"), "--dry-run", "-m"]
    tiny = str(tiny_checkpoint(tmp_path / "tiny"))
    codes = [run([*command, model, *more]) for model in (tiny, str(telling)) for more in ([], ["--json"])]
    assert codes == ([4, 4, 0, 0] if shown == "VV" else [2, 2, 0, 0])
    assert "tiny needs" in capsys.readouterr().err
