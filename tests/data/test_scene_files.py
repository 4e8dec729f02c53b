"""Four-band optical scenes beside SAR of another resolution, and the bands, scales and offsets that a row declares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eorestore.config import DataSettings, ModelConfig, RunConfig
from eorestore.data.clear_scenes import load_clear_scenes, read_scene
from eorestore.data.manifest import SceneRow, read_manifest
from eorestore.errors import BandError
from eorestore.models.table import build_model
from eorestore.processing.table import PROCESSORS
from eorestore.raster import Grid, Unit
from eorestore.tasks.cloud_removal import CLOUD_REMOVAL
from small_scenes import write_tif

CRS = (
    'PROJCS["UTM 32N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1]]'
)
TINY = {"channels": 8, "growth": 4, "blocks": 1, "layers": 1, "heads": 2, "head_channels": 4, "drop_path": 0.0}


def grid(pixel: float, side: int, *, left: float = 500000.0, top: float = 5000000.0) -> Grid:
    return Grid(CRS, (pixel, 0.0, left, 0.0, -pixel, top), side, side)


def ramp(place: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Metres east and south of the common corner at the centre of every pixel."""
    steps = (np.arange(place.height) + 0.5) * place.pixel_size[0]
    east, south = steps + place.transform[2] - 500000.0, steps - (place.transform[5] - 5000000.0)
    return np.meshgrid(east, south)


def write_pair(folder: Path, optical: Grid, sar: Grid, **options) -> None:
    """Optical DN that grow to the east, SAR that grows to the east in VV and to the south in VH."""
    east, south = ramp(optical)
    dn = np.stack([1000 + band * 500 + east for band in range(4)]).round().astype(np.uint16)
    write_tif(folder / "optical.tif", dn, optical, **options)
    east, south = ramp(sar)
    write_tif(folder / "sar.tif", np.stack([-20 + east / 100, -25 + south / 100]).astype(np.float32), sar)


def manifest(folder: Path, columns: str, cells: str) -> Path:
    path = folder / "scenes.csv"
    lines = [f"id,place,split,optical,sar{columns}"]
    lines += [f"{split},{split},{split},optical.tif,sar.tif{cells}" for split in ("train", "validation")]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("optical", "sar"),
    [
        (grid(4.0, 80), grid(10.0, 40)),  # GF-CR: optical 4 m beside coarser SAR
        (grid(3.0, 80), grid(10.0, 30, left=499995.0, top=5000007.0)),  # M3M-CR: another origin as well
        (grid(8.0, 48), grid(2.0, 200)),  # SAR finer than the optical scene is averaged
    ],
)
def test_sar_of_another_resolution_lies_where_it_belongs(tmp_path, optical, sar):
    write_pair(tmp_path, optical, sar)
    path = manifest(tmp_path, ",optical_bands,sar_bands,sar_unit", ",blue green red nir,VV VH,decibel")
    found = read_scene(read_manifest(path)[0])
    assert found.optical.bands.names == ("B02", "B03", "B04", "B08")
    assert found.sar.grid.same_as(found.optical.grid)
    inside = slice(6, -6)
    east, south = ramp(optical)
    assert np.abs(found.sar.values[0] - (-20 + east / 100))[inside, inside].max() < 0.01
    assert np.abs(found.sar.values[1] - (-25 + south / 100))[inside, inside].max() < 0.01


def test_scale_and_offset_of_the_row_are_those_of_the_scene(tmp_path):
    write_pair(tmp_path, grid(4.0, 48), grid(10.0, 30))
    columns, cells = ",optical_bands,optical_scale,s2_offset", ",B02 B03 B04 B08,0.0002,500"
    found = read_scene(read_manifest(manifest(tmp_path, columns, cells))[0]).optical
    dn = np.rint(1000 + ramp(found.grid)[0])
    np.testing.assert_allclose(found.values[0], (dn - 500) * 0.0002, rtol=1e-5)
    assert {band.unit for band in found.bands} == {Unit.REFLECTANCE}


