"""What is to be restored and how, and the files that this names, opened and related; imports no torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from eorestore.errors import DataError, UsageError
from eorestore.raster import BandSet, Unit
from eorestore.raster.files import RasterFile, open_raster
from eorestore.raster.products import Declared
from eorestore.restorer.checks import check_values
from eorestore.restorer.coarse_bands import MULTISPECTRAL, with_repeated_bands
from eorestore.restorer.guide import Guide
from eorestore.restorer.maps import SIGMA, SOURCE
from eorestore.restorer.output import BESIDE, Target, target_for
from eorestore.restorer.plan import model_facts
from eorestore.restorer.scene import Scene
from eorestore.restorer.speeds import speed_key
from eorestore.restorer.zero_shot_recipe import SceneTask

logger = logging.getLogger(__name__)
BUILT_IN_MASKS = ("auto", "csmask", "none")
OPTICAL = "cloudy"  # the keyword of an optical scene
_LEAST_TILE = 16
_DAYS = 6


@dataclass(frozen=True)
class Request:
    """What is to be restored and how; the fields are the options of `eorestore restore`.

    save: names of maps to keep beside the image; see `restorer.maps`. beside: of a zero-shot enlargement, what else is
    to stand there; see `restorer.output.BESIDE`. A name of it among `save` is taken as one of `beside`.
    scale: enlargement that is asked for, where the model leaves a choice. consistent: back-project what is enlarged, so
    that shrunk again it is the input; None does it for networks; see `models.back_projection`.
    adapt: steps that a copy of the weights is trained on the scene itself, 0 for none; see `restorer.adaptation`.
    mask_margin: pixels by which the mask is widened.
    zero_shot: enlarge the scene by a network that learns it; `model` says nothing then, see `restorer.zero_shot`.
    guide: an optical scene that helps with that, see `restorer.guided`.
    adapt_seed: of that training. save_adapted: folder for the adapted checkpoint; without it the weights are dropped.
    Raises UsageError for values that make no sense.
    """

    optical: Path
    out: Path
    model: str = "cloud"
    sar: Path | None = None
    mask: str = "auto"
    mask_margin: int = 0
    bands: tuple[str, ...] | None = None
    sar_bands: tuple[str, ...] | None = None
    unit: Unit | None = None
    sar_unit: Unit | None = None
    s2_offset: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    tile: int | None = None
    overlap: int | None = None
    batch: int = 4
    budget: int | None = None
    share: float | None = None
    device: str = "cpu"
    precision: str = "fp32"
    tta: bool = False
    save: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    scale: int | None = None
    consistent: bool | None = None
    adapt: int = 0
    adapt_seed: int = 0
    save_adapted: Path | None = None
    zero_shot: SceneTask | None = None
    guide: Guide | None = None
    cog: bool = False
    overwrite: bool = False
    resume: bool = False
    journal: bool = True

    def __post_init__(self) -> None:
        asked = dict.fromkeys(name.strip() for name in (*self.save, *self.beside) if name.strip())
        kinds = BESIDE if self.zero_shot is not None else ()
        object.__setattr__(self, "save", tuple(name for name in asked if name not in kinds))
        object.__setattr__(self, "beside", tuple(name for name in asked if name in kinds))
        known = (SOURCE, SIGMA, *BESIDE)
        if self.zero_shot is not None and (unknown := [name for name in self.save if name not in known]):
            raise UsageError(f"zero-shot gives no {', '.join(unknown)}", fix=f"it gives {', '.join(known)}")
        if self.precision not in {"fp32", "bf16"}:
            raise UsageError(f"no precision {self.precision!r}", fix="use fp32 or bf16")
        if self.batch < 1:
            raise UsageError(f"a batch of {self.batch}", fix="use 1 or more")
        if self.adapt < 0 or self.adapt_seed < 0:
            raise UsageError(f"adapt {self.adapt}, seed {self.adapt_seed}", fix="use whole numbers of at least 0")
        check_margin(self.mask, self.mask_margin)
        if self.save_adapted is not None and not self.adapt:
            raise UsageError("there are no adapted weights to save", fix="add --adapt 100, or leave out --save-adapted")
        if self.tile is not None and self.tile < _LEAST_TILE:
            raise UsageError(f"a tile of {self.tile} pixels is too small", fix=f"use at least {_LEAST_TILE}")
        if self.bbox is not None and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise UsageError(
                f"the box {' '.join(f'{side:g}' for side in self.bbox)} is empty",
                fix="give left, bottom, right, top with left < right and bottom < top",
            )
        if self.resume and not self.journal:
            raise UsageError("a run without a journal cannot be resumed", fix="leave out --no-journal or --resume")

    def speed_of(self, model: str, sha256: str | None, *, bands: int) -> str:
        """What the speed of this run belongs to; see `restorer.speeds`."""
        return speed_key(
            model,
            sha256,
            bands=bands,
            device=self.device,
            precision=self.precision,
            tta=self.tta,
            share=self.share,
        )

    @property
    def declared(self) -> Declared:
        """What the caller says of the optical scene."""
        return Declared(self.bands, self.unit, self.s2_offset)

    @property
    def anywhere(self) -> bool:
        """Whether a scene may be a file without a CRS: what is enlarged may. Raises what `model_facts` does."""
        return self.zero_shot is not None or model_facts(self.model, scale=self.scale).rule.scale > 1

    @property
    def mask_file(self) -> Path | None:
        """The file behind `mask`, without the classes that may follow its name; None for a built-in mask."""
        if self.mask in BUILT_IN_MASKS:
            return None
        path = Path(self.mask)
        return path if path.exists() else Path(self.mask.rpartition(":")[0] or self.mask)


@dataclass(frozen=True)
class Inputs:
    """The opened scene: optical and, if given, SAR on its grid, and what was decided on the way.

    primary: the model's keyword for the scene that is restored, which stands as `optical` whatever it holds.
    """

    optical: RasterFile
    sar: RasterFile | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    date_gap_days: float | None
    primary: str = OPTICAL

    @property
    def bands(self) -> dict[str, BandSet]:
        """Bands of the inputs by the model's keywords."""
        return {self.primary: self.optical.bands} | ({"sar": self.sar.bands} if self.sar else {})

    @property
    def names(self) -> dict[str, str]:
        """Names of the inputs by the model's keywords, for messages."""
        return {"sar": self.sar.path.name if self.sar else "sar", self.primary: self.optical.path.name}

    @property
    def scene(self) -> Scene:
        """The inputs by the model's keywords."""
        files = {self.primary: self.optical} | ({"sar": self.sar} if self.sar else {})
        azimuth = self.optical.tags.get("SUN_AZIMUTH")
        try:
            return Scene(files, self.primary, None if azimuth is None else float(azimuth))
        except ValueError:
            raise DataError(
                f"{self.optical.path.name} has the tag SUN_AZIMUTH={azimuth!r}, which is no number",
                fix="write degrees clockwise from north, or remove the tag",
            ) from None


