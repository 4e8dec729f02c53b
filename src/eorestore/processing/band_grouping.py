"""Which bands of a scene go through a network of few bands together; knows no pixel and no network.

The rule: the network's own bands go together where the scene has them all. The remaining bands follow in order of
wavelength, the longest first, as red, green and blue are; bands whose wavelength nobody knows come last, in the order
of the file. They are taken as many at a time as the network has bands. A last group that is short is filled up with the
nearest bands that have been in a group already; what comes out for those is not taken. A scene with too few bands for
one group repeats its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eorestore.raster import RGB, Band, BandSet
from eorestore.raster.bands import known_band

_SAME = 0.02  # micrometres between what two sensors call by one name
_WAVELENGTHS = {
    "coastal": 0.443, "blue": 0.49, "green": 0.56, "yellow": 0.605, "red": 0.665, "rededge": 0.705, "nir": 0.842,
    "cirrus": 1.375, "swir1": 1.61, "swir2": 2.19, "thermal": 10.9,
}  # fmt: skip


@dataclass(frozen=True)
class Grouping:
    """groups: places in the scene of the bands of each group. taken: (group, place in it) of every band in order."""

    groups: tuple[tuple[int, ...], ...]
    taken: tuple[tuple[int, int], ...]

    def names(self, bands: BandSet) -> list[list[str]]:
        """The groups by the names of their bands, for a sidecar."""
        return [[bands.names[place] for place in group] for group in self.groups]


def group_bands(bands: BandSet, *, like: Sequence[str]) -> Grouping:
    """The groups in which a scene of `bands` goes through a network whose bands are called `like`."""
    waves = [wavelength(band) for band in bands]
    first = _counterparts(bands, waves, like)
    left = sorted(set(range(len(bands))) - set(first), key=lambda place: _rank(place, waves))
    groups = [first] if first else []
    groups += [tuple(left[start : start + len(like)]) for start in range(0, len(left), len(like))]
    used = [place for group in groups[:-1] for place in group]
    groups[-1] = _filled(groups[-1], used, waves, count=len(like))
    taken: dict[int, tuple[int, int]] = {}
    for number, group in enumerate(groups):
        for place in group:
            taken.setdefault(place, (number, group.index(place)))
    return Grouping(tuple(groups), tuple(taken[place] for place in range(len(bands))))


def wavelength(band: Band) -> float | None:
    """Centre in micrometres: as the band states it, else as its name is commonly meant; None where neither says."""
    if band.wavelength is not None:
        return band.wavelength
    known = known_band(band.name)
    return known.wavelength if known is not None else _WAVELENGTHS.get(band.name.lower())


def _counterparts(bands: BandSet, waves: Sequence[float | None], like: Sequence[str]) -> tuple[int, ...]:
    """Places of the bands that are the network's own, by name or by wavelength; none unless all are there."""
    found = []
    for name in like:
        if name in bands:
            found.append(bands.index(name))
            continue
        wanted = RGB[name].wavelength if name in RGB else None
        near = [
            (abs(wave - wanted), place)
            for place, wave in enumerate(waves)
            if wave is not None and wanted is not None and abs(wave - wanted) <= _SAME
        ]
        if not near:
            return ()
        found.append(min(near)[1])
    return tuple(found) if len(set(found)) == len(found) else ()


def _filled(own: tuple[int, ...], used: list[int], waves: Sequence[float | None], *, count: int) -> tuple[int, ...]:
    """A short group with the nearest of the bands that were used, all in the order of the rule."""
    missing = count - len(own)
    if missing <= 0:
        return own
    if not used:
        return own + own[-1:] * missing

    def distance(place: int) -> tuple[float, int]:
        pairs = [(waves[place], waves[mine]) for mine in own]
        apart = [abs(one - other) for one, other in pairs if one is not None and other is not None]
        return (min(apart) if apart else float("inf"), min(abs(place - mine) for mine in own))

    chosen = [*sorted(used, key=distance)[:missing], *own]
    return tuple(sorted(chosen, key=lambda place: _rank(place, waves)))


def _rank(place: int, waves: Sequence[float | None]) -> tuple[bool, float, int]:
    """The longest wavelength first, then what is unknown in the order of the file."""
    return waves[place] is None, -(waves[place] or 0.0), place