def test_names_in_the_file_need_no_declaration(tmp_path):
    write_pair(tmp_path, grid(4.0, 48), grid(10.0, 30), names=("B02", "B03", "B04", "B08"))
    found = read_scene(read_manifest(manifest(tmp_path, ",s2_offset", ",0"))[0]).optical
    np.testing.assert_allclose(found.values[3], np.rint(2500 + ramp(found.grid)[0]) / 10000, rtol=1e-5)


def test_a_file_without_names_is_told_of_the_columns(tmp_path):
    write_pair(tmp_path, grid(4.0, 48), grid(10.0, 30))
    with pytest.raises(BandError, match=r"train: optical\.tif has 4 bands") as caught:
        read_scene(read_manifest(manifest(tmp_path, ",s2_offset", ",0"))[0])
    assert "optical_bands" in caught.value.fix


def test_one_sar_band_serves_where_it_is_named(tmp_path):
    write_pair(tmp_path, grid(4.0, 48), grid(10.0, 30))
    east, _ = ramp(grid(10.0, 30))
    write_tif(tmp_path / "sar.tif", (-20 + east / 100)[None].astype(np.float32), grid(10.0, 30))
    path = manifest(tmp_path, ",optical_bands,sar_bands,sar_unit", ",blue green red nir,VV,decibel")
    assert read_scene(read_manifest(path)[0]).sar.bands.names == ("VV",)


def test_a_four_band_manifest_trains_a_four_band_model(tmp_path):
    write_pair(tmp_path, grid(4.0, 64), grid(10.0, 40))
    path = manifest(tmp_path, ",optical_bands,sar_unit", ",blue green red nir,decibel")
    data = DataSettings(manifest=str(path), crop=32, cloud_size_px=(8, 24), items_per_epoch=4, validation_items=2)
    config = RunConfig(
        "four", "cloud-removal", ModelConfig("glf-cr", TINY | {"bands": 4}), data, {"l1": 1.0}, processor="four-band"
    )
    model = build_model("glf-cr", config.model.settings)
    samples, _ = CLOUD_REMOVAL.datasets(config, PROCESSORS["four-band"](), model)
    sample = samples[0]
    assert sample["cloudy"].shape == sample["target"].shape == (4, 32, 32)
    cloud = sample["cloud"][0]
    assert cloud.any()
    assert sample["cloudy"][:, cloud].mean() > sample["target"][:, cloud].mean() + 0.05
    image = model(cloudy=sample["cloudy"][None], sar=sample["sar"][None]).image
    assert image.shape == (1, 4, 32, 32)


ONE_PLACE = ("terramind", "637U_59R_1_3")


def _real_row(real_data: Path, kind: str, offset: float | None = 0.0) -> SceneRow:
    folder = real_data / "cloud" / Path(*ONE_PLACE)
    return SceneRow("637U", "637U", "train", folder / f"{kind}.tif", folder / "S1RTC.tif", s2_offset=offset)


@pytest.mark.real
def test_l1c_and_l2a_enter_one_model_with_cirrus_near_0_001(real_data):
    processor = PROCESSORS["glf-cr-optional-cirrus"]()
    encoded = {}
    for kind, bands in (("S2L1C", 13), ("S2L2A", 12)):
        scene = load_clear_scenes([_real_row(real_data, kind)])[0]
        assert len(scene.optical.bands) == bands
        encoded[kind] = processor.encode_one("cloudy", scene.optical)
        assert encoded[kind].shape[0] == 13
        assert np.median(encoded[kind][10]) == pytest.approx(0.001, abs=0.001)
    # Surface reflectance lies below what the sensor sees in the blue, and near it in the infrared.
    assert np.median(encoded["S2L2A"][1]) < np.median(encoded["S2L1C"][1])
    assert np.median(encoded["S2L2A"][7]) == pytest.approx(np.median(encoded["S2L1C"][7]), abs=0.03)


