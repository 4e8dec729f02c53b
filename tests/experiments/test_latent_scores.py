from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from eorestore.data.sar_bands import read_sar_manifest
from eorestore.data.sar_patches import encoded_band
from eorestore.data.simulated_sar import simulated_sar
from eorestore.errors import ConfigError, DataError, UnknownNameError
from eorestore.experiments.ablation import ablate
from eorestore.experiments.latent_scores import STEPS, band_scores, latent_points, score_autoencoder
from eorestore.experiments.score_text import format_score, is_higher_better, is_ordered
from eorestore.experiments.scoring import scoring_of
from eorestore.experiments.study import load_study
from eorestore.experiments.study_plan import check_parameters, run_key, training_key
from eorestore.models.checkpoint import save_checkpoint
from eorestore.models.sar_autoencoder import SarAutoencoder
from eorestore.models.table import build_model
from eorestore.processing.table import sar_processor

METRICS = ("psnr30", "ssim", "enl_ratio")
SMALL = {"channels": [4, 6], "latent": 2, "norm": "none", "output": "linear"}
SIZE = (45, 52)


class Passing(SarAutoencoder):
    """A latent that is the band itself, four pixels of it as four channels, so that all errors are the storage's."""

    def encode(self, sar):
        return torch.nn.functional.pixel_unshuffle(sar, 2)

    def decode(self, latent):
        return torch.nn.functional.pixel_shuffle(latent, 2)


@pytest.fixture(scope="module")
def band():
    return encoded_band("x_VH", simulated_sar(SIZE, polarisation="VH", generator=np.random.default_rng(0)))


@pytest.fixture(scope="module")
def passing():
    return Passing(build_model("sar-autoencoder", SMALL).settings).eval()


def manifest(folder: Path) -> Path:
    lines = ["id,place,split,sar"]
    for number, split in enumerate(("train", "validation", "validation")):
        polarisation = "VV" if number < 2 else "VH"
        scene = simulated_sar((48, 56), polarisation=polarisation, generator=np.random.default_rng(number))
        np.save(folder / f"s{number}_{polarisation}.npy", scene.values[0])
        lines.append(f"s{number}_{polarisation},p{number},{split},s{number}_{polarisation}.npy")
    (folder / "bands.csv").write_text("\n".join(lines) + "\n")
    return folder / "bands.csv"


def test_bits_are_those_of_the_stream_and_float32_loses_nothing(passing, band):
    points = {point.storage: point for point in latent_points(passing, band, metrics=METRICS)}
    pixels = SIZE[0] * SIZE[1]
    values = 48 * 56  # padded to multiples of eight, since the network has three halvings
    assert points["float32"].bpp == pytest.approx(8 * (7 + 4 * values) / pixels)
    assert points["float16"].bpp == pytest.approx(8 * (7 + 2 * values) / pixels)
    assert points["int8"].bpp == pytest.approx(8 * (7 + 8 * 4 + values) / pixels)
    assert points["float32"].scores["psnr30"] > 120
    assert points["float16"].scores["psnr30"] > 60


def test_rounding_to_a_step_costs_what_uniform_noise_of_that_step_costs(passing, band):
    coded = [point for point in latent_points(passing, band, metrics=METRICS) if point.storage == "coded"]
    assert len(coded) == len(STEPS)
    assert [point.bpp for point in coded] == sorted((point.bpp for point in coded), reverse=True)
    for point in coded[:5]:
        noise = 40 * point.step / math.sqrt(12)
        assert point.scores["psnr30"] == pytest.approx(20 * math.log10(30 / noise), abs=0.3)


def test_the_mask_of_a_band_is_paid_for(passing):
    scene = simulated_sar(SIZE, polarisation="VH", generator=np.random.default_rng(0))
    whole = latent_points(passing, encoded_band("x_VH", scene), metrics=("psnr30",), steps=(1.0,))
    scene.valid[:] = np.random.default_rng(1).random(SIZE) > 0.3
    part = latent_points(passing, encoded_band("x_VH", scene), metrics=("psnr30",), steps=(1.0,))
    assert part[0].bpp - whole[0].bpp > 0.5  # a random mask is nearly a bit a pixel


