"""Processor + Model + tiling: scene in, raster out. Importing it is light; torch comes with the first restoration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eorestore.restorer.enlarged_raster import Enlarged, enlarge_raster
    from eorestore.restorer.memory import Restored, restore_raster
    from eorestore.restorer.restore import Restorer, load_restorer

__all__ = ["Enlarged", "Restored", "Restorer", "enlarge_raster", "load_restorer", "restore_raster"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module's own attributes
    if name in ("Enlarged", "enlarge_raster"):
        from eorestore.restorer import enlarged_raster

        return getattr(enlarged_raster, name)
    if name in __all__:
        from eorestore.restorer import memory

        return getattr(memory, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
