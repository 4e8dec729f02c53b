"""The codec for Zarr v2 stores and kerchunk, through numcodecs; light to import. A chunk carries its type and shape."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ndarray_copy
from numcodecs.registry import register_codec
from numpy.typing import NDArray

from eorestore.codec.chunk_settings import ChunkSettings
from eorestore.errors import CodecError, DataError

_MOST_AXES = 8
_MOST_VALUES = 1 << 27


class SarCodec(Codec):  # type: ignore[misc]  # numcodecs has no types
    """Chunks of radar to bytes; y and x are the last axes. See `ChunkSettings`.

    nodata: the array's fill value, which the codec is not told otherwise; NaN marks gaps anyhow.
    """

    codec_id: ClassVar[str] = "eorestore.sar"

    def __init__(self, settings: ChunkSettings, *, nodata: float | None = None) -> None:
        self.settings, self.nodata = settings, nodata

    def encode(self, buf: Any) -> bytes:  # noqa: ANN401 - whatever holds an array
        """A chunk as bytes. Raises UsageError and DataError."""
        from eorestore.codec.chunk import encode_chunk
        from eorestore.codec.fields import put_varint
        from eorestore.codec.header import DTYPES

        array = np.asarray(buf)
        payload = encode_chunk(array, self.settings, nodata=self.nodata)
        front = bytes([DTYPES.index(array.dtype.name), array.ndim])
        return front + b"".join(put_varint(side) for side in array.shape) + payload

    def decode(self, buf: Any, out: Any = None) -> NDArray[Any]:  # noqa: ANN401
        """The chunk, in `out` where it is given. Raises CodecError for damaged bytes."""
        from eorestore.codec.chunk import decode_chunk
        from eorestore.codec.fields import Fields
        from eorestore.codec.header import DTYPES

        fields = Fields(bytes(buf))
        number, axes = fields.byte(), fields.byte()
        if number >= len(DTYPES) or axes > _MOST_AXES:
            raise CodecError("the chunk begins with no type that is known", fix="take another copy of the store")
        shape = tuple(fields.varint(below=_MOST_VALUES) for _ in range(axes))
        if np.prod(shape, dtype=np.float64) > _MOST_VALUES:
            raise CodecError(f"the chunk announces shape {shape}", fix="take another copy of the store")
        array = decode_chunk(fields.rest(), self.settings, shape=shape, dtype=DTYPES[number], nodata=self.nodata)
        if out is None:
            return array
        copied: NDArray[Any] = ndarray_copy(array, out)
        return copied

    def get_config(self) -> dict[str, Any]:
        """What goes into an array's metadata."""
        return {"id": self.codec_id, "nodata": self.nodata, **self.settings.to_json()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SarCodec:
        """The codec that an array's metadata describes. Raises UsageError, CodecError and DataError."""
        settings = {key: value for key, value in config.items() if key not in {"id", "nodata"}}
        nodata = config.get("nodata")
        if nodata is not None and not isinstance(nodata, int | float):
            raise DataError(f"nodata {nodata!r} is no number", fix="mend the array's metadata")
        return cls(ChunkSettings.from_json(settings), nodata=nodata)


register_codec(SarCodec)
