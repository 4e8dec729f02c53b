"""A SEN12MS-CR folder in small: the public triplet under the official names of a few regions of each split."""

from __future__ import annotations

import shutil
from pathlib import Path

import rasterio
from rasterio.windows import Window

from eorestore.data.sen12ms_cr import PatchName

SOURCE = Path("cloud") / "sen12mscr" / "ROIs2017_winter_112_p797"
FILES = {"s1": "s1.tif", "s2": "s2_cloudfree.tif", "s2_cloudy": "s2_cloudy.tif"}
REGIONS = {
    "train": (("ROIs1158_spring", 1), ("ROIs2017_winter", 112)),
    "validation": (("ROIs2017_winter", 22),),
    "test": (("ROIs1158_spring", 106), ("ROIs2017_winter", 108)),
}
SIDE = 128  # pixels of a training or validation patch: the crop of the published presets


def build_tree(root: Path, real_data: Path) -> Path:
    """Every training and validation region gets two patches cut from the triplet, every test region the whole one."""
    for split, regions in REGIONS.items():
        for season, region in regions:
            for kind, file in FILES.items():
                source = real_data / SOURCE / file
                if split == "test":
                    target = _target(root, PatchName(season, region, kind, 797))
                    shutil.copyfile(source, target)
                    continue
                for patch, corner in ((30, 0), (31, 256 - SIDE)):
                    _cut(source, _target(root, PatchName(season, region, kind, patch)), corner + region % 7)
    return root


def _target(root: Path, name: PatchName) -> Path:
    path = name.path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _cut(source: Path, target: Path, corner: int) -> None:
    with rasterio.open(source) as file:
        corner = min(corner, file.width - SIDE)
        window = Window(corner, corner, SIDE, SIDE)
        a, b, c, d, e, f = tuple(file.transform)[:6]
        place = rasterio.Affine(a, b, c + corner * (a + b), d, e, f + corner * (d + e))
        profile = file.profile | {"width": SIDE, "height": SIDE, "transform": place}
        for key in ("tiled", "blockxsize", "blockysize"):
            profile.pop(key, None)
        with rasterio.open(target, "w", **profile) as out:
            out.write(file.read(window=window))
