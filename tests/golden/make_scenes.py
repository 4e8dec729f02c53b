"""Makes the golden .eoz files of the present version, those that are not there yet; a published one is never made anew.

    python tests/golden/make_scenes.py

Beside every file NAME.eoz stands NAME.npy: what it decodes to, as float32; and NAME.symbols: the SHA-256 of its
symbols (tests/decoded_symbols.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from decoded_symbols import decoded  # noqa: E402
from eorestore.codec import fallback  # noqa: E402
from eorestore.codec.modes import Wish  # noqa: E402
from eorestore.codec.scene import compress_scene  # noqa: E402
from eorestore.codec.source import RasterSource  # noqa: E402
from small_sar import sar_raster  # noqa: E402

WISHES = {
    "v1-lossless": Wish(lossless=True),
    "v1-max-error": Wish(max_error=0.5),
    "v1-fidelity": Wish(quality=5.0),
}


def scene():
    """Two bands with a hole, a gap in one band, and values outside of the windows."""
    raster = sar_raster((80, 72), hole=True, seed=5)
    values = raster.values.copy()
    values[0, 60:63, 60:70], values[1, 70, 10] = 21.0, -49.0
    return replace(raster, values=values)


def main() -> None:
    """Write what is missing."""
    fallback.MOST_VALUES = 0
    for name, wish in WISHES.items():
        path = HERE / f"{name}.eoz"
        fresh = not path.exists()
        if fresh:
            compress_scene(RasterSource(scene(), {"DATETIME": "2021-05-10"}), path, wish, tile=256)
        symbols, values = decoded(path)
        if fresh:
            np.save(path.with_suffix(".npy"), values)
        if fresh or not path.with_suffix(".symbols").exists():
            path.with_suffix(".symbols").write_text(f"{symbols}\n")


if __name__ == "__main__":
    main()
