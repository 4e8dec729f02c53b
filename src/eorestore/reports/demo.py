"""The demo: an invented cloudy scene on disk, restored from file to file, and a page about it; knows no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eorestore.data.cloud_pairs import MASK_MARGIN, grow_mask
from eorestore.data.cloud_simulation import CloudSettings, simulate_clouds
from eorestore.data.synthetic_scene import SceneSettings, synthetic_scene
from eorestore.metrics.collection import score
from eorestore.raster import Band, BandSet, Raster, Unit
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import open_raster, write_raster
from eorestore.raster.products import Declared
from eorestore.reports.histogram import histogram_of
from eorestore.reports.page import Layer, write_page
from eorestore.reports.picture import (
    Stretch,
    class_picture,
    error_key,
    error_picture,
    mean_absolute_error,
    picture,
)
from eorestore.reports.table import Cell, Table
from eorestore.reports.writing import refuse_existing
from eorestore.tiling.compositing import Source

COVER = 0.3
RESULTS = ("cloudy.tif", "sar.tif", "reference.tif", "mask.tif", "restored.tif", "index.html")

_CLOUD_HEIGHT_M = (300.0, 900.0)  # cumulus; shadows stay within the reach of the built-in mask
_OPTICAL = Encoding("uint16", scale=1e-4, nodata=0.0)
_RADAR = Encoding("float32", nodata=float("nan"))
_MASK = Encoding("uint8")
_SOURCE_COLOURS = {Source.OBSERVED: "#d8dcd3", Source.RESTORED: "#11705a", Source.NODATA: "#808080"}
_REGIONS = {"": "whole scene", "cloud": "under cloud", "shadow": "in shadow", "clear": "clear"}

RestoreFile = Callable[..., Any]
"""(optical, *, sar, model, mask, out, overwrite, save): `eorestore.restore` on paths."""


@dataclass(frozen=True)
class DemoScene:
    """What a satellite saw, what it would have seen without clouds, and where the clouds are.

    cloud, shadow: (y, x) bool, as simulated. sun_azimuth: degrees clockwise from north.
    """

    cloudy: Raster
    reference: Raster
    sar: Raster
    cloud: NDArray[np.bool_]
    shadow: NDArray[np.bool_]
    sun_azimuth: float


def make_demo(folder: Path, *, restore: RestoreFile, model: str, size: int, seed: int, overwrite: bool = False) -> Path:
    """Invent a scene, write it, restore it and write the page into `folder`; returns the page's path.

    restore: the package's own function from paths to a path. Raises WriteError where files of another demo
    stand and `overwrite` is off, and what `restore` raises.
    """
    for name in RESULTS:
        refuse_existing(folder / name, overwrite=overwrite)
    scene = demo_scene(size=size, seed=seed)
    write_scene(scene, folder)
    restored = folder / "restored.tif"
    restore(
        folder / "cloudy.tif",
        sar=folder / "sar.tif",
        model=model,
        mask=str(folder / "mask.tif"),
        out=restored,
        overwrite=overwrite,
        save=("source",),
    )
    return write_demo_page(folder, scene)


def demo_scene(*, size: int, seed: int) -> DemoScene:
    """An invented place of `size` x `size` pixels under clouds; the same seed gives the same scene."""
    generator = np.random.default_rng(seed)
    land = SceneSettings()
    place = synthetic_scene((size, size), generator=generator, settings=land)
    sky = CloudSettings(
        cover=COVER,
        size_px=(max(size / 16, 4.0), max(size / 3, 8.0)),
        sun_zenith_deg=(land.sun_zenith_deg, land.sun_zenith_deg),
        sun_azimuth_deg=(land.sun_azimuth_deg, land.sun_azimuth_deg),
        height_m=_CLOUD_HEIGHT_M,
        thin_share=0.0,
        cirrus_probability=0.0,
    )
    clouds = simulate_clouds(place.optical, sky, generator=generator)
    cloudy = replace(place.optical, values=clouds.image)
    return DemoScene(cloudy, place.optical, place.sar, clouds.cloud, clouds.shadow, land.sun_azimuth_deg)


def write_scene(scene: DemoScene, folder: Path) -> None:
    """cloudy.tif, sar.tif, reference.tif and mask.tif in `folder`, tagged as real products are. Raises WriteError.

    The mask is that of the simulated clouds and shadows, as a mask that comes with a scene would be.
    """
    sun = {"SUN_AZIMUTH": f"{scene.sun_azimuth:g}"}
    write_raster(folder / "cloudy.tif", scene.cloudy, encoding=_OPTICAL, tags=sun | {"ACQUISITION_DATE": "2026-06-14"})
    write_raster(folder / "reference.tif", scene.reference, encoding=_OPTICAL, tags=sun)
    covered = grow_mask(scene.cloud | scene.shadow, MASK_MARGIN)[None].astype(np.float32)
    mask = Raster(covered, scene.cloudy.valid, BandSet((Band("mask", Unit.CLASS),)), scene.cloudy.grid)
    write_raster(folder / "mask.tif", mask, encoding=_MASK)
    write_raster(folder / "sar.tif", scene.sar, encoding=_RADAR, tags={"ACQUISITION_DATE": "2026-06-16"})


def write_demo_page(folder: Path, scene: DemoScene) -> Path:
    """index.html about the files in `folder`; what it says of the result comes from the result's own files."""
    restored = open_raster(folder / "restored.tif").read()
    sidecar = json.loads((folder / "restored.tif.json").read_text(encoding="utf-8"))
    source = open_raster(folder / "restored.source.tif", declared=Declared(unit=Unit.CLASS)).read_raw()[0]
    stretch = Stretch.of(scene.reference)
    error, limit = error_picture(mean_absolute_error(restored, scene.reference))
    shares = {origin: float((source == origin).mean()) for origin in Source}
    layers = [
        Layer(
            "Input", picture(scene.cloudy, stretch=stretch), "Sentinel-2 under fair-weather clouds and their shadows"
        ),
        Layer("Restored", picture(restored, stretch=stretch), "Clear pixels as observed, the others rebuilt"),
        Layer("Reference", picture(scene.reference, stretch=stretch), "The same place without clouds"),
        Layer("SAR", picture(scene.sar), "Sentinel-1: VV red, VH green, VV \N{MINUS SIGN} VH blue"),
        Layer(
            "Error",
            error,
            f"|restored \N{MINUS SIGN} reference|, reflectance, mean over {len(restored.bands)} bands",
            error_key(limit),
        ),
        Layer(
            "Source",
            class_picture(source, {int(origin): colour for origin, colour in _SOURCE_COLOURS.items()}),
            "Where each pixel comes from",
            tuple(
                (colour, f"{origin.name.lower()} {_percent(shares[origin])}")
                for origin, colour in _SOURCE_COLOURS.items()
                if shares[origin] > 0
            ),
        ),
    ]
    before, after = (_scores(raster, scene) for raster in (scene.cloudy, restored))
    page = folder / "index.html"
    write_page(
        page,
        title="A scene without its clouds",
        summary=_summary(sidecar, scene, shares[Source.RESTORED], before["psnr_cloud"], after["psnr_cloud"]),
        layers=layers,
        compare=("Input", "Restored"),
        metrics=_table(before, after, scene),
        note="PSNR and SSIM: higher is better. Spectral angle (SAM): lower is better. Clouds and shadows as simulated.",
        facts=_facts(sidecar, scene, source),
        histograms=[
            histogram_of(band, {"Input": scene.cloudy, "Restored": restored, "Reference": scene.reference})
            for band in ("B02", "B04", "B08", "B11")
        ],
    )
    return page


