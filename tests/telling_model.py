"""A network that says much beside its image and does without SAR; its answers can be computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eorestore.models import table
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.model import Model, Output, Prepared, Settings
from eorestore.processing.table import PROCESSORS

BANDS = 13
WITHOUT_SAR = 0.25


class Telling(Model):
    """Image: 0.8 cloudy + 0.02 + 0.1 mean of what SAR there is, or WITHOUT_SAR instead of that mean.

    sigma: 0.02 + 0.1 cloudy. edges: a ramp over the columns of the tile, 0 to 1. gates: the mask and its opposite.
    """

    settings_type = Settings
    optional_inputs = ("sar",)

    def __init__(self, settings):
        super().__init__(settings)
        self.extras = {"sigma": BANDS, "edges": 1, "gates": 2}
        self.weight = torch.nn.Parameter(torch.tensor(0.8))

    def forward(self, *, cloudy, sar, mask):
        known = torch.where(torch.isnan(sar), 0.0, sar).sum(dim=1, keepdim=True)
        count = (~torch.isnan(sar)).sum(dim=1, keepdim=True)
        seen = torch.where(count > 0, known / count.clamp_min(1), WITHOUT_SAR)
        ramp = torch.linspace(0, 1, cloudy.shape[-1]).expand(len(cloudy), 1, *cloudy.shape[-2:])
        extras = {"gates": torch.cat([mask, 1 - mask], dim=1), "edges": ramp, "sigma": 0.02 + 0.1 * cloudy}
        return Output(self.weight * cloudy + 0.02 + 0.1 * seen, extras)


class Surveying(Telling):
    """Keeps what `prepare` was shown of the SAR."""

    needs_scene = True

    def prepare(self, scene):
        self.seen_sar = [scene.overview["sar"], *(window["sar"] for window in scene.windows)]
        return Prepared()


def telling_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch, *, processor: str = "glf-cr-optional-cirrus"):
    """The network in a checkpoint folder; it stands in the table of models while the test lasts."""
    monkeypatch.setattr(table, "MODELS", {**table.MODELS, "telling": Telling})
    return save_checkpoint(
        folder, Telling(Settings()), PROCESSORS[processor](), task="cloud-removal", provenance={}, tile=32, overlap=8
    )
