"""The index of SEN12MS-CR: official splits by region, file names, triplets; opens no raster."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eorestore.errors import DataError, UnknownNameError

log = logging.getLogger(__name__)

Region = tuple[str, int]  # season ("ROIs1158_spring") and number of the region of interest

_TRAIN = {
    "ROIs1158_spring": "1 6 8 9 15 21 26 39 40 45 58 63 66 75 77 97 100 101 109 110 113 115 117 119 120 121 124"
    " 126 128 132 134 141 142 145 147",
    "ROIs1868_summer": "4 7 11 15 25 27 31 36 40 42 43 47 55 56 72 76 86 87 89 90 93 95 100 101 102 113 114 115"
    " 120 121 123 124 125 126 132 133 135 137 139 140 143 146 147",
    "ROIs1970_fall": "1 3 4 6 11 14 19 22 26 27 28 30 31 33 35 37 39 40 41 42 57 64 71 77 81 82 83 85 88 91 93"
    " 100 104 105 107 109 110 112 114 116 119 120 122 125 128 131 133 134 135 136 141 142 144 147 148 149",
    "ROIs2017_winter": "8 21 25 42 47 49 55 59 61 62 64 68 75 81 94 102 104 112 116 135 146",
}
_VALIDATION = {
    "ROIs1158_spring": "17",
    "ROIs1868_summer": "17 19 80 127",
    "ROIs1970_fall": "65",
    "ROIs2017_winter": "22 84 107 130",
}

TEST_PATCHES: Mapping[Region, int] = {
    ("ROIs1158_spring", 31): 784, ("ROIs1158_spring", 44): 784, ("ROIs1158_spring", 106): 784,
    ("ROIs1158_spring", 123): 781, ("ROIs1158_spring", 140): 850, ("ROIs1868_summer", 73): 783,
    ("ROIs1868_summer", 119): 782, ("ROIs1970_fall", 139): 784, ("ROIs2017_winter", 63): 784,
    ("ROIs2017_winter", 108): 783,
}  # fmt: skip
"""Published number of patches a test region; 7 899 in all."""


def _regions(table: Mapping[str, str]) -> frozenset[Region]:
    return frozenset((season, int(number)) for season, numbers in table.items() for number in numbers.split())


SPLITS: Mapping[str, frozenset[Region]] = {
    "train": _regions(_TRAIN),
    "validation": _regions(_VALIDATION),
    "test": frozenset(TEST_PATCHES),
}
"""Official splits (Ebel et al. 2021). Summer 100 is a test region of SEN12MS-CR-TS: leave it out of training
when the two sets are combined."""

_NAME = re.compile(r"(ROIs\d{4}_(?:spring|summer|fall|winter))_(s1|s2|s2_cloudy)_(\d+)_p(\d+)\.tif")


@dataclass(frozen=True, order=True)
class PatchName:
    """What a file name says: season, region, kind (`s1`, `s2`, `s2_cloudy`) and number of the patch."""

    season: str
    region: int
    kind: str
    patch: int

    @classmethod
    def parse(cls, name: str) -> PatchName:
        """`ROIs1158_spring_s1_1_p407.tif` taken apart. Raises DataError."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise DataError(
                f"{name} is not a SEN12MS-CR file name", fix="keep names as in ROIs1158_spring_s1_1_p407.tif"
            )
        season, kind, region, patch = match.groups()
        return cls(season, int(region), kind, int(patch))

    def path(self, root: Path) -> Path:
        """Where the file stands below `root`: season_kind/kind_region/name."""
        return root / f"{self.season}_{self.kind}" / f"{self.kind}_{self.region}" / self.filename

    @property
    def filename(self) -> str:
        """The inverse of `parse`."""
        return f"{self.season}_{self.kind}_{self.region}_p{self.patch}.tif"


@dataclass(frozen=True)
class Triplet:
    """One 256 x 256 sample at 10 m: SAR (VV, VH, dB), cloudy and cloud-free Sentinel-2 L1C (13 bands, no offset)."""

    season: str
    region: int
    patch: int
    sar: Path
    cloudy: Path
    clear: Path


def index(root: Path, split: str) -> tuple[Triplet, ...]:
    """All triplets of a split below `root`, sorted by season, region and patch.

    Regions are compared as pairs of season and number, never as pieces of a path: the widely used loader, which
    does the latter, lets train region 1 take in test region 106. Raises UnknownNameError for an unknown split,
    DataError where nothing is found or a triplet is not complete.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    root = Path(root)
    names: list[PatchName] = []
    for season, region in sorted(SPLITS[split]):
        folder = root / f"{season}_s2_cloudy" / f"s2_cloudy_{region}"
        for file in sorted(folder.glob("*.tif")):
            name = PatchName.parse(file.name)
            if (name.season, name.region, name.kind) != (season, region, "s2_cloudy"):
                raise DataError(f"{file} does not belong in {folder.name}", fix="unpack the archive again")
            names.append(name)
    if not names:
        raise DataError(
            f"no {split} patch of SEN12MS-CR below {root}",
            fix="give the folder that holds ROIs1158_spring_s2_cloudy and the others",
        )
    if split == "test":
        _compare_counts(names)
    return tuple(_triplet(root, name) for name in sorted(names))


def manifest_lines(root: Path) -> list[dict[str, str]]:
    """A manifest's cells, one dictionary a triplet, for every split that stands below `root`; see `manifest`.

    A place is a region; paths are relative to `root`. Raises DataError, also where there is no split at all.
    """
    root = Path(root)
    present = [
        split
        for split, regions in SPLITS.items()
        if any((root / f"{season}_s2_cloudy" / f"s2_cloudy_{region}").is_dir() for season, region in regions)
    ]
    lines = [_manifest_line(root, split, one) for split in present for one in index(root, split)]
    if not lines:
        raise DataError(
            f"no patch of SEN12MS-CR below {root}",
            fix="give the folder that holds ROIs1158_spring_s2_cloudy and the others",
        )
    return lines


def _manifest_line(root: Path, split: str, one: Triplet) -> dict[str, str]:
    place = f"{one.season}_{one.region}"
    paths = {"optical": one.cloudy, "sar": one.sar, "reference": one.clear}
    return {
        "id": f"{place}_p{one.patch}",
        "place": place,
        "split": split,
        **{column: path.relative_to(root).as_posix() for column, path in paths.items()},
        "s2_offset": "0",
        "sar_unit": "decibel",
    }


def _triplet(root: Path, cloudy: PatchName) -> Triplet:
    sar, clear = (PatchName(cloudy.season, cloudy.region, kind, cloudy.patch).path(root) for kind in ("s1", "s2"))
    for path in (sar, clear):
        if not path.is_file():
            raise DataError(f"{cloudy.filename} has no partner {path}", fix="unpack the archives of s1 and s2, too")
    return Triplet(cloudy.season, cloudy.region, cloudy.patch, sar, cloudy.path(root), clear)


def _compare_counts(names: list[PatchName]) -> None:
    found = Counter((name.season, name.region) for name in names)
    off = [
        f"{season} {region}: {found[season, region]} of {count}"
        for (season, region), count in TEST_PATCHES.items()
        if found[season, region] != count
    ]
    if off:
        log.warning("the test split is not the published one of 7899 patches: %s", "; ".join(off))
