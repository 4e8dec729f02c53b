"""Maps beside the image: in memory, in files, through tiles, self-ensemble, journal and calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio

import eorestore
from eorestore.api import restore
from eorestore.cli.app import run
from eorestore.errors import CheckpointError, DataError, UsageError, WriteError
from eorestore.models.checkpoint import write_calibration
from eorestore.models.model import Output
from eorestore.restorer import restore_raster
from eorestore.restorer.inference import Execution, run_model
from eorestore.restorer.journal import Journal
from eorestore.restorer.restore import load_restorer
from small_scenes import NAMES, make_world, read_tif, tiny_checkpoint, write_bands, write_tif, write_world
from telling_model import Telling, telling_checkpoint

ALL = ("sigma", "edges", "gates")
SCALE = [1.0 + 0.1 * band for band in range(13)]


@pytest.fixture(scope="module")
def world():
    return make_world((90, 84), seed=21)


@pytest.fixture
def telling(tmp_path, monkeypatch):
    return telling_checkpoint(tmp_path / "telling", monkeypatch)


@pytest.fixture
def scene(tmp_path, world):
    return write_world(tmp_path / "in", world)


def in_memory(world, model, *, save=ALL, mask="given", cloudy=None, **options):
    rasters = {"cloudy": cloudy or world.cloudy, "sar": world.place.sar}
    return restore_raster(model, rasters, mask=world.mask if isinstance(mask, str) else mask, save=save, **options)


def expected_sigma(world):
    return 0.02 + 0.1 * np.clip(world.cloudy.values, 0, 1)


def test_maps_are_what_the_network_says_where_pixels_were_restored(world, telling):
    extras = in_memory(world, str(telling)).extras
    assert list(extras) == list(ALL)
    np.testing.assert_allclose(extras["sigma"][:, world.mask], expected_sigma(world)[:, world.mask], atol=1e-6)
    np.testing.assert_allclose(extras["gates"][:, world.mask], [[1.0], [0.0]] * np.ones(world.mask.sum()), atol=1e-6)
    assert extras["edges"].shape == (1, *world.mask.shape)
    assert all(values.dtype == np.float32 for values in extras.values())


def test_untouched_pixels_have_no_error_and_other_maps_say_nothing_of_them(world, telling):
    extras = in_memory(world, str(telling)).extras
    assert (extras["sigma"][:, ~world.mask] == 0).all()
    assert np.isnan(extras["edges"][:, ~world.mask]).all()
    assert np.isnan(extras["gates"][:, ~world.mask]).all()


def test_nodata_is_nan_in_every_map(world, telling):
    from dataclasses import replace

    valid = np.ones(world.mask.shape, bool)
    valid[20:50, 10:60] = False
    for mask in ("given", None, np.zeros_like(world.mask)):
        extras = in_memory(world, str(telling), mask=mask, cloudy=replace(world.cloudy, valid=valid)).extras
        for values in extras.values():
            assert np.isnan(values[:, ~valid]).all()
        assert np.isfinite(extras["sigma"][:, valid]).all()


def test_maps_change_nothing_in_the_image(world, telling):
    for mask in ("given", None):
        with_maps, plain = (in_memory(world, str(telling), mask=mask, save=save) for save in (ALL, ()))
        assert np.array_equal(with_maps.raster.values, plain.raster.values)
        assert plain.extras == {}


def test_the_order_asked_for_is_the_order_given(world, telling):
    extras = in_memory(world, str(telling), save=("gates", "sigma")).extras
    assert list(extras) == ["gates", "sigma"]
    np.testing.assert_allclose(extras["sigma"][:, world.mask], expected_sigma(world)[:, world.mask], atol=1e-6)


@pytest.mark.parametrize("processor", ["glf-cr-optional-cirrus", "dsen2-cr"])
def test_sigma_is_reflectance_whatever_the_scaling(world, tmp_path, monkeypatch, processor):
    """DSen2-CR scales reflectance by 5: a deviation is divided by 5 and has no offset."""
    checkpoint = telling_checkpoint(tmp_path / "scaled", monkeypatch, processor=processor)
    gain = 5 if processor == "dsen2-cr" else 1
    sigma = in_memory(world, str(checkpoint), save=("sigma",)).extras["sigma"]
    expected = (0.02 + 0.1 * gain * np.clip(world.cloudy.values, 0, 1)) / gain
    np.testing.assert_allclose(sigma[:, world.mask], expected[:, world.mask], atol=1e-6)


def test_sigma_has_the_bands_and_the_order_of_the_scene(world, telling):
    names = ("B08", "B02", *(name for name in reversed(NAMES) if name not in {"B08", "B02", "B10"}))
    shuffled = in_memory(world, str(telling), cloudy=world.cloudy.select(names)).extras["sigma"]
    plain = in_memory(world, str(telling)).extras["sigma"]
    assert len(shuffled) == 12
    np.testing.assert_allclose(shuffled, plain[[NAMES.index(name) for name in names]], atol=1e-6)


def test_bands_in_another_order_are_restored_each_in_its_own_place(tmp_path, world):
    """A file with all bands in another order than the network's once got them mixed up."""
    checkpoint = str(tiny_checkpoint(tmp_path / "tiny", tile=32, overlap=8))
    names = tuple(reversed(NAMES))
    plain = in_memory(world, checkpoint, save=()).raster
    turned = in_memory(world, checkpoint, save=(), cloudy=world.cloudy.select(names)).raster
    np.testing.assert_array_equal(turned.select(NAMES).values, plain.values)


