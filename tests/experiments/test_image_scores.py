"""Whole images enlarged and scored; the references are scikit-image, published figures and brute force."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from eorestore.data.synthetic_scene import UTM_32N, synthetic_scene
from eorestore.errors import DataError, UnknownNameError, UsageError
from eorestore.experiments import image_models
from eorestore.experiments.ablation import ablate
from eorestore.experiments.expert_images import best_in_windows, chosen, closed_share
from eorestore.experiments.image_models import ImageModel, load_image_models
from eorestore.experiments.image_scores import evaluate_images
from eorestore.experiments.image_sets import read_image_sets
from eorestore.experiments.study import load_study
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.model import Model, Output, Settings
from eorestore.models.table import build_model
from eorestore.processing import Processor
from eorestore.processing.normalize import reflectance_scaling
from eorestore.raster import SENTINEL2_L1C, Grid
from eorestore.raster.encoding import Encoding
from eorestore.raster.files import write_raster
from small_images import FUSION, LIGHT, picture, put, save_model, write_experts, write_set

NOISE = {"good": 6.0, "fair": 7.0, "poor": 11.0}


class Fused(Model):
    """Two experts, repeated pixels and smooth ones, and the sum that `weight` makes of them."""

    settings_type = Settings
    scale = 4
    multiple_of = 8
    reach = 4
    tiling = "crop"
    expert_names = ("repeated", "smooth")
    weight = 0.5

    def experts_of(self, low):
        repeated = low.repeat_interleave(4, dim=-2).repeat_interleave(4, dim=-1)
        smooth = torch.nn.functional.interpolate(low, scale_factor=4, mode="bilinear")
        return torch.stack([repeated, smooth], dim=1)

    def forward(self, *, low):
        repeated, smooth = self.experts_of(low).unbind(dim=1)
        return Output(self.weight * repeated + (1 - self.weight) * smooth)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    write_set(folder / "Two", 2)
    write_set(folder / "Three", 3, seed=10)
    save_model(folder / "light", "light-sr", LIGHT)
    save_model(folder / "fusion", "expert-fusion", FUSION)
    for name in ("Two", "Three"):
        write_experts(folder / "outputs" / name, folder / name, noise=NOISE)
    return folder


@pytest.fixture
def fused(world, monkeypatch):
    """The name of a checkpoint whose network is the stand-in of a fused model."""
    plain = image_models.load_checkpoint(world / "light")
    monkeypatch.setattr(image_models, "load_checkpoint", lambda _: replace(plain, model=Fused(Settings()).eval()))
    return str(world / "light")


def means(table, score="psnr", set_name="all"):
    return {name: table.aggregates(name, set_name=set_name)[score].mean for name in table.models}


def test_scores_are_those_of_scikit_image_on_rounded_pixels_without_the_rim(world):
    seen = {}
    table = evaluate_images("bicubic", data=world / "Two", watch=lambda e, _, image: seen.update({e.scene: image}))
    for number, row in enumerate(table.rows):
        pixels = (255 * seen[row.scene]).round().numpy().astype(np.uint8).transpose(1, 2, 0)
        made, true = (rgb2ycbcr(image)[4:-4, 4:-4, 0] for image in (pixels, picture(number)))
        assert row.scores["psnr"] == pytest.approx(peak_signal_noise_ratio(true, made, data_range=255), abs=1e-4)
        similarity = structural_similarity(
            true, made, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )[1][5:-5, 5:-5].mean()
        assert row.scores["ssim"] == pytest.approx(similarity, abs=1e-5)


def test_several_sets_have_a_mean_each_and_one_over_all_their_images(world):
    table = evaluate_images(["bicubic", str(world / "light")], data=[world / "Two", world / "Three"])
    assert table.sets == ("Two", "Three", "all")
    assert [row.scene for row in table.rows[::2]] == ["Two/a", "Two/b", "Three/a", "Three/b", "Three/c"]
    by_set = [means(table, set_name=name)["bicubic"] for name in ("Two", "Three")]
    assert means(table)["bicubic"] == pytest.approx((2 * by_set[0] + 3 * by_set[1]) / 5)
    counts = {item.set: item.interval.count for item in table.comparisons() if item.score == "psnr"}
    assert counts == {"Two": 2, "Three": 3, "all": 5}
    assert "| all | bicubic |" in table.to_markdown()
    json.dumps(table.to_json(), allow_nan=False)


def test_low_resolution_images_on_disk_are_taken_as_they_are(tmp_path):
    put(tmp_path / "val_HR" / "x.png", picture(3, size=(64, 64)))
    put(tmp_path / "val_LR" / "x.png", np.full((16, 16, 3), 60, np.uint8))
    from_disk = evaluate_images("bicubic", data=tmp_path, split="validation")
    made = evaluate_images("bicubic", data=tmp_path / "val_HR")
    assert from_disk.rows[0].scores["psnr"] < made.rows[0].scores["psnr"] - 3
    assert from_disk.conditions["Low resolution"] == "from disk"
    put(tmp_path / "val_LR" / "x.png", np.full((16, 15, 3), 60, np.uint8))
    with pytest.raises(DataError, match="not 4 times"):
        evaluate_images("bicubic", data=tmp_path, split="validation")


def test_small_images_beside_the_large_ones_are_not_taken_for_them(tmp_path):
    put(tmp_path / "a_SRF_4_HR.png", picture(0))
    put(tmp_path / "a_SRF_4_LR.png", picture(0)[::4, ::4])
    (found,) = read_image_sets([tmp_path], scale=4)
    assert [placed.pair.id for placed in found.pairs] == ["a_SRF_4"]


def test_rows_of_a_manifest_that_name_folders_are_sets_and_single_images_one_together(world, tmp_path):
    lines = ["id,place,split,high", "two,p,test,Two", "x,q,test,Three/a_HR.png", "y,r,test,Three/b_HR.png"]
    manifest = tmp_path / "mine.csv"
    manifest.write_text("\n".join([*lines, "z,s,train,Three/c_HR.png"]) + "\n")
    found = read_image_sets([manifest], root=world, scale=4)
    assert [(one.name, [placed.place for placed in one.pairs]) for one in found] == [
        ("two", ["p", "p"]), ("mine", ["q", "r"])
    ]  # fmt: skip
    with pytest.raises(DataError, match="no validation image"):
        read_image_sets([manifest], root=world, split="validation", scale=4)
    with pytest.raises(UsageError, match="two sets are called mine, two"):
        read_image_sets([manifest, manifest], root=world, scale=4)


def test_stored_experts_have_rows_and_bound_what_a_choice_among_them_can_reach(world):
    table = evaluate_images(
        ["bicubic", str(world / "fusion")], data=[world / "Two", world / "Three"],
        expert_outputs=world / "outputs", oracles=True,
    )  # fmt: skip
    found = means(table)
    pixel, window = "best expert at each pixel", "best expert in 32 x 32 windows"
    assert table.models == ("bicubic", str(world / "fusion"), "fair", "good", "poor", "mean of experts", pixel, window)
    assert {row.model for row in table.rows if row.oracle} == {pixel, window}
    best = max("fair", "good", "poor", key=lambda name: found[name])
    assert best == "good"
    for scene in {row.scene for row in table.rows}:
        here = {row.model: row.scores["psnr"] for row in table.rows if row.scene == scene}
        assert here[pixel] > here[window] >= max(here[name] for name in NOISE) - 1e-9
    # noise of three independent experts
    variance = sum(size**2 for size in NOISE.values()) / 9
    assert found["mean of experts"] - found["good"] == pytest.approx(10 * math.log10(36 / variance), abs=0.2)


def test_an_untrained_fusion_is_the_mean_and_closes_nothing_of_the_gap(world):
    table = evaluate_images(
        str(world / "fusion"), data=world / "Three", expert_outputs=world / "outputs", oracles=True, tta=True
    )
    roles = {(item.role, item.score): item for item in table.comparisons()}
    assert set(roles) == {(role, score) for role in ("mean of experts", "best expert") for score in ("psnr", "ssim")}
    mean, best = roles["mean of experts", "psnr"], roles["best expert", "psnr"]
    assert (mean.interval.low, mean.interval.high) == pytest.approx((0, 0), abs=1e-3)
    assert mean.closed_pixel == pytest.approx(0, abs=1e-3)
    assert math.isnan(mean.closed_window)  # the mean of independent noise is better than a choice for so many pixels
    assert best.against == "good"
    assert best.interval.low > 0
    assert math.isnan(best.closed_pixel)
    assert f"| Three | {world / 'fusion'} | best expert, good |" in table.to_markdown()


def test_a_fused_model_is_set_beside_its_own_experts(world, fused, monkeypatch):
    options = {"data": world / "Two", "oracles": True}
    table = evaluate_images(["bicubic", fused], **options)
    names = [name.removeprefix(f"{fused}: ") for name in table.models]
    assert names == [
        "bicubic", fused, "repeated", "smooth", "mean of experts", "best expert at each pixel",
        "best expert in 32 x 32 windows",
    ]  # fmt: skip
    found = means(table)
    assert found[fused] == pytest.approx(found[f"{fused}: mean of experts"], abs=1e-3)
    monkeypatch.setattr(Fused, "weight", 1.0)
    again = evaluate_images(fused, **options)
    assert means(again)[fused] == means(again)[f"{fused}: repeated"]
    roles = {item.role: item for item in again.comparisons() if item.score == "psnr"}
    assert roles["best expert"].against == f"{fused}: smooth"
    assert roles["best expert"].interval.high < 0
    mean, oracle = (means(again)[f"{fused}: {name}"] for name in ("mean of experts", "best expert at each pixel"))
    assert roles["mean of experts"].closed_pixel == pytest.approx((means(again)[fused] - mean) / (oracle - mean))
    assert evaluate_images(fused, data=world / "Two").models == (fused,)


def test_the_best_expert_of_a_window_is_the_one_that_brute_force_finds():
    errors = torch.rand(3, 70, 41, generator=torch.Generator().manual_seed(0))
    best = best_in_windows(errors, side=32)
    for row in range(0, 70, 32):
        for column in range(0, 41, 32):
            window = errors[:, row : row + 32, column : column + 32]
            assert (best[row : row + 32, column : column + 32] == window.sum(dim=(1, 2)).argmin()).all()
    experts = torch.arange(3.0)[:, None, None, None].expand(3, 2, 70, 41)
    assert torch.equal(chosen(experts, best)[1], best.float())
    assert closed_share(32.417, 32.398, 33.716) == pytest.approx(0.0144, abs=1e-4)
    assert math.isnan(closed_share(30, 30, 30))


def test_a_large_image_in_tiles_is_the_whole_one(world, monkeypatch):
    (light,) = load_image_models([str(world / "light")])
    low = torch.rand(3, 61, 90, generator=torch.Generator().manual_seed(0))
    whole = light.enlarged(low)
    monkeypatch.setattr(image_models, "WHOLE_SIDE", 60)
    monkeypatch.setattr(image_models, "_TILE", 24)
    assert torch.allclose(light.enlarged(low), whole, atol=1e-6)


def test_the_eight_turns_of_a_fusion_turn_the_experts_too(world):
    (fusion,) = load_image_models([str(world / "fusion")])
    low = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    experts = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(fusion.enlarged(low, experts=experts, tta=True), experts.mean(dim=0), atol=1e-5)


def test_a_fusion_that_looks_at_the_whole_image_first_is_shown_it(tmp_path):
    save_model(tmp_path / "fusion", "expert-fusion", FUSION | {"limits": "image"})
    (fusion,) = load_image_models([str(tmp_path / "fusion")])
    experts = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    assert fusion.checkpoint.model.needs_scene
    assert torch.allclose(fusion.enlarged(torch.rand(3, 8, 12), experts=experts), experts.mean(dim=0), atol=1e-6)


def test_other_bands_are_scored_as_they_are_without_rounding(tmp_path):
    bands = SENTINEL2_L1C.select(("B02", "B03", "B04", "B08"))
    scaling = reflectance_scaling(bands)
    model = build_model("light-sr", LIGHT | {"bands": 4}, seed=1)
    processor = Processor({"low": scaling}, scaling, 4)
    save_checkpoint(tmp_path / "m", model, processor, task="super-resolution", provenance={}, tile=64, overlap=0)
    scene = synthetic_scene((64, 64), generator=np.random.default_rng(0)).optical.select(bands.names)
    grid = Grid(UTM_32N, (10.0, 0.0, 600_000.0, 0.0, -10.0, 5_400_000.0), 64, 64)
    write_raster(tmp_path / "s" / "a.tif", replace(scene, grid=grid), encoding=Encoding("float32", nodata=math.nan))
    seen = []
    table = evaluate_images(
        ["bicubic", str(tmp_path / "m")], data=tmp_path / "s", watch=lambda e, _, image: seen.append((e, image))
    )
    assert table.protocol == "bands"
    example, image = seen[0]
    high = scene.values[:, 4:-4, 4:-4]
    assert np.allclose(example.high[:, 4:-4, 4:-4], high, atol=1e-6)
    expected = peak_signal_noise_ratio(high, image[:, 4:-4, 4:-4].numpy(), data_range=1)
    assert table.rows[0].scores["psnr"] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UsageError, match="of red, green and blue in levels"):
        evaluate_images(str(tmp_path / "m"), data=tmp_path / "s", protocol="rgb")


def test_the_luma_protocol_is_for_bicubic_alone(world):
    table = evaluate_images("bicubic", data=world / "Two", protocol="y")
    assert table.metrics == ("psnr", "ssim", "lr_psnr")
    for options, message in (
        ({"models": str(world / "light"), "protocol": "y"}, "enlarges luma alone"),
        ({"models": str(world / "light"), "scale": 2}, "different factors"),
        ({"models": str(world / "fusion")}, "fuses the images of experts"),
        ({"models": "identity"}, "does not enlarge"),
        ({"models": "bicubic", "protocol": "y", "expert_outputs": world / "outputs"}, "experts give colours"),
        ({"models": "sr-x4-plan"}, "preset and has no weights"),
        ({"models": []}, "no model is named"),
    ):
        with pytest.raises(UsageError, match=message):
            evaluate_images(**{"data": world / "Two", **options})
    with pytest.raises(UnknownNameError, match="luma"):
        evaluate_images("bicubic", data=world / "Two", protocol="luma")
    with pytest.raises(UnknownNameError, match="beauty"):
        evaluate_images("bicubic", data=world / "Two", metrics=["beauty"])


def test_values_that_are_not_finite_are_refused(world, monkeypatch):
    monkeypatch.setattr(ImageModel, "enlarged", lambda *_, **__: torch.full((3, 72, 88), math.nan))
    with pytest.raises(DataError, match="not finite"):
        evaluate_images("bicubic", data=world / "Two")


def test_transparent_pixels_cannot_change_a_score(tmp_path):
    pixels = np.dstack([picture(0), np.full((72, 88), 255, np.uint8)])
    pixels[30:40, 30:40, 3] = 0
    put(tmp_path / "a" / "x.png", pixels)
    before = evaluate_images("bicubic", data=tmp_path / "a").rows[0].scores
    assert all(map(math.isfinite, before.values()))
    plain = evaluate_images("bicubic", data=put(tmp_path / "b" / "x.png", pixels[..., :3]).parent).rows[0].scores
    assert before["psnr"] != plain["psnr"]


STUDY = {
    "name": "pictures",
    "base": {
        "name": "base",
        "task": "super-resolution",
        "processor": "rgb-x4",
        "model": {"name": "light-sr", "settings": LIGHT},
        "data": {"manifest": "images.csv", "crop": 12, "repeat": 4, "validation_items": 2},
        "losses": {"l1": 1.0},
        "training": {"batch": 2, "best_by": "psnr", "best_is": "highest", "pictures": 0},
        "tile": 16,
        "overlap": 4,
        "gpu": "not needed",
    },
    "parameters": [100, 100_000],
    "budget": {"train_flops": 1.2e7, "crop": 12, "batch": 1, "validations": 1},
    "seeds": {"main": 1, "cell": 1},
    "evaluate": {"split": "validation", "metrics": ["psnr", "ssim", "lr_psnr"]},
    "reference": "plain",
    "rows": [
        {"name": "plain"},
        {"name": "kernel", "overrides": {"model.settings.kind": "large-kernel"}},
        {"name": "bicubic", "baseline": "bicubic"},
    ],
}  # fmt: skip


@pytest.fixture
def study_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["id,place,split,high"]
    for number, split in enumerate(("train", "train", "validation", "validation", "test")):
        put(tmp_path / f"{number}.png", picture(20 + number))
        lines.append(f"i{number},p{number},{split},{number}.png")
    (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "pictures.yaml").write_text(yaml.safe_dump(STUDY))
    return tmp_path


def test_rows_of_a_study_are_trained_and_scored_on_images(study_folder):
    study = load_study(study_folder / "pictures.yaml")
    done = ablate(study, out=study_folder / "out")
    assert done.counts == {"done": 3, "failed": 0, "skipped": 0, "left": 0}
    record = json.loads((study_folder / "out" / "plain-seed0.json").read_text())["scores"]
    assert [(row["scene"], row["model"]) for row in record["rows"]] == [("i2", "plain-seed0"), ("i3", "plain-seed0")]
    assert 1 <= record["steps"] <= 8
    summary = json.loads((study_folder / "out" / "study.json").read_text())["scores"]
    (bicubic,) = [row for row in summary["results"] if row["row"] == "bicubic"]
    direct = evaluate_images("bicubic", data="images.csv", split="validation")
    assert bicubic["scores"]["psnr"]["mean"] == pytest.approx(means(direct)["bicubic"])
    assert bicubic["difference"]["psnr"]["count"] == 2
    assert "PSNR dB of whole images" in (study_folder / "out" / "study.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"metrics": ["beauty"]}, "beauty"), ({"strata": ["cloud"]}, "are for clouds"), ({"crop": 64}, "are for clouds")],
)
def test_a_study_that_asks_for_what_images_have_not_stops_before_it_trains(study_folder, change, message):
    (study_folder / "pictures.yaml").write_text(yaml.safe_dump(STUDY | {"evaluate": STUDY["evaluate"] | change}))
    with pytest.raises(UsageError if message == "beauty" else Exception, match=message):
        ablate(load_study(study_folder / "pictures.yaml"), out=study_folder / "out")
    assert not (study_folder / "out").exists()


@pytest.mark.real
@pytest.mark.parametrize(
    ("protocol", "name", "expected"),
    [
        ("rgb", "Set5", ("28.431", "0.8113")),
        ("y", "Set5", ("28.421", "0.8104")),
        ("rgb", "Set14", ("26.092", "0.7050")),
        ("y", "Set14", ("26.094", "0.7037")),
    ],
)
def test_bicubic_enlargement_scores_what_is_known_of_it_to_the_last_digit(protocol, name, expected, real_data):
    # Sources: Set5 on luma as published (Timofte et al. 2014); the others measured by an independent implementation.
    table = evaluate_images("bicubic", data=real_data / "sr" / name, protocol=protocol, metrics=["psnr", "ssim"])
    assert len(table.rows) == {"Set5": 5, "Set14": 14}[name]
    assert f"| {name} | bicubic | {expected[0]} | {expected[1]} |" in table.to_markdown()


@pytest.mark.real
def test_stored_images_of_public_experts_score_what_their_networks_did(real_data):
    # Source: the same networks run and scored by an independent implementation.
    table = evaluate_images(
        (), data=real_data / "sr" / "Set5", expert_outputs=real_data / "sr" / "expert_outputs", metrics=["psnr"]
    )
    found = {name: round(value, 3) for name, value in means(table).items() if name != "mean of experts"}
    assert found == {"EFDN": 32.075, "EagleSR": 32.351, "FSANet": 32.284}
