"""What ground looks like to Sentinel-2 where a scene shows none of it: a Gaussian over SAR and bands of other places.

Fitted once by benchmarks/fit_ground_prior.py and shipped (weights/ground). It stands in where no pixel of a scene is
clear, so that what shadow and thin cloud let through can still be told from what they add.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from eorestore.errors import MissingError

FILE = Path(__file__).parents[1] / "weights" / "ground" / "prior.safetensors"
_RIDGE = 1e-3


class GroundPrior(NamedTuple):
    """mean: (feature + band,), SAR features (`scene_regression.sar_features`), then bands. covariance: of the same."""

    mean: Tensor
    covariance: Tensor

    def regression(self, bands: int, present: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (feature + 1, band), constant last, and the covariance (band, band) of what they leave.

        present: (feature,) bool; a feature that is absent gets no weight.
        """
        first = len(self.mean) - bands
        seen = present.to(self.mean.dtype)
        within = self.covariance[:first, :first] * seen * seen[:, None]
        within = within + torch.diag(1 - seen) + _RIDGE * torch.diag(within.diagonal())
        across = self.covariance[:first, first:] * seen[:, None]
        weights = torch.linalg.solve(within, across)
        constant = self.mean[first:] - (self.mean[:first] * seen) @ weights
        left = self.covariance[first:, first:] - across.T @ weights
        return torch.cat([weights, constant[None]]).float(), left.float()


def load_ground_prior(bands: int, features: int) -> GroundPrior | None:
    """The shipped prior in double precision; None for other bands than it holds. Raises MissingError without file."""
    if not FILE.is_file():
        raise MissingError(f"{FILE} is not there", fix="install eorestore again")
    stored = safetensors.torch.load_file(FILE)
    if len(stored["mean"]) != bands + features or int(stored["bands"]) != bands:
        return None
    return GroundPrior(stored["mean"].double(), stored["covariance"].double())
