"""What `--help` says of the presets is what was measured; nobody types a number."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

from eorestore.codec.modes import PRESETS
from eorestore.codec.preset_figures import PRESET_FIGURES, preset_help

ROOT = Path(__file__).parents[2]


def measured() -> dict[str, tuple[str, str]]:
    """Of every preset, from the record."""
    scores = json.loads((ROOT / "results" / "sar-codecs.json").read_text())["scores"]
    bands = scores["lossy"]["points"]["eorestore"].values()
    found = {}
    for name, wish in PRESETS.items():
        points = [next(point for point in band if point["setting"] == wish.quality) for band in bands]
        assert len(points) == 5
        means = (fmean(point[key] for point in points) for key in ("bpp", "psnr30"))
        found[name] = tuple(f"{value:.2f}" for value in means)
    return found


def test_the_figures_of_the_presets_are_those_of_the_record() -> None:
    assert dict(PRESET_FIGURES) == measured()


def test_the_help_names_every_preset_with_both_figures() -> None:
    for name, (bits, psnr) in PRESET_FIGURES.items():
        assert f"{name} ({bits} bpp, {psnr} dB)" in preset_help()


def test_the_page_of_commands_says_the_same() -> None:
    assert preset_help() in (ROOT / "docs" / "commands.md").read_text()