def _scores(raster: Raster, scene: DemoScene) -> dict[str, float]:
    images = [torch.from_numpy(np.clip(one.values, 0.0, 1.0)) for one in (raster, scene.reference)]
    valid, cloud, shadow = (torch.from_numpy(mask)[None] for mask in (raster.valid, scene.cloud, scene.shadow))
    return score(*images, valid=valid, cloud=cloud, shadow=shadow, metrics=("psnr", "ssim", "sam"))


def _table(before: Mapping[str, float], after: Mapping[str, float], scene: DemoScene) -> Table:
    pixels = {
        "": scene.cloud.size,
        "cloud": int(scene.cloud.sum()),
        "shadow": int(scene.shadow.sum()),
        "clear": int((~scene.cloud & ~scene.shadow).sum()),
    }
    columns = ["Pixels of", "Number"]
    for heading in ("PSNR {}, dB", "SSIM {}", "SAM {}, °"):
        columns += [heading.format("input"), heading.format("restored")]
    rows: list[tuple[Cell, ...]] = []
    for region, name in _REGIONS.items():
        keys = [f"{metric}_{region}" if region else metric for metric in ("psnr", "ssim", "sam")]
        rows.append((name, pixels[region], *(scores[key] for key in keys for scores in (before, after))))
    return Table(tuple(columns), tuple(rows))


def _summary(
    sidecar: Mapping[str, Any], scene: DemoScene, restored: float, psnr_before: float, psnr_after: float
) -> str:
    return (
        f"In this invented scene {_percent(scene.cloud.mean())} of the pixels lie under cloud and "
        f"{_percent(scene.shadow.mean())} in shadow. {sidecar['model']} rebuilt {_percent(restored)} from "
        f"Sentinel-1 and the clear ground around; under cloud the PSNR goes from {psnr_before:.1f} to "
        f"{psnr_after:.1f} dB."
    )


def _facts(sidecar: Mapping[str, Any], scene: DemoScene, source: NDArray[np.uint8]) -> dict[str, str]:
    tiles, gap, height = sidecar["tiles"], sidecar["date_gap_days"], scene.reference.grid.height
    hidden = scene.cloud | scene.shadow
    found = float((source == Source.RESTORED)[hidden].mean()) if hidden.any() else float("nan")
    marked = _percent(sidecar["masked_share"])
    mask = f"{Path(sidecar['mask']).name}: {marked} of the scene, {_percent(found)} of true cloud and shadow"
    return {
        "Model": sidecar["model"],
        "Weights, SHA-256": sidecar["weights_sha256"] or "none: a method without weights",
        "Versions": f"eorestore {sidecar['eorestore']}, PyTorch {torch.__version__}",
        "Scene": f"{height} x {scene.reference.grid.width} pixels of 10 m, {len(scene.reference.bands)} bands",
        "Tiles": f"{tiles['count']} of {tiles['tile']} pixels, overlap {tiles['overlap']}",
        "Mask": mask,
        "Sentinel-1 to Sentinel-2": "unknown" if gap is None else f"{gap:g} days",
        "Time": f"{sidecar['seconds']:.1f} s",
    }


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