def test_the_self_ensemble_averages_maps_too(world, telling):
    """The mean of a ramp over all turns is flat."""
    plain = in_memory(world, str(telling), save=("edges",)).extras["edges"]
    execution = Execution(tta=True)
    loaded = load_restorer(str(telling), bands=world.cloudy.bands, tile=96)
    square = in_memory(world, loaded, save=("edges",), mask=None, execution=execution).extras["edges"]
    assert np.nanstd(plain) > 0.1
    assert np.abs(square[0].mean() - 0.5) < 0.01
    assert square.std() < 0.1 * np.nanstd(plain) + 0.02


def test_calibration_multiplies_sigma_by_band(world, telling):
    before = in_memory(world, str(telling)).extras
    write_calibration(telling, {"level": 0.9, "scale": SCALE, "places": ["a", "b"]})
    after = in_memory(world, str(telling)).extras
    np.testing.assert_allclose(after["sigma"], before["sigma"] * np.reshape(SCALE, (-1, 1, 1)), rtol=1e-5)
    np.testing.assert_array_equal(after["edges"], before["edges"])


def test_a_calibration_of_other_bands_is_refused(world, telling):
    config = json.loads((telling / "config.json").read_text())
    config["calibration"] = {"level": 0.9, "scale": [1.0, 2.0], "places": []}
    (telling / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="calibrates 2 bands"):
        in_memory(world, str(telling))


@pytest.mark.parametrize("name", ["attention", "Sigma"])
def test_a_map_that_the_model_does_not_give_is_refused_with_those_it_gives(world, telling, name):
    with pytest.raises(UsageError, match=name) as caught:
        in_memory(world, str(telling), save=(name,))
    assert caught.value.fix == "it gives source, sigma, edges, gates, consistency"


def test_a_network_that_gives_other_maps_than_it_declares_is_refused():
    import torch

    from eorestore.models.model import Settings

    class Silent(Telling):
        def forward(self, *, cloudy, sar, mask):
            output = super().forward(cloudy=cloudy, sar=sar, mask=mask)
            return Output(output.image, {"edges": output.image})

    inputs = {key: torch.rand(1, bands, 8, 8) for key, bands in (("cloudy", 13), ("sar", 2), ("mask", 1))}
    for name in ("sigma", "edges"):
        with pytest.raises(DataError, match=f"as {name} of an image"):
            run_model(Silent(Settings()), inputs, Execution(), extras=(name,))


def arguments(scene, out, model, *more):
    return [
        "restore", str(scene / "s2.tif"), "--sar", str(scene / "s1.tif"), "--mask", str(scene / "mask.tif"),
        "-m", str(model), "-o", str(out), *more,
    ]  # fmt: skip


