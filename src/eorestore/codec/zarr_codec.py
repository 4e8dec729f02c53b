"""The codec as a Zarr v3 serializer: `xr.open_zarr` reads such arrays where eorestore is installed; light to import.

    codec = SarCodec(ChunkSettings.wanted(max_error=0.5, bands=("VV", "VH")))
    dataset.to_zarr(path, zarr_format=3, encoding={"sigma0": {
        "serializer": codec, "compressors": (), "chunks": (2, 512, 512), "shards": (2, 4096, 4096)}})

Every chunk has its own checksums: the checksum of a shard covers its index alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec
from zarr.registry import register_codec

from eorestore.codec.chunk_settings import ChunkSettings
from eorestore.errors import CodecError

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

NAME = "eorestore.sar"


@dataclass(frozen=True)
class SarCodec(ArrayBytesCodec):
    """Arrays of radar to bytes, chunk by chunk; y and x are the last axes. See `ChunkSettings`."""

    settings: ChunkSettings
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The codec that an array's metadata describes. Raises UsageError and CodecError."""
        return cls(ChunkSettings.from_json(data["configuration"]))

    def to_dict(self) -> dict[str, Any]:
        """What goes into an array's metadata."""
        return {"name": NAME, "configuration": self.settings.to_json()}

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """Raises CodecError: how long a chunk becomes is known when it has been coded."""
        raise CodecError(f"{input_byte_length} bytes have no fixed size when coded", fix="ask no codec of this kind")

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        from eorestore.codec.chunk import encode_chunk

        array, nodata = chunk_array.as_numpy_array(), _nodata(chunk_spec)
        payload = await asyncio.to_thread(encode_chunk, array, self.settings, nodata=nodata)
        return chunk_spec.prototype.buffer.from_bytes(payload)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        from eorestore.codec.chunk import decode_chunk

        dtype = chunk_spec.dtype.to_native_dtype().name
        array = await asyncio.to_thread(
            decode_chunk,
            chunk_data.to_bytes(),
            self.settings,
            shape=chunk_spec.shape,
            dtype=dtype,
            nodata=_nodata(chunk_spec),
        )
        return chunk_spec.prototype.nd_buffer.from_numpy_array(array)


def _nodata(chunk_spec: ArraySpec) -> float | None:
    """The fill value, with which chunks at the edge are padded; NaN marks gaps anyhow."""
    fill = chunk_spec.fill_value
    return None if fill is None or np.isnan(fill) else float(fill)


register_codec(NAME, SarCodec)
