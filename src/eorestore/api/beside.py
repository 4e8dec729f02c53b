"""A restoration from files, and everything that stands beside its result; prints nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eorestore.data.pictures import SUFFIXES
from eorestore.errors import UsageError, WriteError
from eorestore.raster import Raster
from eorestore.restorer.output import Target
from eorestore.restorer.pictures import holds_pictures, restore_pictures
from eorestore.restorer.request import Request
from eorestore.restorer.run import Report, restore_file


def restore_with_pictures(
    request: Request,
    *,
    reference: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    adapting: Callable[[int, int], None] | None = None,
    limits: tuple[float, float] | None = None,
    command: Sequence[str] = (),
) -> Report:
    """`restore_file`, `restore_guided` or `restore_pictures`, then what stands beside the result, the sidecar last.

    limits: values that pictures of an enlarged scene begin and end their colours at; see `reports.scene_files`.
    """
    if holds_pictures(request):
        if reference is not None:
            raise UsageError(
                "pictures are not scored here", fix="leave out --reference; `eorestore evaluate` scores them"
            )
        report = restore_pictures(request, progress=progress)
        report = replace(report, facts={"command": list(command), **report.facts, "metrics": None})
        write_beside(request.out, report.facts, report.small)
        return report
    if request.zero_shot is not None and request.optical.suffix.lower() in SUFFIXES:
        from eorestore.restorer.zero_shot_picture import enlarge_picture, gives_picture

        if gives_picture(request):
            report = enlarge_picture(request, progress=progress, learning=adapting)
            report = replace(report, facts={"command": list(command), **report.facts, "metrics": None})
            write_beside(request.out, report.facts, report.small)
            return report
    from eorestore.reports.scene_files import check_limits, write_scene_files
    from eorestore.restorer.reference import open_reference, score_result

    check_limits(limits)
    truth = None if reference is None else open_reference(request, reference)
    if request.guide is None:
        report = restore_file(request, progress=progress, adapting=adapting)
    else:
        from eorestore.restorer.guided import restore_guided

        report = restore_guided(request, progress=adapting)
    scores = None if truth is None else score_result(request, truth)
    beside = write_scene_files(request, report.target, limits=limits)
    report = replace(report, facts={"command": list(command), **report.facts, **beside, "metrics": scores})
    write_beside(request.out, report.facts, report.small)
    return report


def write_beside(out: Path, facts: Mapping[str, Any], small: Raster | None) -> None:
    """The sidecar OUT.json and, where there is one, the preview OUT.preview.png of a result. Raises WriteError."""
    from eorestore.reports.picture import preview
    from eorestore.reports.png import encode_png

    target = Target(out)
    _write_whole(target.sidecar, json.dumps(facts, indent=1).encode())
    if small is not None:
        _write_whole(target.preview, encode_png(preview(small)))


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(f"{path} cannot be written: {error}", fix="check the folder and the free space") from None