def test_scores_at_a_rate_lie_between_the_points_around_it(passing, band):
    points = latent_points(passing, band, metrics=METRICS, steps=(1.0, 8.0))
    scores = band_scores(points, metrics=METRICS)
    coded = [point for point in points if point.storage == "coded"]
    assert coded[0].bpp > 1 > coded[-1].bpp
    assert coded[-1].scores["psnr30"] < scores["psnr30_at_1"] < coded[0].scores["psnr30"]
    assert math.isnan(scores["psnr30_at_0.05"])
    assert scores["bpp_int8"] == next(point.bpp for point in points if point.storage == "int8")


def test_the_rate_of_the_coded_latent_is_where_it_comes_within_a_tenth_of_a_decibel(passing, band):
    points = [point for point in latent_points(passing, band, metrics=("psnr30",)) if point.storage == "coded"]
    ceiling = replace(points[1], storage="float32", scores={"psnr30": points[1].scores["psnr30"] + 0.1})
    scores = band_scores([ceiling, *points], metrics=("psnr30",))
    assert scores["bpp_coded"] == pytest.approx(points[1].bpp)
    worse = replace(ceiling, scores={"psnr30": points[0].scores["psnr30"] + 3})
    assert math.isnan(band_scores([worse, *points], metrics=("psnr30",))["bpp_coded"])
    assert "bpp_coded" not in band_scores(points, metrics=("psnr30",))


def test_a_checkpoint_is_scored_over_the_bands_of_a_manifest(tmp_path):
    model = build_model("sar-autoencoder", SMALL, seed=1)
    processor = sar_processor("VV")
    save_checkpoint(tmp_path / "m", model, processor, task="sar-compression", provenance={}, tile=64, overlap=0)
    rows = [row for row in read_sar_manifest(manifest(tmp_path)) if row.split == "validation"]
    found = score_autoencoder(str(tmp_path / "m"), rows, metrics=METRICS)
    assert [row["scene"] for row in found["rows"]] == ["s1_VV", "s2_VH"]
    assert len(found["points"]) == 2 * (3 + len(STEPS))
    assert {frozenset(row["scores"]) for row in found["rows"]} == {frozenset(found["rows"][0]["scores"])}
    json.dumps(found, allow_nan=False)


def test_what_has_no_latent_is_refused():
    with pytest.raises(ConfigError, match="identity has no latent"):
        score_autoencoder("identity", [], metrics=METRICS)


def test_scores_of_bands_have_digits_and_a_better_way_where_there_is_one():
    assert is_higher_better("psnr30_at_0.2")
    assert not is_higher_better("ratio_log_std_int8")
    assert not is_ordered("enl_ratio_at_0.2")
    with pytest.raises(UnknownNameError):
        is_higher_better("bias_db")
    assert (format_score(26.123, "psnr30_at_0.2"), format_score(0.12345, "bias_db_float16")) == ("26.12", "0.12")


STUDY = {
    "name": "bands",
    "base": {
        "name": "base", "task": "sar-compression", "processor": "sar-vv",
        "model": {"name": "sar-autoencoder", "settings": SMALL},
        "data": {"manifest": "bands.csv", "items_per_epoch": 8, "validation_items": 2},
        "losses": {"mse": 800.0, "one_minus_ssim": 0.5},
        "training": {"warmup": 1, "learning_rate": 1e-3, "best_by": "psnr30", "best_is": "highest", "pictures": 0},
        "tile": 32, "overlap": 8, "gpu": "not needed",
    },
    "parameters": [500, 100_000],
    "budget": {"train_flops": 4e7, "crop": 32, "batch": 2, "validations": 1},
    "seeds": {"main": 1, "cell": 1},
    "evaluate": {"split": "validation", "metrics": ["psnr30", "enl_ratio"]},
    "reference": "A",
    "rows": [{"name": "A"}, {"name": "B", "overrides": {"model.settings.residual": True}}],
}  # fmt: skip


