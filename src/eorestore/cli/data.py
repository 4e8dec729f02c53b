"""`eorestore data`: simulate places, check a manifest, count its splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from eorestore.data.manifest import SceneRow

app = typer.Typer(help="Simulate places, check a manifest, count its splits.", no_args_is_help=True)

ManifestArgument = Annotated[Path, typer.Argument(help="CSV with one scene a line.")]
RootOption = Annotated[Path | None, typer.Option(help="Folder from which paths start; the manifest's own without it.")]


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the places and manifest.csv.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="Number of places.")] = 3,
    size: Annotated[int, typer.Option(min=32, help="Side of a scene in pixels of 10 m.")] = 256,
    cover: Annotated[float, typer.Option(min=0, max=1, help="Share of each scene that is cloud.")] = 0.4,
    looks: Annotated[float, typer.Option(min=1, help="Number of looks of the SAR speckle.")] = 5.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same places.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands in OUT.")] = False,
) -> None:
    """Write invented places: Sentinel-2 with clouds and without, Sentinel-1, mask, and a manifest.

    The last place is for testing, the last but one for validation, the others for training.
    """
    import numpy as np

    from eorestore.data.cloud_simulation import CloudSettings
    from eorestore.data.manifest import manifest_text
    from eorestore.data.simulated_place import FILES, write_simulated_place
    from eorestore.data.synthetic_scene import SceneSettings
    from eorestore.reports.writing import refuse_existing, write_complete

    manifest = out / "manifest.csv"
    refuse_existing(manifest, overwrite=overwrite)
    lines = []
    for number in range(count):
        name = f"place_{number:03d}"
        reached = write_simulated_place(
            out / name,
            size=(size, size),
            clouds=CloudSettings(cover=cover, size_px=(min(20.0, size / 8), min(150.0, size / 2))),
            scene=SceneSettings(looks=looks),
            generator=np.random.default_rng([seed, number]),
        )
        split = {count - 1: "test", count - 2: "validation"}.get(number, "train")
        paths = {column: f"{name}/{file}" for column, file in FILES.items()}
        lines.append({"id": name, "place": name, "split": split, "s2_offset": "0", **paths})
        print(f"{name}  {split:10}  {reached:.1%} cloud")
    write_complete(manifest, manifest_text(lines))
    print(manifest)


@app.command("sen12ms-cr")
def index_sen12ms_cr(
    root: Annotated[Path, typer.Argument(help="Folder that holds ROIs1158_spring_s1 and the others.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="The manifest, a CSV; its paths start from ROOT.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what stands at OUT.")] = False,
) -> None:
    """Write the manifest of a SEN12MS-CR folder: its triplets by the official splits."""
    from eorestore.data.manifest import manifest_text
    from eorestore.data.sen12ms_cr import manifest_lines
    from eorestore.reports.writing import refuse_existing, write_complete

    refuse_existing(out, overwrite=overwrite)
    lines = manifest_lines(root)
    write_complete(out, manifest_text(lines))
    for name, number in Counter(line["split"] for line in lines).items():
        places = len({line["place"] for line in lines if line["split"] == name})
        print(f"{name:11} {number:6} triplets  {places:4} regions")
    print(out)


@app.command()
def check(manifest: ManifestArgument, *, root: RootOption = None) -> None:
    """Open every scene of a manifest and say what it holds; stops at the first that cannot serve."""
    from eorestore.data.manifest import read_manifest

    rows = read_manifest(manifest, root=root)
    for row in rows:
        print(f"{row.id}  {row.split}  {_contents(row)}")
    print(f"{len(rows)} scenes, {len({row.place for row in rows})} places: nothing amiss")


@app.command()
def split(manifest: ManifestArgument, *, root: RootOption = None) -> None:
    """Count the scenes and places of each split, and name the places."""
    from eorestore.data.manifest import SPLITS, read_manifest

    rows = read_manifest(manifest, root=root)
    for name in SPLITS:
        places = Counter(row.place for row in rows if row.split == name)
        listed = ", ".join(f"{place} ({number})" for place, number in places.items())
        print(f"{name:11} {places.total():4} scenes  {len(places):4} places  {listed}".rstrip())


def _contents(row: SceneRow) -> str:
    """Size and bands of a scene; its SAR and reference are opened, too, and must touch it."""
    from eorestore.data.scene_arrays import SUFFIX, load_scene
    from eorestore.data.scene_files import open_optical, open_sar

    if row.optical.suffix == SUFFIX:
        optical = load_scene(row.optical).optical
        return f"{optical.grid.height} x {optical.grid.width}  {' '.join(optical.bands.names)}"
    file = open_optical(row.optical, row)
    sar = open_sar(row, file.grid)
    if row.reference is not None:
        open_optical(row.reference, row).aligned(file.grid, name=row.optical.name)
    bands = " ".join(file.bands.names + sar.bands.names)
    return f"{file.grid.height} x {file.grid.width}  {bands}"
