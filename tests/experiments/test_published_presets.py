"""Every preset of published size on a tiny SEN12MS-CR tree: its dry run passes, and it trains in full width."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eorestore.cli.app import run
from eorestore.config import load_config
from eorestore.models.catalogue import preset_names
from sen12ms_tree import build_tree

PUBLISHED = [name for name, path in preset_names().items() if "sen12ms-cr" in str(load_config(path).data.manifest)]
CROPS = {"sar-opt-cgan": 128}
"""Sides of crops that are not 32; eight halvings need 256, which the patches of the tree have not."""
NARROWED = {"sar-opt-cgan": ["model.settings.depth=7"]}


@pytest.fixture(scope="module")
def manifest(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = build_tree(tmp_path_factory.mktemp("tree"), real_data)
    path = tree / "triplets.csv"
    assert run(["data", "sen12ms-cr", str(tree), "-o", str(path)]) == 0
    return path


def changed(name: str, manifest: Path) -> list[str]:
    values = [f"data.manifest={manifest}", f"data.root={manifest.parent}", "data.workers=0", *NARROWED.get(name, [])]
    if "perceptual_vgg16" in load_config(preset_names()[name]).losses:
        # VGG16 comes from the user's own file; the network that is shipped takes its place.
        losses = dict(load_config(preset_names()[name]).losses)
        losses["perceptual_ucmerced"] = losses.pop("perceptual_vgg16")
        values.append(f"losses={json.dumps(losses)}")
    return [part for value in values for part in ("-s", value)]


def test_the_published_presets_are_all_there():
    versions = {f"glf-cr-v{version}" for version in range(5)}
    assert set(PUBLISHED) == versions | {
        "afsst", "afsst-spa", "dsen2-cr", "uncrtaints", "spa-gan", "spa-gan-sar", "sar-opt-cgan",
    }  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("name", PUBLISHED)
def test_its_dry_run_passes(name, manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["train", "-c", str(preset_names()[name]), *changed(name, manifest), "--dry-run"]) == 0
    assert name in capsys.readouterr().out


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_it_trains_in_full_width(name, manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crop = CROPS.get(name, 32)
    small = [f"data.crop={crop}", "training.batch=1", "training.pictures=0", "data.validation_items=1"]
    small += ["training.accumulate=1", f"tile={crop}", "overlap=0"]
    options = [part for value in small for part in ("-s", value)]
    preset = str(preset_names()[name])
    assert run(["train", "-c", preset, *changed(name, manifest), *options, "--smoke", "--name", "tiny"]) == 0
    assert json.loads(Path("runs/tiny-smoke/record.json").read_text())["scores"]["steps"] == 3
