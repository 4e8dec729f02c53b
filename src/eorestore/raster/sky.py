"""What thick cloud, hazy air and shadow look like in the bands of Sentinel-2: constants that were measured."""

from __future__ import annotations

# Mean reflectance of the brightest 5 % of two real L1C scenes under thick low cloud (SEN12MS-CR; SSL4EO-S12,
# 2020-08-23). B09 and B10 lie in water vapour absorption and stay dark.
THICK_CLOUD: dict[str, tuple[float, float]] = {
    "B01": (0.498, 0.482), "B02": (0.524, 0.515), "B03": (0.521, 0.508), "B04": (0.560, 0.535),
    "B05": (0.549, 0.523), "B06": (0.610, 0.580), "B07": (0.666, 0.647), "B08": (0.607, 0.602),
    "B8A": (0.694, 0.673), "B09": (0.104, 0.113), "B10": (0.002, 0.001), "B11": (0.626, 0.549),
    "B12": (0.488, 0.400),
}  # fmt: skip

# What hazy air between ground and sensor scatters (reflectance): a shadow on the ground does not darken it. Set so that
# the ratio of shadow to light comes near that of SSL4EO-S12, 2020-08-23, whose shadows leave B01 as it is.
PATH: dict[str, float] = {
    "B01": 0.115, "B02": 0.080, "B03": 0.055, "B04": 0.040, "B05": 0.035, "B06": 0.040, "B07": 0.045, "B08": 0.040,
    "B8A": 0.045, "B09": 0.010, "B10": 0.0005, "B11": 0.010, "B12": 0.005,
}  # fmt: skip

_SKYLIGHT, _BLUE = 0.3, 0.443  # share of the light at _BLUE micrometres that comes from the sky


def shadow_depth(wavelength: float) -> float:
    """Share of the sun's light that a full shadow takes: skylight fills it, most in the blue, in a Rayleigh-like way.

    wavelength: in micrometres.
    """
    return 1 - _SKYLIGHT * (_BLUE / wavelength) ** 2
