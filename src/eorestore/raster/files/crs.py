"""CRS as EPSG code and back, where it has one; knows no file."""

from __future__ import annotations

from rasterio.crs import CRS
from rasterio.errors import CRSError

from eorestore.errors import GridError


def epsg_of(wkt: str) -> int | None:
    """EPSG code of the same CRS; None where no code says all of it."""
    try:
        crs = CRS.from_wkt(wkt)
        code = crs.to_epsg()
        return code if code is not None and CRS.from_epsg(code) == crs else None
    except CRSError:
        return None


def wkt_of(code: int) -> str:
    """WKT of an EPSG code. Raises GridError where PROJ does not know it."""
    try:
        return str(CRS.from_epsg(code).to_wkt())
    except CRSError as error:
        raise GridError(f"PROJ knows no EPSG:{code} ({error})", fix="install a newer PROJ (rasterio)") from None


def wkt_from(text: str) -> str:
    """WKT of a CRS given as a code, a PROJ string or WKT. Raises GridError where PROJ cannot read it."""
    try:
        return str(CRS.from_user_input(text).to_wkt())
    except CRSError as error:
        raise GridError(
            f"PROJ cannot read the CRS {text[:60]} ({error})", fix="put the scene on another grid"
        ) from None
