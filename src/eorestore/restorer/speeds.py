"""How fast models have been on this machine, so that --dry-run can tell a time; imports no torch.

Every run that took a while leaves its speed in `$XDG_CACHE_HOME/eorestore/speeds.json`, by default below `~/.cache`:
seconds per megapixel of tiles, which overlap. A folder that cannot be written is no error, there is no time then.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

LEAST_SECONDS = 0.2  # of work, below which a speed is chance
_DIGITS = 5


@dataclass(frozen=True)
class Work:
    """Input pixels of the tiles that went through a model, and how long it took."""

    pixels: int = 0
    seconds: float = 0.0


def speed_key(
    model: str, sha256: str | None, *, bands: int, device: str, precision: str, tta: bool, share: float | None
) -> str:
    """What a speed belongs to: weights, or the name of a baseline, the scene's number of bands, and how they run."""
    ways = [f"{bands} bands", device, precision, *(["tta"] if tta else []), *([] if share is None else [f"{share:g}"])]
    return " ".join([sha256[:16] if sha256 else model, *ways])


def speeds_file() -> Path:
    """Where speeds are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "eorestore" / "speeds.json"


def recall(key: str) -> float | None:
    """Seconds per megapixel of tiles the last time; None where there was none, or the file is not readable."""
    found = _read().get(key)
    return float(found) if isinstance(found, int | float) and found > 0 else None


def remember(key: str, work: Work) -> None:
    """Keep the speed of a run that was long enough."""
    if work.seconds < LEAST_SECONDS or work.pixels == 0:
        return
    path = speeds_file()
    values = _read() | {key: round(1e6 * work.seconds / work.pixels, _DIGITS)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(values, file, indent=1)
        Path(file.name).replace(path)
    except OSError as error:
        _log.debug("the speed was not kept: %s", error)


def _read() -> dict[str, object]:
    try:
        values = json.loads(speeds_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
