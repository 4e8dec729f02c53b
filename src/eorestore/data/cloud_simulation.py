"""Clouds, cirrus and shadows over a clear Sentinel-2 scene; knows no file and no unit but reflectance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eorestore.data.cloud_shapes import Canvas, Field, Shape, draw_blobs, draw_mask, draw_sheet, fractal_noise
from eorestore.data.sky_variety import stray_sky
from eorestore.errors import BandError, ConfigError, MaskError, UnitError
from eorestore.raster import SENTINEL2_L1C, Band, Grid, Raster, Unit
from eorestore.raster.sky import PATH, THICK_CLOUD, shadow_depth

CLOUD_THRESHOLD = 0.05
SHADOW_THRESHOLD = 0.05
OVERCAST = 0.95  # from this cover on the sky is one sheet, whatever the kind

Range = tuple[float, float]

# Ours, not measured: ice lies above the vapour (B10, B09 bright) and absorbs in the short-wave infrared.
_ICE_B09, _ICE_B10 = 0.30, 0.14
_ICE_FACTORS = {"B11": 0.60, "B12": 0.55}

# Spread of a cloud's colour, relative to its brightness: standard deviation around the mean spectrum of the brightest
# 9 % of SSL4EO-S12, 2020-08-23. About half of it changes within 3 pixels. Without it twelve bands of one spectrum
# would let a model look through any cloud that is not wholly opaque, which no real cloud allows.
_COLOUR = {
    "B01": 0.10, "B02": 0.048, "B03": 0.034, "B04": 0.034, "B05": 0.033, "B06": 0.012, "B07": 0.027, "B08": 0.031,
    "B8A": 0.034, "B09": 0.29, "B10": 0.14, "B11": 0.052, "B12": 0.072,
}  # fmt: skip
_COLOUR_MODES = 3

_DARKEST = 0.01  # share of the pixels that may be darker than the path of a scene

_ABSORBED = ("B09", "B10")  # in water vapour: no neighbour of a band of another sensor, unless as near as a few nm
_NEAR, _NEARER = 0.4, 0.01  # micrometres


@dataclass(frozen=True)
class CloudSettings:
    """What the sky looks like. Pairs are ranges from which one value is drawn, a scene or a cloud at a time.

    cover: share of the scene's pixels that are cloud (thickness above `CLOUD_THRESHOLD`), 0 to 1.
    kind: `blobs` (cumulus with organic outlines), `fractal` (one broken sheet), `masks` (real ones pasted).
    size_px: diameters of blobs in pixels.
    thin_share: share of low clouds that let the ground through.
    cirrus_probability: chance that a high ice cloud makes up a part of the cover; it casts no shadow here.
    haze: greatest thickness of a veil over the whole scene, below `CLOUD_THRESHOLD` and not counted as cloud.
    thick, thin: opacity of the two sorts of cloud.
    edge_px: width of the soft edge of a thick cloud; thin clouds have four times as much.
    texture: standard deviation of the brightness inside clouds, relative.
    colour: how much the spectrum varies inside clouds; 1 is as measured, 0 gives every pixel one spectrum.
    variety: how far spectra, their variation and the colour of shadows stray from the measured ones, a scene at a time,
        0 to 1: what a network learns of one kind of sky fails under another.
    sun_zenith_deg, sun_azimuth_deg (clockwise from north): drawn once a scene. height_m: drawn once a cloud.
    shadow: share of the light that an opaque cloud takes from the ground; 0 switches shadows off.
    shade: the same of a cloud that stands outside and throws its shadow on all of the scene.
    """

    cover: float = 0.4
    kind: Literal["blobs", "fractal", "masks"] = "blobs"
    size_px: Range = (20.0, 150.0)
    thin_share: float = 0.2
    cirrus_probability: float = 0.15
    haze: float = 0.0
    thick: Range = (0.92, 1.0)
    thin: Range = (0.15, 0.6)
    edge_px: Range = (3.0, 10.0)
    texture: float = 0.07
    colour: float = 1.0
    variety: float = 0.0
    sun_zenith_deg: Range = (25.0, 55.0)
    sun_azimuth_deg: Range = (120.0, 180.0)
    height_m: Range = (300.0, 2000.0)
    shadow: Range = (0.4, 0.75)
    shade: Range = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("cover", "thin_share", "cirrus_probability", "variety"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", fix=f"give {name} as a share from 0 to 1")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise ConfigError(f"{field.name} is {value}", fix="give the smaller value first")
        for name in ("shadow", "shade"):
            if not 0 <= getattr(self, name)[0] <= getattr(self, name)[1] <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", fix="give shares of the light from 0 to 1")
        if not 0 <= self.haze < CLOUD_THRESHOLD:
            raise ConfigError(f"haze is {self.haze}", fix=f"give a thickness from 0 to below {CLOUD_THRESHOLD}")
        if self.size_px[0] < 4:
            raise ConfigError(f"size_px is {self.size_px}", fix="make the smallest cloud at least 4 pixels wide")
        if not (self.sun_zenith_deg[0] >= 0 and self.sun_zenith_deg[1] <= 80):
            raise ConfigError(f"sun_zenith_deg is {self.sun_zenith_deg}", fix="keep the sun within 80 degrees")
        if self.kind not in ("blobs", "fractal", "masks"):
            raise ConfigError(f"kind is {self.kind!r}", fix="use blobs, fractal or masks")


class SimulatedClouds(NamedTuple):
    """A scene under simulated clouds.

    image: (band, y, x) float32 reflectance.
    thickness: (y, x) float32 in [0, 1], opacity of all clouds together.
    cloud: (y, x) bool, thickness above `CLOUD_THRESHOLD`.
    shadow: (y, x) bool, the ground lost more than `SHADOW_THRESHOLD` of its light (in the infrared, where a
        shadow is deepest) and no cloud hides it.
    """

    image: NDArray[np.float32]
    thickness: Field
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]


def simulate_clouds(
    raster: Raster,
    settings: CloudSettings,
    *,
    generator: np.random.Generator,
    masks: Sequence[NDArray[np.bool_]] | None = None,
) -> SimulatedClouds:
    """Clouds over a clear raster, in reflectance; a band of another sensor is taken as the Sentinel-2 band next to it.

    cloudy = (1 - thickness) * (path + (ground - path) * light) + thickness * spectrum, with the measured spectrum
    of thick cloud (mean of two scenes, jittered a few percent); path is what the air scatters, from none to hazy. A
    shadow is its cloud's shape moved away from the sun by height * tan(zenith); clouds outside the scene cast theirs
    into it. The same generator state gives the same clouds. `masks` (bool (y, x), True is cloud) serve kind `masks`.
    Raises BandError, UnitError and MaskError.
    """
    names = tuple(_sentinel2_name(band) for band in raster.bands)
    _check(raster, settings, masks)
    zenith = math.radians(generator.uniform(*settings.sun_zenith_deg))
    azimuth = math.radians(generator.uniform(*settings.sun_azimuth_deg))
    water, ice = _spectra(names, generator=generator)
    reach = shadow_offset(raster.grid, settings.height_m[1], zenith_rad=zenith, azimuth_rad=azimuth)
    size = raster.grid.size
    canvas = Canvas(size, max(reach[0], 0), max(reach[1], 0), max(-reach[0], 0), max(-reach[1], 0))
    high = _cirrus(canvas, settings, generator=generator)
    low, light = np.zeros(size, np.float32), np.ones(size, np.float32)
    for shape, threshold in _low_clouds(canvas, settings, high, reach, masks=masks, generator=generator):
        thin = generator.random() < settings.thin_share
        opacity = generator.uniform(*(settings.thin if thin else settings.thick))
        edge = generator.uniform(*settings.edge_px) * (4 if thin else 1)
        cloud = Shape(shape.row, shape.column, _opacity(shape.field - threshold, opacity, edge))
        height, strength = generator.uniform(*settings.height_m), generator.uniform(*settings.shadow)
        shift = shadow_offset(raster.grid, height, zenith_rad=zenith, azimuth_rad=azimuth)
        touch = cloud.overlap(size, (0, 0))
        if touch is not None:
            np.maximum(low[touch[0]], cloud.field[touch[1]], out=low[touch[0]])
        touch = cloud.overlap(size, shift)
        if touch is not None and strength > 0:
            # Shadows of two clouds are not darker than one: what is left is skylight.
            np.minimum(light[touch[0]], 1 - np.float32(strength) * cloud.field[touch[1]], out=light[touch[0]])
    veil = _haze(size, settings, generator=generator)
    low = 1 - (1 - low) * (1 - veil)
    brightness = _brightness(size, settings, (zenith, azimuth), generator=generator)
    colour = _colour(size, settings, names, generator=generator)
    haze = np.array([PATH[name] for name in names], np.float32) * np.float32(generator.uniform())
    if settings.shade[1] > 0:
        light = np.minimum(light, np.float32(1 - generator.uniform(*settings.shade)))
    depth = np.array([shadow_depth(band.wavelength or 1.0) for band in raster.bands], np.float32)
    if settings.variety > 0:
        stray = stray_sky(names, settings.variety, generator=generator)
        water, ice, colour = water * stray.gain, ice * stray.gain, 1 + stray.spread * (colour - 1)
        depth += stray.evenness * (1 - depth)
    image = _compose(raster, light, ((low, water), (high, ice)), brightness * colour, path=haze, depth=depth)
    thickness = 1 - (1 - low) * (1 - high)
    cloudy = thickness > CLOUD_THRESHOLD
    return SimulatedClouds(image, thickness, cloudy, (1 - light > SHADOW_THRESHOLD) & ~cloudy)


def shadow_offset(grid: Grid, height_m: float, *, zenith_rad: float, azimuth_rad: float) -> tuple[int, int]:
    """(rows, columns) from a cloud to its shadow on flat ground, rounded to pixels.

    The shadow lies height * tan(zenith) away from the sun, whose azimuth counts clockwise from north. Degrees
    of a geographic CRS are taken as 111 320 m, times the cosine of the latitude along a parallel.
    """
    distance = height_m * math.tan(zenith_rad)
    east, north = -distance * math.sin(azimuth_rad), -distance * math.cos(azimuth_rad)
    centre = grid.position(grid.height / 2, grid.width / 2)
    if grid.crs.upper().startswith(("GEOGC", "GEODC", "EPSG:4326", "OGC:CRS84")):
        east /= 111_320.0 * max(math.cos(math.radians(centre[1])), 0.01)
        north /= 111_320.0
    row, column = grid.pixel(centre[0] + east, centre[1] + north)
    return round(row - grid.height / 2), round(column - grid.width / 2)


def _check(raster: Raster, settings: CloudSettings, masks: Sequence[NDArray[np.bool_]] | None) -> None:
    if any(band.unit is not Unit.REFLECTANCE for band in raster.bands):
        raise UnitError("clouds are simulated in reflectance", fix="convert the scene to reflectance first")
    if settings.kind == "masks" and not masks:
        raise MaskError("kind is masks, and none is given", fix="give masks, or choose blobs or fractal")


def _sentinel2_name(band: Band) -> str:
    """The Sentinel-2 band of that name, or the next in wavelength. Raises BandError where none is near."""
    if band.name in THICK_CLOUD:
        return band.name
    if band.wavelength is not None:
        near = {
            one.name: abs(one.wavelength - band.wavelength)
            for one in SENTINEL2_L1C
            if one.wavelength is not None
            and abs(one.wavelength - band.wavelength) < (_NEARER if one.name in _ABSORBED else _NEAR)
        }
        if near:
            return min(near, key=near.__getitem__)
    raise BandError(
        f"no cloud spectrum for band {band.name}",
        fix=f"choose from {', '.join(THICK_CLOUD)}, or state a wavelength from 0.4 to 2.4 micrometres",
    )


def _spectra(names: tuple[str, ...], *, generator: np.random.Generator) -> tuple[Field, Field]:
    """Spectra (band, 1, 1) of water and ice cloud; draws do not depend on which bands are present."""
    common = 1 + 0.04 * generator.uniform(-1, 1)
    jitter = dict(zip(THICK_CLOUD, 1 + 0.03 * generator.uniform(-1, 1, len(THICK_CLOUD)), strict=True))
    water = {name: sum(rows) / 2 * common * jitter[name] for name, rows in THICK_CLOUD.items()}
    ice = {name: value * _ICE_FACTORS.get(name, 1.0) for name, value in water.items()}
    ice |= {"B09": _ICE_B09 * jitter["B09"], "B10": _ICE_B10 * jitter["B10"]}
    return tuple(  # type: ignore[return-value]
        np.array([spectrum[name] for name in names], np.float32)[:, None, None] for spectrum in (water, ice)
    )


def _cirrus(canvas: Canvas, settings: CloudSettings, *, generator: np.random.Generator) -> Field:
    if settings.cover == 0 or generator.random() >= settings.cirrus_probability:
        return np.zeros(canvas.size, np.float32)
    share = settings.cover * generator.uniform(0.2, 0.6)
    patch = Canvas(canvas.size, 0, 0, 0, 0)
    direction = generator.uniform(0, math.pi)
    sheet = draw_sheet(patch, generator=generator, longest=200.0, stretch=1.8, direction_rad=direction).field
    field = sheet - np.float32(np.quantile(sheet, 1 - share))
    return _opacity(field, generator.uniform(0.2, 0.5), 40.0)


def _low_clouds(
    canvas: Canvas,
    settings: CloudSettings,
    high: Field,
    reach: tuple[int, int],
    *,
    masks: Sequence[NDArray[np.bool_]] | None,
    generator: np.random.Generator,
) -> list[tuple[Shape, np.float32]]:
    """Shapes and the threshold at which, together with the cirrus, they reach the cover."""
    taken = high > CLOUD_THRESHOLD
    if settings.cover == 0 or taken.mean() >= settings.cover:
        return []
    if settings.kind == "fractal" or settings.cover >= OVERCAST:
        shapes = [draw_sheet(canvas, generator=generator)]
    elif settings.kind == "masks":
        shapes = [draw_mask(canvas, cover=settings.cover, masks=masks or (), generator=generator)]
    else:
        shapes = draw_blobs(
            canvas,
            cover=settings.cover,
            diameters=settings.size_px,
            taken=taken,
            shadow_reach=reach,
            generator=generator,
        )
    highest = np.full(canvas.size, -1e6, np.float32)
    for shape in shapes:
        touch = shape.overlap(canvas.size, (0, 0))
        if touch is not None:
            np.maximum(highest[touch[0]], shape.field[touch[1]], out=highest[touch[0]])
    share = (settings.cover - taken.mean()) / max(1 - taken.mean(), 1e-9)
    threshold = np.float32(np.quantile(highest[~taken], 1 - share))
    return [(shape, threshold) for shape in shapes]


def _opacity(field: Field, opacity: float, edge: float) -> Field:
    """A smooth step from 0 to `opacity` over `edge` pixels; `CLOUD_THRESHOLD` where `field` is 0."""
    share = min(CLOUD_THRESHOLD / opacity, 1.0)
    start = 0.5 - math.sin(math.asin(1 - 2 * share) / 3)  # inverse of 3 x^2 - 2 x^3
    step = np.clip(field * np.float32(1 / edge) + np.float32(start), 0, 1)
    smooth: Field = np.float32(opacity) * step * step * (3 - 2 * step)
    return smooth


def _haze(size: tuple[int, int], settings: CloudSettings, *, generator: np.random.Generator) -> Field:
    if settings.haze == 0:
        return np.zeros(size, np.float32)
    noise = fractal_noise(size, generator=generator, longest=200.0, slope=2.5)
    veil: Field = np.float32(settings.haze) * np.clip(0.6 + 0.2 * noise, 0, 1)
    return veil


def _brightness(size: tuple[int, int], settings: CloudSettings, sun: Range, *, generator: np.random.Generator) -> Field:
    """Relative brightness (y, x) of the cloud tops, mean about 1: relief lit from the sun's side."""
    noise = fractal_noise(size, generator=generator, longest=60.0, slope=2.0)
    down, across = np.gradient(noise)
    lit = -math.cos(sun[1]) * down + math.sin(sun[1]) * across
    relief = -lit / max(float(lit.std()), 1e-12) * math.sin(sun[0])
    return np.clip(1 + np.float32(settings.texture) * (0.8 * noise + 0.6 * relief), 0.6, 1.25).astype(np.float32)


