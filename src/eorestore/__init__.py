"""Restore Earth-observation images: clouds out of Sentinel-2 with the help of Sentinel-1; SAR scenes in few bytes.

Functions come first; importing the package is light, each function brings what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from eorestore.api import compress, decompress, evaluate, load_config, load_model, restore, train, zero_shot
    from eorestore.raster import Raster

__all__ = [
    "Raster", "__version__", "compress", "decompress", "evaluate", "load_config", "load_model", "restore", "train",
    "zero_shot",
]  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the package's own functions
    if name == "Raster":
        from eorestore.raster import Raster

        return Raster
    if name in __all__:
        from eorestore import api

        return getattr(api, name)
    raise AttributeError(f"module 'eorestore' has no attribute {name!r}")
