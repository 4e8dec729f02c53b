"""What the documentation says of models, losses, options and version is what the package has; runs no block of it."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path

import torch
import yaml

import eorestore
from eorestore.config import load_config
from eorestore.models.catalogue import ALIASES, BASELINES, preset_names
from eorestore.models.table import MODELS, build_model
from eorestore.tasks.cloud_removal import LOSSES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_every_option_of_restore_is_explained() -> None:
    commands = (DOCS / "commands.md").read_text()
    section = commands.split("## eorestore restore\n")[1].split("\n## ")[0]
    text = (DOCS / "restore.md").read_text()
    assert [option for option in re.findall(r"`(--[\w-]+)`", section) if option not in text] == []


def test_every_model_is_described() -> None:
    text = (DOCS / "models.md").read_text()
    names = {*BASELINES, *ALIASES, *ALIASES.values(), *preset_names(), *MODELS}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_the_table_of_presets_is_what_they_build() -> None:
    """Parameters, whether SAR may be missing, and maps; nobody counts by hand."""
    rows = re.findall(r"^\| `(\S+)` \| `(\S+)` \| ([\d,]+) \| (\w+) \| (.*?)\|", (DOCS / "models.md").read_text(), re.M)
    told = {preset: (network, count, sar, re.findall(r"`(\w+)`", maps)) for preset, network, count, sar, maps in rows}
    assert told == {preset: _built(path) for preset, path in preset_names().items()}


def _built(preset: Path) -> tuple[str, str, str, list[str]]:
    config = load_config(preset)
    with torch.device("meta"):
        model = build_model(config.model.name, config.model.settings)
    count = sum(weight.numel() for weight in model.parameters())
    takes = "sar" in inspect.signature(model.forward).parameters
    sar = "optional" if "sar" in model.optional_inputs else "needed" if takes else "none"
    return config.model.name, f"{count:,}", sar, list(model.extras)


def test_the_score_of_the_feature_network_is_that_of_its_record() -> None:
    accuracy = json.loads((ROOT / "results" / "feature-network.json").read_text())["scores"]["accuracy"]
    assert f"{100 * accuracy:.1f} %" in (DOCS / "training.md").read_text()


def test_every_loss_is_named_where_training_is_taught() -> None:
    text = (DOCS / "training.md").read_text()
    assert [name for name in LOSSES if f"`{name}`" not in text] == []


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == eorestore.__version__ == project["version"]
    assert f"## {eorestore.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_with_checkpointing_a_step_of_every_version_stays_within_the_memory_that_is_stated() -> None:
    scores = json.loads((ROOT / "results" / "training-memory.json").read_text())["scores"]
    fits = {row[0]: row[scores["columns"].index("fits in 4 GB")] for row in scores["rows"] if row[1] == "on"}
    assert fits == dict.fromkeys(("glf-cr-v0", "glf-cr-v1", "glf-cr-v3", "glf-cr-v4"), True)
    assert "within 4 GB; `results/training-memory.json`" in (DOCS / "models.md").read_text()
