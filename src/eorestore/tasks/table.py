"""The table of tasks."""

from __future__ import annotations

from collections.abc import Mapping

from eorestore.tasks.band_sharpening import BAND_SHARPENING
from eorestore.tasks.cloud_removal import CLOUD_REMOVAL
from eorestore.tasks.sar_compression import SAR_COMPRESSION
from eorestore.tasks.super_resolution import SUPER_RESOLUTION
from eorestore.tasks.task import Task
from eorestore.tasks.zero_shot import ZERO_SHOT

TASKS: Mapping[str, Task] = {
    "band-sharpening": BAND_SHARPENING,
    "cloud-removal": CLOUD_REMOVAL,
    "sar-compression": SAR_COMPRESSION,
    "super-resolution": SUPER_RESOLUTION,
    "zero-shot": ZERO_SHOT,
}
