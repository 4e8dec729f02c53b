"""`eorestore doctor`: versions, devices, optional packages and weights of this installation."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

_CORE = ("torch", "torchvision", "numpy", "scipy", "rasterio", "safetensors", "accelerate", "pydantic")
_EXTRAS = {"xarray": "rioxarray", "track": "tensorboard", "wandb": "wandb", "masks": "ukis-csmask"}


def doctor(*, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Print what is installed, which devices torch sees, and which weights are there."""
    import torch

    from eorestore import __version__
    from eorestore.models.catalogue import ALIASES, shipped_names
    from eorestore.raster.files import gdal_version

    facts: dict[str, object] = {"eorestore": __version__}
    facts |= {name: _version(name) for name in _CORE}
    facts["gdal"] = gdal_version()
    facts["threads"] = torch.get_num_threads()
    facts["devices"] = ", ".join(["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))])
    facts |= {f"extra {extra}": _version(package) for extra, package in _EXTRAS.items()}
    facts["weights"] = ", ".join(shipped_names()) or "none"
    facts["aliases"] = ", ".join(f"{alias} -> {name}" for alias, name in ALIASES.items())
    if json:
        typer.echo(json_module.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        typer.echo(f"{name}: {value}")


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
