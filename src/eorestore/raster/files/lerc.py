"""A GeoTIFF copied to a Cloud-Optimized one with LERC_ZSTD blocks; knows no codec of ours."""

from __future__ import annotations

from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from eorestore.errors import MissingError, WriteError


def copy_to_lerc_cog(source: Path, target: Path, *, max_error: float) -> None:
    """Copy under a temporary name and rename. max_error: in the unit of the values, 0 keeps every bit.

    Raises MissingError where GDAL cannot write LERC_ZSTD, WriteError where the file cannot be written.
    """
    partial = target.with_name(f".{target.name}.partial.tif")
    try:
        with rasterio.Env() as environment:
            if "COG" not in environment.drivers():
                raise _missing("its GDAL has no COG driver")
        rasterio.shutil.copy(
            source, partial, driver="COG", compress="LERC_ZSTD", max_z_error=f"{max_error:.10g}", overviews="AUTO",
            num_threads="2", bigtiff="if_safer",
        )  # fmt: skip
        with rasterio.open(partial) as written:
            if "LERC" not in str(written.profile.get("compress", "")).upper():
                raise _missing(f"the file was written with {written.profile.get('compress')}")
        partial.replace(target)
    except (RasterioError, CPLE_BaseError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "LERC" in text.upper() or "COMPRESS" in text.upper():
            raise _missing(text) from None
        raise WriteError(f"{target} cannot be written: {text}", fix="check the folder and the free space") from None
    except OSError as error:
        raise WriteError(f"{target} cannot be written: {error}", fix="check the folder and the free space") from None
    finally:
        partial.unlink(missing_ok=True)


def _missing(what: str) -> MissingError:
    return MissingError(
        f"this rasterio cannot write LERC_ZSTD: {what}",
        fix="use `eorestore decompress`, which writes a plain GeoTIFF, or install a rasterio wheel",
    )
