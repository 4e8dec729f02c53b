from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eorestore.data.image_pairs import find_pairs, pairs_of, read_rows
from eorestore.errors import EXIT_DATA, DataError, UnknownNameError

PRESETS = Path(__file__).parents[2] / "presets"


def put(path: Path, size=(16, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(path)
    return path


def names(pairs) -> list[tuple[str, str, str | None]]:
    return [(pair.id, pair.high.name, pair.low and pair.low.name) for pair in pairs]


@pytest.mark.parametrize("nested", ["", "deep/er/"])
@pytest.mark.parametrize("folder", ["train_LR", "train_LR/X4"])
@pytest.mark.parametrize("suffix", ["", "x4", "_x4", "_LR"])
def test_every_usual_layout_gives_the_same_pairs(nested, folder, suffix, tmp_path):
    for name in ("0001", "0002"):
        put(tmp_path / f"train_HR/{nested}{name}.png")
        put(tmp_path / f"{folder}/{nested}{name}{suffix}.png", (4, 6))
    pairs = pairs_of(read_rows(tmp_path), "train", scale=4)
    assert names(pairs) == [
        (f"train/{nested}{name}", f"{name}.png", f"{name}{suffix}.png") for name in ("0001", "0002")
    ]  # fmt: skip
    assert pairs_of(read_rows(tmp_path), "validation", scale=4) == ()


def test_formats_may_differ_and_an_image_may_end_in_x4_itself(tmp_path):
    put(tmp_path / "hr/box4.tif")
    put(tmp_path / "hr/bo_HR.png")
    put(tmp_path / "lr/box4.webp", (4, 6))
    put(tmp_path / "lr/bo_LR.jpg", (4, 6))
    assert names(find_pairs(tmp_path / "hr", low=tmp_path / "lr", scale=4)) == [
        ("bo", "bo_HR.png", "bo_LR.jpg"), ("box4", "box4.tif", "box4.webp"),
    ]  # fmt: skip


def test_without_low_resolution_images_they_are_to_be_made(tmp_path):
    put(tmp_path / "val_HR/a.png")
    assert names(pairs_of(read_rows(tmp_path), "validation", scale=4)) == [("validation/a", "a.png", None)]
    assert names(find_pairs(tmp_path / "val_HR/a.png", scale=4)) == [("a", "a.png", None)]


def test_pairs_of_another_size_are_refused_with_both_sizes(tmp_path):
    high, low = put(tmp_path / "hr/a.png", (17, 24)), put(tmp_path / "lr/a.png", (4, 6))
    with pytest.raises(DataError, match=r"hr/a\.png has 17 x 24 pixels .*lr/a\.png has 4 x 6: not 4 times") as error:
        find_pairs(tmp_path / "hr", low=tmp_path / "lr", scale=4)
    assert "16 x 24" in error.value.fix
    assert error.value.exit_code == EXIT_DATA
    put(high, (8, 12))
    with pytest.raises(DataError, match=r"8 x 12 .* 4 x 6: not 4 times"):
        find_pairs(high, low=low, scale=4)
    assert len(find_pairs(high, low=low, scale=2)) == 1


@pytest.mark.parametrize("side", ["hr", "lr"])
def test_an_image_without_partner_is_named(side, tmp_path):
    put(tmp_path / "hr/a.png")
    put(tmp_path / "lr/a.png", (4, 6))
    for number in range(5):
        put(tmp_path / side / f"lonely{number}.png")
    with pytest.raises(DataError, match=r"lonely0\.png.*and 2 more have no partner"):
        find_pairs(tmp_path / "hr", low=tmp_path / "lr", scale=4)


def test_two_images_cannot_share_a_name_or_a_partner(tmp_path):
    put(tmp_path / "hr/a.png")
    put(tmp_path / "lr/a.png", (4, 6))
    put(tmp_path / "lr/ax4.png", (4, 6))
    with pytest.raises(DataError, match="both belong"):
        find_pairs(tmp_path / "hr", low=tmp_path / "lr", scale=4)
    put(tmp_path / "hr/a.jpg")
    with pytest.raises(DataError, match="one name"):
        find_pairs(tmp_path / "hr", scale=4)


def manifest(folder: Path, *lines: str, header="id,place,split,high,low") -> Path:
    path = folder / "images.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_manifest_names_images_and_folders_of_any_set(tmp_path):
    put(tmp_path / "T91/t1.png")
    put(tmp_path / "T91/t2.png")
    put(tmp_path / "Set5/baby_HR.png")
    put(tmp_path / "Set5_LR/x.png", (4, 6))
    path = manifest(tmp_path, "t91,t91,train,T91,", "baby,set5,test,Set5/baby_HR.png,Set5_LR/x.png")
    rows = read_rows(path)
    assert names(pairs_of(rows, "train", scale=4)) == [("t91/t1", "t1.png", None), ("t91/t2", "t2.png", None)]
    assert names(pairs_of(rows, "test", scale=4)) == [("baby", "baby_HR.png", "x.png")]
    elsewhere = tmp_path / "lists"
    elsewhere.mkdir()
    assert read_rows(path.rename(elsewhere / "images.csv"), root=tmp_path) == rows


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,p,train,a.png,", "b,p,test,b.png,"], "place p stands in train and in test"),
        (["a,p,train,a.png,", "b,q,test,a.png,"], "stands in train and in test"),
        (["a,p,train,a.png,", "a,q,train,b.png,"], "the id a twice"),
        (["a,p,train,,"], "line 2 has no high"),
        (["a,p,train,absent.png,"], "there is no"),
        ([], "names no image"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(lines, message, tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    with pytest.raises(DataError, match=message):
        read_rows(manifest(tmp_path, *lines))


def test_unknown_columns_and_splits_are_named(tmp_path):
    put(tmp_path / "a.png")
    with pytest.raises(UnknownNameError, match="'hihg'"):
        read_rows(manifest(tmp_path, "a,p,train,a.png", header="id,place,split,hihg"))
    with pytest.raises(UnknownNameError, match="'val'"):
        read_rows(manifest(tmp_path, "a,p,val,a.png,"))
    with pytest.raises(DataError, match="no manifest of images"):
        read_rows(manifest(tmp_path, "a,p,train", header="id,place,split"))


def test_a_folder_that_is_no_data_set_says_what_one_is(tmp_path):
    with pytest.raises(DataError, match="neither train_HR nor val_HR"):
        read_rows(tmp_path)
    put(tmp_path / "train_LR/a.png")
    with pytest.raises(DataError, match="train_LR and no train_HR"):
        read_rows(tmp_path)
    with pytest.raises(DataError, match="no images at"):
        read_rows(tmp_path / "absent")


def test_rows_of_one_scene_name_bands_of_their_own(tmp_path):
    put(tmp_path / "scene.tif")
    table = tmp_path / "rows.csv"
    table.write_text("id,place,split,high,bands\nrgb,a,train,scene.tif,B04 B03 B02\nplain,a,train,scene.tif,\n")
    pairs = pairs_of(read_rows(table), "train", scale=4)
    assert [(pair.id, pair.bands) for pair in pairs] == [("rgb", ("B04", "B03", "B02")), ("plain", ())]


@pytest.mark.parametrize("line", ["x,a,train,folder,,B04 B03 B02", "x,a,train,scene.tif,small.tif,B04 B03 B02"])
def test_bands_are_of_one_file_whose_small_image_is_made(line, tmp_path):
    for name in ("scene.tif", "small.tif", "folder/one.tif"):
        put(tmp_path / name)
    table = tmp_path / "rows.csv"
    table.write_text(f"id,place,split,high,low,bands\n{line}\n")
    with pytest.raises(DataError, match="line 2 names bands"):
        read_rows(table)


def test_overhead_images_are_the_aerial_and_the_satellite_ones_without_their_tests():
    images = PRESETS / "images"
    lines = {
        name: [line.rstrip(",") for line in (images / f"{name}.csv").read_text().splitlines()[1:]]
        for name in ("overhead", "aerial", "sentinel2")
    }
    learned = [line for name in ("aerial", "sentinel2") for line in lines[name] if line.split(",")[2] != "test"]
    assert lines["overhead"] == learned
    places = {line.split(",")[1]: line.split(",")[2] for line in (PRESETS / "scenes" / "public-places.csv").open()}
    assert all(places[line.split(",")[1]] == line.split(",")[2] for line in lines["sentinel2"])


@pytest.mark.parametrize("name", ["overhead", "natural"])
def test_fusions_learn_from_what_their_experts_did_not(name):
    images = PRESETS / "images"
    learned = {line.split(",")[3] for line in (images / f"{name}.csv").open() if ",train," in line}
    held_out = [line.split(",") for line in (images / f"{name}-held-out.csv").read_text().splitlines()[1:]]
    assert held_out
    assert not learned & {cells[3] for cells in held_out}
    assert "test" not in {cells[2] for cells in held_out}
