"""What every super-resolution has to beat: bicubic enlargement, without a weight that was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from eorestore.errors import ConfigError
from eorestore.layers.resampling import enlarge
from eorestore.models.model import Model, Output, Settings
from eorestore.processing.taps import REACH


@dataclass(frozen=True)
class BicubicSettings(Settings):
    """scale: enlargement along each axis."""

    scale: int = 4

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise ConfigError(f"bicubic: scale {self.scale} enlarges nothing", fix="choose 2, 3 or 4")


class Bicubic(Model):
    """Each band by itself through the kernel of Keys (1981) with a = -1/2, as MATLAB's imresize enlarges."""

    settings_type: ClassVar[type[Settings]] = BicubicSettings
    settings: BicubicSettings
    reach = REACH
    tiling = "crop"

    def __init__(self, settings: BicubicSettings) -> None:
        super().__init__(settings)
        self.scale = settings.scale

    def forward(self, *, low: Tensor) -> Output:
        """(batch, band, y, x) to (batch, band, scale * y, scale * x)."""
        return Output(enlarge(low, factor=self.scale))
