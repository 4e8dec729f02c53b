"""Sound scenes and checkpoints spoiled in every way that `test_bad_inputs` lists."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import rasterio

from eorestore.raster import Window
from small_scenes import NAMES, World, write_bands, write_tif

PRESET = """
name: tiny
task: cloud-removal
model: {name: glf-cr, settings: {channels: 8, growth: 4, blocks: 1, layers: 1, heads: 2}}
data: {synthetic: 1, synthetic_size: 64, crop: 32, cloud_size_px: [4, 12], items_per_epoch: 4, validation_items: 1}
losses: {l1: 1.0}
training: {steps: 1, batch: 1, best_by: psnr_cloud, best_is: highest}
tile: 32
overlap: 8
gpu: not needed
"""


class Bench:
    """A folder with a sound scene in in/, to be spoiled; `out` is where the result would go."""

    def __init__(self, folder: Path, world: World, network: Path):
        self.folder, self.world, self.network = folder, world, network
        self.s2, self.s1 = folder / "in" / "s2.tif", folder / "in" / "s1.tif"
        self.mask, self.out = folder / "in" / "mask.tif", folder / "out.tif"

    def optical(self, values: np.ndarray, *, names=NAMES, **options) -> None:
        write_tif(self.s2, values, self.world.cloudy.grid, names=names, **options)

    def sar(self, values: np.ndarray, *, grid=None, **options) -> None:
        options = {"names": ("VV", "VH")} | options
        write_tif(self.s1, values, grid or self.world.place.sar.grid, **options)

    def restore(self, *more: str, model: str = "inpaint", mask: str | None = None, sar: bool = False) -> list[str]:
        radar = ["--sar", str(self.s1)] if sar else []
        mask = str(self.mask) if mask is None else mask
        return ["restore", str(self.s2), "-m", model, "--mask", mask, *radar, "-o", str(self.out), *more]

    def copy_network(self) -> Path:
        return Path(shutil.copytree(self.network, self.folder / "in" / "net"))


def missing_band(b):
    b.optical(b.world.dn[1:], names=NAMES[1:])
    return b.restore(model=str(b.network), sar=True)


def no_crs(b):
    write_tif(b.s2, b.world.dn, None, names=NAMES)
    return b.restore()


def truncated(b):
    whole = b.s2.read_bytes()
    b.s2.write_bytes(whole[: len(whole) // 2])
    return b.restore()


def all_nodata(b):
    b.optical(np.zeros_like(b.world.dn), nodata=0)
    return b.restore(model="identity")


def all_nan(b):
    b.optical(np.full(b.world.dn.shape, np.nan, np.float32))
    return b.restore()


def infinite(b):
    values = b.world.cloudy.values.copy()
    values[2, 5:9, 5:9] = np.inf
    b.optical(values)
    return b.restore()


def zero_size(b):
    b.s2.write_bytes(b"")
    return b.restore()


def complex_values(b):
    b.optical(b.world.cloudy.values.astype(np.complex64))
    return b.restore()


def text_file(b):
    b.s2.write_text("this is no raster\n" * 20)
    return b.restore()


def thousands(b):
    b.optical(b.world.dn.astype(np.float32))
    return b.restore()


def unnamed_bands(b):
    b.optical(b.world.dn[:5], names=None)
    return b.restore()


def twice_named(b):
    return b.restore("--bands", ",".join(("B01", *NAMES[:12])))


def sar_linear_as_db(b):
    b.sar(10 ** (b.world.place.sar.values / 10))
    return b.restore(model="sar-regression", sar=True)


def sar_db_as_power(b):
    return b.restore("--sar-unit", "power", model="sar-regression", sar=True)


def sar_integers(b):
    b.sar(np.rint(b.world.place.sar.values * 100).astype(np.int16))
    return b.restore(model="sar-regression", sar=True)


def sar_elsewhere(b):
    height, width = b.world.mask.shape
    b.sar(b.world.place.sar.values, grid=b.world.cloudy.grid.crop(Window(9000, 0, height, width)))
    return b.restore(model="sar-regression", sar=True)


def sar_other_crs_elsewhere(b):
    place = rasterio.crs.CRS.from_epsg(4326), rasterio.Affine(1e-4, 0, -70.0, 0, -1e-4, -30.0)
    with rasterio.open(
        b.s1, "w", driver="GTiff", count=2, height=64, width=64, dtype="float32", crs=place[0], transform=place[1]
    ) as file:
        file.write(np.full((2, 64, 64), -12, np.float32))
        file.descriptions = ("VV", "VH")
    return b.restore(model="sar-regression", sar=True)


def sar_single(b):
    b.sar(b.world.place.sar.values[:1], names=("VV",))
    return b.restore(model="sar-regression", sar=True)


def sar_single_for_network(b):
    b.sar(b.world.place.sar.values[:1], names=("VV",))
    return b.restore(model=str(b.network), sar=True)


def map_exists(b):
    (b.folder / "out.consistency.tif").write_text("precious")
    return b.restore("--save", "source,consistency", sar=True)


def map_is_input(b):
    b.s1, b.out = b.s1.rename(b.folder / "in" / "new.source.tif"), b.folder / "in" / "new.tif"
    return b.restore("--save", "source", "--overwrite", model="sar-regression", sar=True)


def mask_other_size(b):
    grid = b.world.cloudy.grid.crop(Window(0, 0, 20, 20))
    write_tif(b.mask, np.ones((1, 20, 20), np.uint8), grid)
    return b.restore()


def mask_classes(b):
    write_tif(b.mask, np.full((1, *b.world.mask.shape), 9, np.uint8), b.world.cloudy.grid)
    return b.restore()


def mask_everything(b):
    write_tif(b.mask, np.ones((1, *b.world.mask.shape), np.uint8), b.world.cloudy.grid)
    return b.restore()


def mask_needs_bands(b):
    b.optical(b.world.dn[1:4], names=NAMES[1:4])
    return b.restore(mask="auto")


def out_exists(b):
    b.out.write_text("precious")
    return b.restore()


def out_under_file(b):
    parent = b.folder / "in" / "file"
    parent.write_text("")
    b.out = parent / "out.tif"
    return b.restore()


def out_nowhere(b):
    b.out = b.folder / "no" / "out.tif"
    return b.restore()


def out_suffix(b):
    b.out = b.folder / "out.jp2"
    return b.restore()


def out_is_input(b):
    b.out = b.s2
    return b.restore("--overwrite")


def out_is_full_folder(b):
    b.s2 = write_bands(b.folder / "bands", b.world)
    b.out = b.folder / "in"
    return b.restore("--overwrite")


def out_on_proc(b):
    b.out = Path("/proc/out.tif")
    return b.restore()


def corrupt_weights(b):
    folder = b.copy_network()
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    return b.restore(model=str(folder), sar=True)


def wrong_hash(b):
    folder = b.copy_network()
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))
    return b.restore(model=str(folder), sar=True)


class _Trap:
    """Unpickling it would leave a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def pickle_as_weights(b):
    folder = b.copy_network()
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Trap(b.folder / "trapped")))
    return b.restore(model=str(folder), sar=True)


