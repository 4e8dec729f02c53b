"""The index of SEN12MS-CR: exact splits, whole region numbers."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pytest

from eorestore.data.manifest import manifest_text, read_manifest
from eorestore.data.sen12ms_cr import SPLITS, TEST_PATCHES, PatchName, index, manifest_lines
from eorestore.errors import DataError, UnknownNameError


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sen12mscr")
    for season, region in itertools.chain(*SPLITS.values()):
        for kind in ("s1", "s2", "s2_cloudy"):
            path = PatchName(season, region, kind, 30).path(root)
            path.parent.mkdir(parents=True)
            path.touch()
    return root


def test_splits_have_155_10_and_10_regions_and_share_none():
    assert {name: len(regions) for name, regions in SPLITS.items()} == {
        "train": 155,
        "validation": 10,
        "test": 10,
    }
    for one, two in itertools.combinations(SPLITS.values(), 2):
        assert not one & two
    seasons = [season for season, _ in SPLITS["train"]]
    assert [seasons.count(name) for name in sorted(set(seasons))] == [35, 43, 56, 21]


def test_one_file_a_region_gives_one_triplet_a_region(tree: Path):
    found = {split: {(one.season, one.region) for one in index(tree, split)} for split in SPLITS}
    assert found == SPLITS
    assert [len(index(tree, split)) for split in ("train", "validation", "test")] == [155, 10, 10]


def test_the_manifest_of_a_folder_keeps_the_official_splits_by_region(tree: Path, tmp_path: Path):
    path = tmp_path / "sen12ms-cr.csv"
    path.write_text(manifest_text(manifest_lines(tree)))
    rows = read_manifest(path, root=tree)
    found = {split: {row.place for row in rows if row.split == split} for split in SPLITS}
    assert found == {split: {f"{season}_{region}" for season, region in of} for split, of in SPLITS.items()}
    assert len(rows) == 175


def test_a_folder_with_one_split_alone_gives_that_split(tmp_path: Path):
    for kind in ("s1", "s2", "s2_cloudy"):
        path = PatchName("ROIs1868_summer", 127, kind, 5).path(tmp_path)
        path.parent.mkdir(parents=True)
        path.touch()
    assert [line["split"] for line in manifest_lines(tmp_path)] == ["validation"]
    with pytest.raises(DataError, match="no patch of SEN12MS-CR"):
        manifest_lines(tmp_path / "ROIs1868_summer_s1")


def test_region_1_does_not_take_in_region_106(tree: Path):
    train = [one for one in index(tree, "train") if one.season == "ROIs1158_spring"]
    assert ("ROIs1158_spring", 1) in {(one.season, one.region) for one in train}
    assert 106 not in {one.region for one in train}
    # The rule of the widely used loader, for comparison: the train region's folder is a piece of the test path.
    assert "ROIs1158_spring_s1/s1_1" in str(PatchName("ROIs1158_spring", 106, "s1", 30).path(tree))


def test_a_triplet_names_three_files_of_one_patch(tree: Path):
    one = next(one for one in index(tree, "test") if (one.season, one.region) == ("ROIs1158_spring", 106))
    assert one.sar == tree / "ROIs1158_spring_s1" / "s1_106" / "ROIs1158_spring_s1_106_p30.tif"
    assert one.cloudy == tree / "ROIs1158_spring_s2_cloudy" / "s2_cloudy_106" / "ROIs1158_spring_s2_cloudy_106_p30.tif"
    assert one.clear == tree / "ROIs1158_spring_s2" / "s2_106" / "ROIs1158_spring_s2_106_p30.tif"


@pytest.mark.parametrize(
    "name", ["ROIs1158_spring_s1_1_p407.tif", "ROIs2017_winter_s2_cloudy_108_p30.tif", "ROIs1970_fall_s2_139_p1.tif"]
)
def test_names_survive_taking_apart(name: str):
    assert PatchName.parse(name).filename == name


def test_names_are_taken_apart_whole():
    assert PatchName.parse("ROIs1158_spring_s2_cloudy_106_p407.tif") == PatchName(
        "ROIs1158_spring", 106, "s2_cloudy", 407
    )
    with pytest.raises(DataError, match="not a SEN12MS-CR"):
        PatchName.parse("ROIs1158_spring_s2_cloudy_106_p407.tif.part")


def test_published_test_counts_add_up_and_a_smaller_tree_is_warned_about(tree: Path, caplog):
    assert sum(TEST_PATCHES.values()) == 7899
    with caplog.at_level(logging.WARNING, logger="eorestore.data.sen12ms_cr"):
        index(tree, "test")
    assert "ROIs1158_spring 106: 1 of 784" in caplog.text


@pytest.mark.real
def test_the_real_test_split_has_7899_patches(real_data: Path):
    root = real_data / "cloud" / "SEN12MS-CR"
    if not root.is_dir():
        pytest.skip(f"the whole SEN12MS-CR is not at {root}")
    assert len(index(root, "test")) == 7899


def test_a_missing_partner_is_named(tmp_path: Path):
    path = PatchName("ROIs1158_spring", 17, "s2_cloudy", 5).path(tmp_path)
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(DataError, match=r"has no partner .*ROIs1158_spring_s1_17_p5\.tif"):
        index(tmp_path, "validation")


def test_a_stray_file_is_named(tmp_path: Path):
    path = PatchName("ROIs1158_spring", 17, "s2_cloudy", 5).path(tmp_path)
    path.parent.mkdir(parents=True)
    (path.parent / "ROIs1158_spring_s2_cloudy_18_p5.tif").touch()
    with pytest.raises(DataError, match="does not belong"):
        index(tmp_path, "validation")


def test_an_empty_folder_and_an_unknown_split_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no test patch"):
        index(tmp_path, "test")
    with pytest.raises(UnknownNameError, match="val"):
        index(tmp_path, "val")