def open_target(request: Request) -> Target:
    """Where the result goes. Raises UsageError, and WriteError where something stands there."""
    target = target_for(
        request.out, cog=request.cog, overwrite=request.overwrite, save=request.save, beside=request.beside
    )
    if target.is_folder and request.optical.is_file():
        raise UsageError(
            f"{request.out} would be a folder of band files; {request.optical.name} is one file",
            fix=f"name the result {request.out.name}.tif",
        )
    written = (request.out, *map(target.map_path, request.save), *map(target.beside, request.beside))
    places = {place.resolve(): place for place in written}
    guide = None if request.guide is None else request.guide.path
    for path in (request.optical, request.sar, request.mask_file, guide):
        if path is not None and path.resolve() in places:
            raise UsageError(f"{places[path.resolve()]} is an input", fix="write the result to another name")
    return target


def open_inputs(request: Request, *, anywhere: bool = False) -> Inputs:
    """Open and relate the files; checks grids, overlap, units and values.

    anywhere: the scene may be a file without a CRS. Raises DataError and its kinds.
    """
    optical = open_raster(request.optical, declared=request.declared, anywhere=anywhere)
    if request.bbox is not None:
        optical = optical.crop(optical.grid.window(request.bbox))
    warnings = check_values(optical, option="--unit")
    sar = None
    if request.sar is not None:
        own = open_raster(request.sar, declared=Declared(request.sar_bands, request.sar_unit))
        warnings += check_values(own, option="--sar-unit")
        sar = own.aligned(optical.grid, name=optical.path.name)
    days = _days_apart(optical, sar)
    if days is not None and days > _DAYS:
        warnings += (f"SAR and optical scene are {days:.0f} days apart: what changed in between will be wrong",)
    notes = (*optical.notes, *(sar.notes if sar else ()))
    for note in notes:
        logger.info(note)
    for warning in warnings:
        logger.warning(warning)
    return Inputs(optical, sar, notes, warnings, days)


