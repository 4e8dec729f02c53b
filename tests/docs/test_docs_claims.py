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
from eorestore.restorer.zero_shot_recipe import ZeroShotRecipe, load_recipe, recipe_names
from eorestore.tasks.table import TASKS

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
    losses = {name for task in TASKS.values() for name in task.losses}
    assert [name for name in sorted(losses) if f"`{name}`" not in text] == []


def test_every_option_of_zero_shot_is_explained() -> None:
    section = (DOCS / "commands.md").read_text().split("## eorestore zero-shot\n")[1].split("\n## ")[0]
    plain = {"--quiet", "--json", "--out"}  # explained where they are printed
    text = (DOCS / "zero-shot.md").read_text()
    options = set(re.findall(r"`(--[\w-]+)`", section)) - plain
    assert [option for option in sorted(options) if option not in text and option != "--set"] == []


def test_every_setting_of_zero_shot_stands_with_its_default() -> None:
    text = (DOCS / "zero-shot.md").read_text().split("## Settings\n")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \| \S", text, re.M))
    assert told == {key: _cell(value) for key, value in _settings(ZeroShotRecipe("any")).items()}


def test_the_presets_of_zero_shot_are_told_where_they_leave_the_defaults() -> None:
    text = (DOCS / "zero-shot.md").read_text().split("## Presets\n")[1].split("\n## ")[0]
    header, *rows = (
        [part.strip() for part in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line[:3] == "| `" or line[:5] == "| Key"
    )
    names = [name.strip("`") for name in header[1:]]
    assert sorted(names) == list(recipe_names())
    found = {name: _settings(load_recipe(name)) for name in names}
    plain = _settings(ZeroShotRecipe("any"))
    changed = [key for key in plain if any(found[name][key] != plain[key] for name in names)]
    assert [[cell.strip("`") for cell in row] for row in rows] == [
        [key, *(_cell(found[name][key]) for name in names)] for key in changed
    ]


def _settings(recipe: ZeroShotRecipe) -> dict[str, object]:
    """Plain values by key, without the name."""
    values: dict[str, object] = {}
    for key, value in recipe.to_dict().items():
        if key in {"network", "learning", "inference"}:
            values |= {f"{key}.{inner}": item for inner, item in value.items()}
        elif key != "name":
            values[key] = value
    return values


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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
