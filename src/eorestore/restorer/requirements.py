"""Which inputs and bands a model needs of a scene, and what it does without; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eorestore.errors import BandError, UsageError
from eorestore.models.catalogue import shipped_without
from eorestore.processing import Processor
from eorestore.processing.normalize import BandScaling
from eorestore.raster import BandSet


def lenient(processor: Processor, optional: Sequence[str]) -> Processor:
    """The processor with NaN for missing bands of the inputs that its model can do without."""
    inputs = {key: _lenient(scaling) if key in optional else scaling for key, scaling in processor.inputs.items()}
    return replace(processor, inputs=inputs)


def check_inputs(
    model: str,
    processor: Processor,
    *,
    inputs: Mapping[str, BandSet],
    names: Mapping[str, str],
    wanted: Sequence[str],
    optional: Sequence[str],
    primary: str = "cloudy",
) -> None:
    """Whether the inputs of a scene can serve a model.

    Args:
        model: its name, for messages.
        processor: of the model.
        inputs: bands of the scene by keyword.
        names: of the files by keyword, for messages.
        wanted: keywords that the model takes.
        optional: those that may be missing, wholly or by band.
        primary: the keyword of the scene that is restored.

    Raises:
        UsageError: an input is missing.
        BandError: a band is missing, or none that the model takes is there.
        UnitError: a band comes in a unit that cannot be converted.
    """
    for key in wanted:
        if key not in inputs and key in optional:
            continue
        if key not in inputs:
            raise UsageError(f"{model} needs a {key} scene", fix=f"give it with --{key}{_others(key)}")
        scaling, bands = processor.inputs[key], inputs[key]
        needed = scaling.required if key not in optional else ()
        absent = any(name not in bands for name in needed)
        if key == "sar" and (absent or not any(name in bands for name in scaling.names)):
            verb = "takes" if key in optional else "needs"
            other = f"--sar-bands{_others(key)}" if key != primary else "--bands, or choose a model of other bands"
            raise BandError(
                f"{model} {verb} {', '.join(scaling.names)}; {names[key]} has {', '.join(bands.names)}",
                fix=f"give a file with these bands, name them with {other}",
            )
        lenient(processor, optional).check(key, bands, source=names[key])


def used_bands(processor: Processor, inputs: Mapping[str, BandSet], key: str, *, wanted: Sequence[str]) -> list[str]:
    """Bands of the input `key` that reach the model."""
    if key not in wanted or key not in inputs:
        return []
    return [name for name in processor.inputs[key].names if name in inputs[key]]


def _others(key: str) -> str:
    names = shipped_without(key)
    return f", or choose a model that does without: -m {' or '.join(names)}" if names else ""


def _lenient(scaling: BandScaling) -> BandScaling:
    return BandScaling(tuple(replace(band, fill=float("nan")) if band.fill is None else band for band in scaling.bands))