def test_maps_stand_beside_the_output_with_names_units_and_grid(tmp_path, scene, world, telling):
    write_calibration(telling, {"level": 0.9, "scale": SCALE, "places": ["farmland", "city"]})
    out = tmp_path / "out.tif"
    assert run(arguments(scene, out, telling, "--save", "source, sigma,gates,consistency")) == 0
    expected = in_memory(world, str(telling), save=("sigma", "gates")).extras
    with rasterio.open(scene / "s2.tif") as image, rasterio.open(tmp_path / "out.sigma.tif") as sigma:
        assert (sigma.crs, sigma.transform, sigma.shape) == (image.crs, image.transform, image.shape)
        assert sigma.descriptions == image.descriptions
        assert set(sigma.dtypes) == {"float32"}
        assert set(sigma.units) == {"reflectance"}
        assert np.isnan(sigma.nodata)
        # the file rounds reflectance to DN, which the network's sigma feels a little
        np.testing.assert_allclose(sigma.read(), expected["sigma"], atol=2e-5)
        assert sigma.tags()["EORESTORE_SIGMA"] == "calibrated"
        assert sigma.tags()["EORESTORE_SIGMA_PLACES"] == "farmland, city"
    with rasterio.open(tmp_path / "out.gates.tif") as gates:
        assert gates.descriptions == ("gates_1", "gates_2")
        np.testing.assert_allclose(gates.read(), expected["gates"], atol=1e-6)
        assert "EORESTORE_SIGMA" not in gates.tags()
    facts = json.loads((tmp_path / "out.tif.json").read_text())
    assert facts["maps"] == {
        "source": "out.source.tif", "sigma": "out.sigma.tif", "gates": "out.gates.tif",
        "consistency": "out.consistency.tif",
    }  # fmt: skip
    assert (facts["sigma"], facts["sigma_level"], facts["sigma_places"]) == ("calibrated", 0.9, ["farmland", "city"])
    assert facts["sigma_interval"] == pytest.approx(1.645, abs=1e-3)
    assert 0 <= facts["inconsistent_share"] <= 1
    values = read_tif(tmp_path / "out.consistency.tif")
    assert facts["inconsistent_share"] == pytest.approx((values[:, world.mask] > 3).mean())
    assert np.isnan(values[:, ~world.mask]).all()
    assert {path.name for path in tmp_path.iterdir()} - {"in", "telling"} == {
        "out.tif", "out.tif.json", "out.tif.preview.png", *facts["maps"].values(),
    }  # fmt: skip


def test_without_calibration_the_sidecar_says_as_predicted(tmp_path, scene, telling):
    options = {"sar": scene / "s1.tif", "model": str(telling), "mask": str(scene / "mask.tif")}
    restore(scene / "s2.tif", out=tmp_path / "out.cog.tif", save="sigma", **options)
    facts = json.loads((tmp_path / "out.cog.tif.json").read_text())
    assert facts["sigma"] == "as predicted"
    assert facts["maps"] == {"sigma": "out.sigma.tif"}
    restore(scene / "s2.tif", out=tmp_path / "plain.tif", **options)
    facts = json.loads((tmp_path / "plain.tif.json").read_text())
    assert facts["maps"] == {}
    assert "sigma" not in facts
    assert "inconsistent_share" not in facts


def test_maps_of_a_folder_of_bands_lie_beside_the_folder(tmp_path, scene, world, telling):
    bands = write_bands(tmp_path / "bands", world)
    options = {"sar": scene / "s1.tif", "model": str(telling), "mask": str(scene / "mask.tif")}
    restore(bands, out=tmp_path / "clear", save=("sigma", "source"), **options)
    assert read_tif(tmp_path / "clear.sigma.tif").shape == (13, *world.mask.shape)
    assert len(list((tmp_path / "clear").iterdir())) == 13
    assert not list(tmp_path.glob(".*"))


