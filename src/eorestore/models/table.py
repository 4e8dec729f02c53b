"""Every network and baseline by name: the only table of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from eorestore.errors import UnknownNameError
from eorestore.models.afsst import AFSST
from eorestore.models.band_sharpening import BandSharpening, BicubicBands, HighPassInjection
from eorestore.models.baselines import (
    BandMean,
    Identity,
    Inpaint,
    SarRegression,
    SceneEstimate,
    SmoothedSarRegression,
)
from eorestore.models.bicubic import Bicubic
from eorestore.models.clearview import Clearview
from eorestore.models.dsen2_cr import DSen2CR
from eorestore.models.expert_fusion import ExpertFusion
from eorestore.models.glf_cr import GLFCR
from eorestore.models.light_sr import LightSR
from eorestore.models.model import Model
from eorestore.models.sar_autoencoder import SarAutoencoder
from eorestore.models.sar_opt_cgan import SarOptCGan
from eorestore.models.settings import settings_from_dict
from eorestore.models.spa_gan import SpaGan
from eorestore.models.uncrtaints import UnCRtainTS
from eorestore.models.zero_shot_sr import ZeroShotSR
from eorestore.models.zssr import ZssrNetwork

MODELS: Mapping[str, type[Model]] = {
    "afsst": AFSST,
    "band-sharpening": BandSharpening,
    "clearview": Clearview,
    "dsen2-cr": DSen2CR,
    "expert-fusion": ExpertFusion,
    "glf-cr": GLFCR,
    "light-sr": LightSR,
    "sar-autoencoder": SarAutoencoder,
    "sar-opt-cgan": SarOptCGan,
    "spa-gan": SpaGan,
    "uncrtaints": UnCRtainTS,
    "zero-shot-sr": ZeroShotSR,
    "zssr": ZssrNetwork,
    "identity": Identity,
    "band-mean": BandMean,
    "inpaint": Inpaint,
    "sar-regression": SarRegression,
    "smoothed-sar-regression": SmoothedSarRegression,
    "scene-estimate": SceneEstimate,
    "bicubic": Bicubic,
    "bicubic-20m": BicubicBands,
    "high-pass-injection": HighPassInjection,
}


def build_model(name: str, settings: Mapping[str, Any], *, seed: int = 0) -> Model:
    """The model called `name`, with settings as plain values and weights drawn from `seed`.

    The global random state is left as it was. Raises UnknownNameError and ConfigError.
    """
    if name not in MODELS:
        raise UnknownNameError("network", name, MODELS)
    model_type = MODELS[name]
    values = settings_from_dict(model_type.settings_type, settings, model=name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_type(values)


def model_name(model: Model) -> str:
    """The name under which the class of `model` stands in the table. Raises UnknownNameError."""
    for name, model_type in MODELS.items():
        if type(model) is model_type:
            return name
    raise UnknownNameError("network", type(model).__name__, MODELS)
