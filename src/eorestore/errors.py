"""Every exception of the package: what was found, what to do, and the exit code it ends with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_MISSING = 3
EXIT_DATA = 4
EXIT_WRITE = 5
EXIT_INTERRUPTED = 130


class EorestoreError(Exception):
    """Base of all errors: one line that says what was found, one `fix` line that says what to do."""

    exit_code = EXIT_DATA

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class UsageError(EorestoreError):
    """The command or the call itself is off: unknown option value, contradictory options."""

    exit_code = EXIT_USAGE


class ConfigError(EorestoreError):
    """A preset or a settings dictionary has an unknown key or a value of the wrong kind."""

    exit_code = EXIT_USAGE


class UnknownNameError(UsageError):
    """A name is not in a table; carries the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"no {kind} is called {name!r}", fix=f"{hint}known: {', '.join(known)}")
        self.suggestion = near[0] if near else None


class MissingError(EorestoreError):
    """Weights or an optional package are not there."""

    exit_code = EXIT_MISSING

    @classmethod
    def package(cls, name: str, extra: str) -> MissingError:
        """An optional package that a feature needs is not installed."""
        return cls(f"{name} is not installed", fix=f"pip install 'eorestore[{extra}]'")


class DataError(EorestoreError):
    """A file cannot serve: truncated, without georeference, without a valid pixel, with NaN where none may be."""


class BandError(DataError):
    """A band that is needed is not in the file, or the bands cannot be told apart."""


class UnitError(DataError):
    """A unit is missing, unknown, or contradicted by the values."""


class GridError(DataError):
    """Two rasters do not lie on one grid, or do not overlap at all."""


class MaskError(DataError):
    """A mask has another size, unknown classes, or leaves nothing to work from."""


class CheckpointError(DataError):
    """A checkpoint folder is corrupt, of a foreign format, or its weights do not match their hash."""


class CodecError(DataError):
    """A compressed stream is damaged or cut short, or values and probability tables do not belong together."""


class TrainingError(EorestoreError):
    """Training cannot go on: a loss is not finite, or a resumed run does not match its state."""


class WriteError(EorestoreError):
    """The output cannot be written, or stands there already."""

    exit_code = EXIT_WRITE