def for_model(request: Request, inputs: Inputs, *, primary: str, model: str, scale: int = 1) -> tuple[Request, Inputs]:
    """Both as a model takes them that restores `primary`, `scale` times as large; see `settled_mask`.

    Raises UsageError.
    """
    if primary == OPTICAL:
        return request, inputs
    if inputs.sar is not None:
        raise UsageError(
            f"{model} restores a {primary} scene by itself", fix=f"name {inputs.sar.path.name} as IN, without --sar"
        )
    if scale > 1 and request.adapt:
        raise UsageError(f"{model} cannot learn from a scene", fix="leave out --adapt")
    if primary == MULTISPECTRAL:
        inputs = _sharpened(request, inputs)
    mask = settled_mask(request.mask, primary=primary, scale=scale)
    check_margin(mask, request.mask_margin)
    return replace(request, mask=mask), replace(inputs, primary=primary)


def check_margin(mask: object, margin: int) -> None:
    """Whether a mask can be widened by `margin` pixels. Raises UsageError."""
    if margin < 0:
        raise UsageError(f"a mask margin of {margin}", fix="give a whole number of pixels of at least 0")
    if margin and (mask is None or (isinstance(mask, str) and mask == "none")):
        raise UsageError("without a mask there is nothing to widen", fix="leave out --mask-margin, or give --mask")


def settled_mask(mask: str, *, primary: str, scale: int = 1) -> str:
    """`auto` is `none` for what is no optical scene: it has no clouds.

    Raises UsageError for `csmask` then, and for any mask of an image that is enlarged.
    """
    if scale > 1 and mask not in ("auto", "none"):
        raise UsageError("a model that enlarges does so with every pixel", fix="leave out --mask")
    if primary == OPTICAL or mask not in BUILT_IN_MASKS:
        return mask
    if mask == "csmask":
        raise UsageError(f"csmask finds no clouds in a {primary} scene", fix="leave out --mask, or give a mask file")
    return "none"


def _sharpened(request: Request, inputs: Inputs) -> Inputs:
    """The inputs with coarse bands repeated, see `coarse_bands`. Raises GridError, UsageError."""
    if request.out.suffix == "":
        raise UsageError(
            f"{request.out} would be a folder, where every band keeps its own pixels",
            fix=f"name the result {request.out.name}.tif",
        )
    optical, notes, warnings = with_repeated_bands(inputs.optical)
    for warning in warnings:
        logger.warning(warning)
    return replace(inputs, optical=optical, notes=notes, warnings=(*inputs.warnings, *warnings))


def _days_apart(optical: RasterFile, sar: RasterFile | None) -> float | None:
    if sar is None or optical.date is None or sar.date is None:
        return None
    return abs((optical.date - sar.date).total_seconds()) / 86400
