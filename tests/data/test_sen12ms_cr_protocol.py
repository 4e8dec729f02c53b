"""SEN12MS-CR from folder to score: index, manifest, real pairs, two updates of a small network, official metrics."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest
import torch

from eorestore.cli.app import run
from eorestore.config import DataSettings, ModelConfig, RunConfig, TrainingSettings, load_config
from eorestore.data.manifest import read_manifest
from eorestore.experiments.evaluate import evaluate
from eorestore.experiments.training_run import train
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS
from eorestore.tasks.cloud_removal import CLOUD_REMOVAL
from sen12ms_tree import REGIONS, build_tree

pytestmark = pytest.mark.real
PRESETS = Path(__file__).parents[2] / "presets"
TINY = {"channels": 8, "growth": 4, "blocks": 1, "layers": 1, "heads": 2, "head_channels": 4, "drop_path": 0.0}


@pytest.fixture(scope="module")
def tree(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tree(tmp_path_factory.mktemp("sen12mscr"), real_data)


@pytest.fixture(scope="module")
def manifest(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "sen12ms-cr.csv"
    assert run(["data", "sen12ms-cr", str(tree), "-o", str(path)]) == 0
    return path


def config(manifest: Path, tree: Path, **data) -> RunConfig:
    settings = {"pairs": "real", "crop": 32, "items_per_epoch": 8, "validation_items": 2, "sar_shift_px": 0.0}
    return RunConfig(
        "tiny",
        "cloud-removal",
        ModelConfig("glf-cr", TINY),
        DataSettings(manifest=str(manifest), root=str(tree), **settings | data),
        {"l1": 1.0},
        TrainingSettings(steps=2, batch=2, pictures=0, channels_last=False),
        gpu="not needed",
        tile=64,
        overlap=16,
    )


def test_the_manifest_of_a_folder_has_its_triplets_by_official_split(tree, manifest):
    rows = read_manifest(manifest, root=tree)
    places = {split: {row.place for row in rows if row.split == split} for split in REGIONS}
    assert places == {split: {f"{season}_{region}" for season, region in of} for split, of in REGIONS.items()}
    assert len(rows) == 2 * 3 + 2
    assert all(row.reference is not None and row.s2_offset == 0 for row in rows)
    one = next(row for row in rows if row.id == "ROIs1158_spring_106_p797")
    assert one.sar.name == "ROIs1158_spring_s1_106_p797.tif"


def test_a_test_split_that_is_not_the_published_one_is_warned_of(tree, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="eorestore.data.sen12ms_cr"):
        assert run(["data", "sen12ms-cr", str(tree), "-o", str(tmp_path / "again.csv")]) == 0
    assert "ROIs2017_winter 108: 1 of 783" in caplog.text


def test_the_manifest_passes_the_check(tree, manifest, capsys):
    assert run(["data", "check", str(manifest), "--root", str(tree)]) == 0
    assert "8 scenes, 5 places: nothing amiss" in capsys.readouterr().out


def test_the_published_preset_reads_real_pairs(tree, manifest):
    overrides = {"data.manifest": str(manifest), "data.root": str(tree), "data.crop": 64}
    preset = load_config(PRESETS / "glf-cr-v0.yaml", overrides)
    model = build_model("glf-cr", TINY)
    samples, _ = CLOUD_REMOVAL.datasets(preset, PROCESSORS[preset.processor](), model)
    sample = samples[0]
    assert sample["cloudy"].shape == (13, 64, 64)
    assert not torch.equal(sample["cloudy"], sample["target"])


def test_the_published_preset_passes_its_dry_run(tree, manifest, tmp_path):
    overrides = [f"data.manifest={manifest}", f"data.root={tree}"]
    command = ["train", "-c", str(PRESETS / "glf-cr-v0.yaml"), "--dry-run", "-o", str(tmp_path)]
    assert run([*command, *(part for text in overrides for part in ("-s", text))]) == 0


def test_two_updates_on_real_pairs_give_a_model_that_the_protocol_scores(tree, manifest, tmp_path):
    trained = train(config(manifest, tree), out=tmp_path)
    assert trained.result.steps == 2
    assert trained.result.scores["loss"] > 0
    table = evaluate(
        [str(trained.folder), "identity"], data=manifest, root=tree, protocol="sen12ms-cr", mask="none", crop=64
    )
    assert {row.model for row in table.rows} == {str(trained.folder), "identity"}
    assert all(0 < row.scores["psnr"] < 60 for row in table.rows)


def test_doing_nothing_scores_what_others_measured(tree, manifest, tmp_path):
    """20.401 dB, 0.729 and 21.39 degrees over the whole 256 x 256 patch were measured apart from this package."""
    command = ["evaluate", "identity", "--data", str(manifest), "--root", str(tree), "--protocol", "sen12ms-cr"]
    assert run([*command, "-o", str(tmp_path / "scores")]) == 0
    table = evaluate("identity", data=manifest, root=tree, protocol="sen12ms-cr")
    assert len(table.rows) == 2
    for row in table.rows:
        assert row.scores["psnr"] == pytest.approx(20.401, abs=0.001)
        assert row.scores["ssim_paper"] == pytest.approx(0.729, abs=0.001)
        assert row.scores["sam"] == pytest.approx(21.39, abs=0.01)
        assert 0 < row.scores["mae"] < 0.2
    printed = "".join(path.read_text() for path in (tmp_path / "scores").rglob("*.md"))
    for number in ("20.40", "0.729", "21.39"):
        assert number in printed


def test_every_row_of_the_manifest_has_all_its_cells(manifest):
    with manifest.open(newline="") as file:
        assert all(all(line.values()) for line in csv.DictReader(file))