def test_a_resumed_run_has_the_very_same_maps(tmp_path, scene, telling, monkeypatch):
    tiles = ("--tile", "16", "--overlap", "4", "--batch", "1")
    save = ("--save", "sigma,edges,consistency", *tiles)
    assert run(arguments(scene, tmp_path / "in" / "whole.tif", telling, *save)) == 0
    real = Journal.write

    def write(journal, rows):
        if rows.first >= 20:
            raise KeyboardInterrupt
        real(journal, rows)

    out = tmp_path / "out.tif"
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", write)
        assert run(arguments(scene, out, telling, *save)) == 130
    assert not list(tmp_path.glob("out.*.tif"))
    assert run(arguments(scene, out, telling, "--save", "sigma", *tiles, "--resume")) == 2
    assert run(arguments(scene, out, telling, *save, "--resume")) == 0
    assert json.loads((tmp_path / "out.tif.json").read_text())["resumed_at_row"] > 0
    for name in ("tif", "sigma.tif", "edges.tif", "consistency.tif"):
        whole = read_tif(tmp_path / "in" / f"whole.{name}")
        assert np.array_equal(read_tif(tmp_path / f"out.{name}"), whole, equal_nan=True), name


def test_a_run_without_a_journal_gives_the_same_maps(tmp_path, scene, telling):
    options = {"sar": scene / "s1.tif", "model": str(telling), "mask": str(scene / "mask.tif")}
    for journal in (True, False):
        out = tmp_path / f"{journal}.tif"
        restore(scene / "s2.tif", out=out, journal=journal, save=("sigma", "consistency"), **options)
    for name in ("sigma", "consistency"):
        one, two = (read_tif(tmp_path / f"{journal}.{name}.tif") for journal in (True, False))
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("name", ["sigma", "consistency"])
def test_a_map_of_another_run_is_not_overwritten_unasked(tmp_path, scene, telling, name):
    (tmp_path / f"out.{name}.tif").write_text("precious")
    options = {"sar": scene / "s1.tif", "model": str(telling), "out": tmp_path / "out.tif", "save": name}
    with pytest.raises(WriteError, match="exists already"):
        restore(scene / "s2.tif", **options)
    assert (tmp_path / f"out.{name}.tif").read_text() == "precious"
    assert not (tmp_path / "out.tif").exists()


def test_a_map_never_overwrites_an_input(scene, telling):
    (scene / "s1.tif").rename(scene / "x.sigma.tif")
    options = {"sar": scene / "x.sigma.tif", "model": str(telling), "save": "sigma", "overwrite": True}
    with pytest.raises(UsageError, match="is an input"):
        restore(scene / "s2.tif", out=scene / "x.tif", **options)


def test_maps_beside_a_returned_raster_are_pointed_to_where_they_are(world, telling):
    with pytest.raises(UsageError) as caught:
        eorestore.restore(world.cloudy, sar=world.place.sar, model=str(telling), mask=world.mask, save="sigma")
    assert "restore_raster" in caught.value.fix


def test_another_network_of_the_same_wiring_can_take_its_place(world, telling):
    """What adapting a model to a scene needs: after the survey, before the first tile."""
    loaded = load_restorer(str(telling), bands=world.cloudy.bands)
    other = Telling(loaded.model.settings)
    other.weight.data.fill_(0.0)
    results = [in_memory(world, one, save=()) for one in (loaded, loaded.with_model(other))]
    assert not np.array_equal(*(result.raster.values for result in results))
    assert not loaded.with_model(other.train()).model.training


def test_a_dry_run_counts_maps_and_refuses_unknown_ones(tmp_path, scene, world, telling, capsys):
    large = np.tile(world.dn, (1, 6, 6))
    grid = world.cloudy.grid.resize(*large.shape[1:])
    write_tif(scene / "s2.tif", large, grid, names=NAMES)
    command = arguments(scene, tmp_path / "out.tif", telling, "--dry-run", "--json")
    found = []
    for save in ("", "sigma,edges"):
        assert run([*command, "--save", save]) == 0
        found.append(json.loads(capsys.readouterr().out))
    more = large[0].size * 14 * 4 / 1e6
    for key in ("output_mb_at_most", "journal_mb"):
        assert found[1][key] - found[0][key] == pytest.approx(more, abs=1)
    assert found[1]["memory_mb"] > found[0]["memory_mb"]
    assert run([*command, "--save", "attention"]) == 2
    assert "it gives source, sigma, edges, gates, consistency" in capsys.readouterr().err