def _colour(
    size: tuple[int, int], settings: CloudSettings, names: tuple[str, ...], *, generator: np.random.Generator
) -> Field:
    """Factor (band, y, x) on the spectrum of each pixel, mean about 1: modes that bands share, and each band's own."""
    if settings.colour == 0:
        return np.ones((len(names), 1, 1), np.float32)
    modes = [fractal_noise(size, generator=generator, longest=60.0, slope=1.5) for _ in range(_COLOUR_MODES)]
    mixing = generator.standard_normal((len(_COLOUR), _COLOUR_MODES)).astype(np.float32)
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    factors = np.ones((len(names), *size), np.float32)
    for mix, (name, spread) in zip(mixing, _COLOUR.items(), strict=True):
        own = fractal_noise(size, generator=generator, longest=20.0, slope=1.2)
        rows = [row for row, other in enumerate(names) if other == name]
        if rows:
            deviation = 0.8 * np.tensordot(mix, np.stack(modes), axes=1) + 0.6 * own
            factors[rows] += np.float32(settings.colour * spread) * np.clip(deviation, -3, 3)
    return factors


def _compose(
    raster: Raster,
    light: Field,
    layers: tuple[tuple[Field, Field], ...],
    brightness: Field,
    *,
    path: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> NDArray[np.float32]:
    """path: (band,), reflectance that shadows leave; at most that of the scene's darkest pixels. depth: (band,)."""
    image = raster.values.copy()
    for row in range(len(raster.bands)):
        darkest = float(np.quantile(image[row][raster.valid], _DARKEST)) if raster.valid.any() else 0.0
        kept = np.float32(min(float(path[row]), max(darkest, 0.0)))
        image[row] -= np.maximum(image[row] - kept, 0) * depth[row] * (1 - light)
        for thickness, spectrum in layers:
            image[row] *= 1 - thickness
            image[row] += thickness * spectrum[row] * brightness[row]
    return image