def test_a_study_of_bands_trains_scores_and_sums_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest(tmp_path)
    (tmp_path / "bands.yaml").write_text(yaml.safe_dump(STUDY))
    study = load_study(tmp_path / "bands.yaml")
    result = ablate(study, out=tmp_path / "out")
    assert (result.counts["done"], result.failed) == (2, ())
    scores = json.loads((tmp_path / "out" / "A-seed0.json").read_text())["scores"]
    assert {row["model"] for row in scores["rows"]} == {"A-seed0"}
    assert scores["points"][0]["storage"] == "float32"
    page = (tmp_path / "out" / "study.md").read_text()
    assert "psnr30 at 0.2 bits per pixel" in page
    assert re.search(r"^\| A \| 1 \| ", page, re.M)
    assert "cloud" not in page
    again = ablate(study, out=tmp_path / "out", resume=True)
    assert again.counts["done"] == 2


def test_the_final_split_is_scored_apart_and_decides_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = manifest(tmp_path).read_text().replace("s2_VH,p2,validation", "s2_VH,p2,test")
    (tmp_path / "bands.csv").write_text(lines)
    wanted = STUDY["evaluate"] | {"final": "test"}
    (tmp_path / "bands.yaml").write_text(yaml.safe_dump(STUDY | {"evaluate": wanted}))
    study = load_study(tmp_path / "bands.yaml")
    ablate(study, out=tmp_path / "out", only=["A"])
    scores = json.loads((tmp_path / "out" / "A-seed0.json").read_text())["scores"]
    assert [row["scene"] for row in scores["rows"]] == ["s1_VV"]
    assert [(row["scene"], row["model"]) for row in scores["final"]["rows"]] == [("s2_VH", "A-seed0")]
    assert {point["band"] for point in scores["final"]["points"]} == {"s2_VH"}
    summary = json.loads((tmp_path / "out" / "study.json").read_text())["scores"]
    first, final = (found["results"][0]["scores"]["psnr30"]["mean"] for found in (summary, summary["final"]))
    assert first == scores["rows"][0]["scores"]["psnr30"]
    assert final == scores["final"]["rows"][0]["scores"]["psnr30"] != first
    assert "## On the test split, by which nothing was chosen" in (tmp_path / "out" / "study.md").read_text()
    plain = load_study(tmp_path / "bands.yaml", ["evaluate.final=null"])
    keys = [training_key(each, each.row("A"), 0) for each in (study, plain)]
    assert keys[0] == keys[1]
    assert "final" not in run_key(plain, plain.row("A"), 0)["evaluate"]  # as in records of before


def test_a_final_split_that_is_the_first_one_is_refused(tmp_path):
    manifest(tmp_path)
    (tmp_path / "bands.yaml").write_text(yaml.safe_dump(STUDY))
    with pytest.raises(ConfigError, match=r"evaluate\.split is already"):
        load_study(tmp_path / "bands.yaml", ["evaluate.split=test", "evaluate.final=test"])


def test_a_study_of_unknown_scores_or_no_bands_stops_before_it_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest(tmp_path)
    for change, kind in (({"metrics": ["psnr30", "beauty"]}, UnknownNameError), ({"split": "test"}, DataError)):
        (tmp_path / "bands.yaml").write_text(yaml.safe_dump(STUDY | {"evaluate": STUDY["evaluate"] | change}))
        with pytest.raises(kind):
            ablate(load_study(tmp_path / "bands.yaml"), out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_the_shipped_study_has_the_plans_matrix_and_builds():
    study = load_study("sar-autoencoder")
    matrix = {f"{variant}-{latent}" for variant in "ABC" for latent in (8, 16, 32)}
    assert matrix <= {row.name for row in study.rows}
    check_parameters(study, study.rows)
    settings = {name: study.config(study.row(name)).model.settings for name in matrix}
    assert {name[2:] for name, values in settings.items() if str(values["latent"]) == name[2:]} == {"8", "16", "32"}
    assert all(("residual" in values) == (name[0] != "A") for name, values in settings.items())
    assert all(("attention" in values) == (name[0] == "C") for name, values in settings.items())
    assert scoring_of(study.base).ends[0] == "_at_0.2"