@pytest.mark.real
@pytest.mark.parametrize("kind", ["S2L1C", "S2L2A"])
def test_a_real_manifest_of_either_level_gives_samples(real_data, tmp_path, kind):
    folder = real_data / "cloud" / "terramind"
    rows = [("637U_59R_1_3", "train", 0), ("38D_378R_2_3", "validation", 0)]
    lines = ["id,place,split,optical,sar,s2_offset,sar_unit"]
    lines += [
        f"{name},{name},{split},{name}/{kind}.tif,{name}/S1RTC.tif,{offset},decibel" for name, split, offset in rows
    ]
    (tmp_path / "scenes.csv").write_text("\n".join(lines))
    data = DataSettings(
        manifest=str(tmp_path / "scenes.csv"), root=str(folder), crop=64, items_per_epoch=2, validation_items=2
    )
    name = "glf-cr-optional-cirrus"
    config = RunConfig("run", "cloud-removal", ModelConfig("glf-cr", TINY), data, {"l1": 1.0}, processor=name)
    train, validation = CLOUD_REMOVAL.datasets(config, PROCESSORS[name](), build_model("glf-cr", TINY))
    for sample in (train[0], validation[0]):
        assert sample["cloudy"].shape == sample["target"].shape == (13, 64, 64)
        assert sample["target"][10].median() < 0.01


@pytest.mark.real
@pytest.mark.parametrize(("place", "offset"), [("282D_485L_3_3", 1000), ("637U_59R_1_3", 0)])
def test_the_offset_is_gone_whether_the_file_carries_it_or_not(real_data, place, offset, caplog):
    folder = real_data / "cloud" / "terramind" / place
    row = SceneRow(place, place, "train", folder / "S2L1C.tif", folder / "S1RTC.tif", s2_offset=float(offset))
    scene = read_scene(row).optical
    assert np.median(scene.values[10]) == pytest.approx(0.001, abs=0.001)
    assert "s2_offset" not in caplog.text
    if offset:
        read_scene(replace(row, s2_offset=0.0))
        assert f"{place}: B10 is 0.101 throughout" in caplog.text


@pytest.mark.real
def test_folders_of_band_files_of_both_levels_are_read_with_their_own_baseline(real_data):
    root = real_data / "cloud" / "ssl4eo"
    sar = next((root / "s1" / "0000200").glob("*20200607*"))
    medians = {}
    for product, bands in (("s2c", 13), ("s2a", 12)):
        folder = next((root / product / "0000200").glob("20200604*"))
        scene = read_scene(SceneRow(product, "india", "train", folder, sar)).optical
        assert len(scene.bands) == bands
        medians[product] = {
            name: np.median(scene.values[row][scene.valid]) for row, name in enumerate(scene.bands.names)
        }
    assert medians["s2c"]["B10"] == pytest.approx(0.001, abs=0.0005)
    assert medians["s2a"]["B02"] < medians["s2c"]["B02"]
    assert medians["s2a"]["B08"] == pytest.approx(medians["s2c"]["B08"], abs=0.05)


@pytest.mark.real
@pytest.mark.parametrize("place", ["p4", "p22", "p23"])
def test_sar_that_lies_4_metres_off_is_resampled_as_scipy_would(real_data, place):
    import rasterio
    from scipy.ndimage import shift

    folder = real_data / "cloud" / "luojia" / place
    row = SceneRow(place, place, "train", folder / "S2L1C.tif", folder / "S1.tif", s2_offset=1000.0)
    found = load_clear_scenes([row])[0]
    with rasterio.open(folder / "S1.tif") as sar, rasterio.open(folder / "S2L1C.tif") as optical:
        raw = sar.read()
        across = (sar.transform.c - optical.transform.c) / 10
        down = (optical.transform.f - sar.transform.f) / 10
    assert 0.3 < across < 0.5
    assert 0.3 < down < 0.5
    assert found.sar.grid.same_as(found.optical.grid)
    expected = np.stack([shift(band, (down, across), order=1, mode="nearest") for band in raw])
    inside = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(found.sar.values[inside], expected[inside], atol=1e-4)
    assert np.abs(found.sar.values - raw)[inside].mean() > 0.1
