"""What every model has to beat: nothing, the scene's mean, smooth interpolation, regression on SAR, and all at once.

None has a parameter; what they know they learn from the clear pixels of the scene, in `prepare`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from eorestore.errors import MaskError
from eorestore.models.model import Model, Output, Prepared, SceneSample, Settings
from eorestore.models.scene_estimate import estimate, interpolate, prepare_estimate
from eorestore.models.scene_regression import REACH, apply_regression, fit_regression, sar_features
from eorestore.models.thin_cloud import unveil
from eorestore.models.veil import Veil


@dataclass(frozen=True)
class BaselineSettings(Settings):
    """Baselines have nothing to set."""


class Identity(Model):
    """Returns its input."""

    settings_type: ClassVar[type[Settings]] = BaselineSettings
    reach = 0
    tiling = "crop"

    def forward(self, *, cloudy: Tensor) -> Output:
        """Cloudy (batch, band, y, x) as it is."""
        return Output(cloudy)


class BandMean(Model):
    """Fills with the mean of each band over the scene's clear pixels."""

    settings_type: ClassVar[type[Settings]] = BaselineSettings
    reach = 0
    tiling = "crop"
    needs_scene = True

    def prepare(self, scene: SceneSample) -> Prepared:
        """Means (band,) over clear pixels. Raises MaskError where there are none."""
        cloudy, clear = scene.overview["cloudy"], 1 - scene.overview["mask"]
        count = clear.sum()
        if float(count) == 0:
            raise MaskError("no clear pixel to take a mean of", fix="give a tighter mask or a larger scene")
        return Prepared(constants={"mean": (cloudy * clear).sum(dim=(0, 2, 3)) / count})

    def forward(self, *, cloudy: Tensor, mean: Tensor) -> Output:
        """The mean (1, band) everywhere."""
        return Output(mean[..., None, None].expand_as(cloudy))


class Inpaint(Model):
    """Smooth interpolation from the surrounding clear pixels: the harmonic surface through them."""

    settings_type: ClassVar[type[Settings]] = BaselineSettings
    reach = 0
    tiling = "crop"
    needs_scene = True

    def prepare(self, scene: SceneSample) -> Prepared:
        """The surface over the overview. Raises MaskError without clear pixels."""
        return Prepared(maps={"surface": interpolate(scene.overview["cloudy"], 1 - scene.overview["mask"])})

    def forward(self, *, surface: Tensor) -> Output:
        """The surface (batch, band, y, x)."""
        return Output(surface)


class SarRegression(Model):
    """Least squares from SAR to every band, pixel by pixel, fitted on the scene's clear pixels."""

    settings_type: ClassVar[type[Settings]] = BaselineSettings
    reach = 0
    tiling = "crop"
    needs_scene = True

    def features(self, sar: Tensor) -> Tensor:
        """What bands are regressed on: (batch, feature, y, x) from SAR (batch, 2, y, x)."""
        return sar

    def prepare(self, scene: SceneSample) -> Prepared:
        """Coefficients (feature + 1, band). Raises MaskError."""
        pieces = [(self.features(window["sar"]), window["cloudy"], window["mask"]) for window in scene.windows]
        return Prepared(constants={"coefficients": fit_regression(pieces)})

    def forward(self, *, sar: Tensor, coefficients: Tensor) -> Output:
        """Bands from SAR (batch, 2, y, x) with coefficients (1, feature + 1, band)."""
        return Output(apply_regression(self.features(sar), coefficients))


class SmoothedSarRegression(SarRegression):
    """Least squares from SAR as it is and smoothed at two widths: speckle averaged out, surroundings seen."""

    reach = REACH

    def features(self, sar: Tensor) -> Tensor:
        """SAR and its two smoothed copies, (batch, 6, y, x)."""
        return sar_features(sar)


class SceneEstimate(Model):
    """All that one scene tells without any training: regression, interpolation, and what thin cloud lets through.

    It is what the compact GLF-CR starts from, so the difference between the two is what its network is worth.
    """

    settings_type: ClassVar[type[Settings]] = BaselineSettings
    reach = REACH
    tiling = "crop"
    needs_scene = doubts_mask = True

    def prepare(self, scene: SceneSample) -> Prepared:
        """See models.scene_estimate. Raises MaskError."""
        return prepare_estimate(scene, sees_cloud=True)

    def forward(
        self,
        *,
        cloudy: Tensor,
        sar: Tensor,
        mask: Tensor,
        surface: Tensor,
        coefficients: Tensor,
        veil: Tensor,
    ) -> Output:
        """Cloudy (batch, band, y, x) with the pixels under mask (batch, 1, y, x) estimated; the rest is `prepare`'s."""
        sky, guess = Veil.unpacked(veil), estimate(sar, surface, coefficients)
        return Output(unveil(cloudy, guess, hidden=mask > 0.5, veil=sky).ground)