def config_no_json(b):
    folder = b.copy_network()
    (folder / "config.json").write_text("{")
    return b.restore(model=str(folder), sar=True)


def config_foreign_format(b):
    folder = b.copy_network()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99}))
    return b.restore(model=str(folder), sar=True)


def folder_without_bands(b):
    b.s2 = b.folder / "in"
    return b.restore()


def folder_missing_band(b):
    b.s2 = write_bands(b.folder / "in" / "bands", b.world)
    (b.s2 / "B04.tif").unlink()
    return b.restore(model=str(b.network), sar=True)


def folder_truncated_band(b):
    b.s2 = write_bands(b.folder / "in" / "bands", b.world)
    data = (b.s2 / "B04.tif").read_bytes()
    (b.s2 / "B04.tif").write_bytes(data[: len(data) // 2])
    return b.restore()


def reference_elsewhere(b):
    height, width = b.world.mask.shape
    grid = b.world.cloudy.grid.crop(Window(5, 5, height, width))
    path = write_tif(b.folder / "in" / "truth.tif", b.world.dn, grid, names=NAMES)
    return b.restore("--reference", str(path))


def preset(b, text):
    path = b.folder / "in" / "tiny.yaml"
    path.write_text(text)
    return ["train", "-c", str(path), "-o", str(b.folder / "runs")]


def manifest(b, lines):
    path = b.folder / "in" / "manifest.csv"
    path.write_text("\n".join(["id,place,split,optical,sar", *lines]) + "\n")
    return ["evaluate", "identity", "--data", str(path), "-o", str(b.folder / "scores")]
