"""Cached experts: the same numbers as live ones, without constructing any; stale or missing parts are errors."""

import numpy as np
import pytest
import torch
from PIL import Image

from eorestore.config import DataSettings, ExpertConfig, ModelConfig, RunConfig, TrainingSettings
from eorestore.data import expert_cache, expert_samples
from eorestore.data.degradation import Degradation
from eorestore.data.expert_cache import CacheForm, fill_cache, image_key, open_cache
from eorestore.data.expert_samples import super_resolution_samples
from eorestore.data.image_pairs import ImagePair, pairs_of, read_rows
from eorestore.data.image_samples import PairReader
from eorestore.errors import ConfigError, DataError
from eorestore.experiments.training_run import train
from eorestore.models.checkpoint import load_checkpoint
from eorestore.models.fused_experts import whole_model
from eorestore.models.table import build_model
from eorestore.processing.table import rgb_processor
from eorestore.training.log import read_log
from small_enlargers import two_experts

FUSION = {"experts": 2, "channels": 8, "heads": 2, "refine_channels": 6, "refine_layers": 3, "edge_channels": 4}
READ = PairReader(rgb_processor(4), Degradation(4))


@pytest.fixture
def experts(tmp_path):
    return tuple(ExpertConfig(str(folder)) for folder in two_experts(tmp_path))


def pictures(folder, *, side, count=3):
    for split in ("train", "val"):
        (folder / f"{split}_HR").mkdir(parents=True)
        for number in range(count):
            generator = np.random.default_rng((number, split == "val"))
            small = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
            picture.save(folder / f"{split}_HR" / f"{number}.png")
    return folder


@pytest.fixture
def small(tmp_path):
    """Pictures exactly as large as a crop."""
    return pictures(tmp_path / "small", side=32)


@pytest.fixture
def large(tmp_path):
    return pictures(tmp_path / "large", side=64)


def config(folder, experts, *, cache=None, settings=None, **data):
    return RunConfig(
        name="fusion",
        task="super-resolution",
        processor="rgb-x4",
        model=ModelConfig("expert-fusion", FUSION | (settings or {})),
        data=DataSettings(
            manifest=str(folder), crop=8, items_per_epoch=12, validation_items=3, cache=cache and str(cache), **data
        ),
        losses={"mse": 1.0},
        training=TrainingSettings(
            steps=4, batch=2, learning_rate=1e-2, validate_every=2, checkpoint_every=2, log_every=1, pictures=0
        ),
        experts=experts,
        gpu="not needed",
        tile=64,
        overlap=32,
    )


def fill(folder, experts, source, **form):
    pairs = [pair for split in ("train", "validation") for pair in pairs_of(read_rows(source), split, scale=4)]
    return fill_cache(folder, experts, pairs, read=READ, form=CacheForm(**form))


def items(run):
    model = build_model("expert-fusion", run.model.settings)
    samples, _ = super_resolution_samples(run, rgb_processor(4), model)
    return [samples[number] for number in range(6)]


def test_all_eight_turns_in_fp32_equal_experts_that_run_on_every_crop(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small, precision="fp32", turns=8)
    cached = items(config(small, experts, cache=tmp_path / "cache"))
    live = items(config(small, experts))
    for one, other in zip(cached, live, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.allclose(one[name].float(), other[name].float(), atol=1e-6) for name in one)


def test_one_turn_is_what_a_turned_picture_is_not(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small, precision="fp32")
    cached = items(config(small, experts, cache=tmp_path / "cache"))
    live = items(config(small, experts))
    differences = [(one["experts"] - other["experts"]).abs().max() for one, other in zip(cached, live, strict=True)]
    assert max(differences) > 1e-3


def test_half_precision_is_near(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small, precision="fp16", turns=8)
    cached = items(config(small, experts, cache=tmp_path / "cache"))
    live = items(config(small, experts))
    for one, other in zip(cached, live, strict=True):
        assert one["experts"].dtype == torch.float32
        assert 0 < (one["experts"] - other["experts"]).abs().max() < 2e-3


def test_a_crop_of_a_large_picture_is_cut_from_the_result_of_the_whole(large, experts, tmp_path):
    cache = fill(tmp_path / "cache", experts, large, precision="fp32")
    item = items(config(large, experts, cache=tmp_path / "cache"))[0]
    whole = [cache.maps(pair, READ)["expert0"] for pair in pairs_of(read_rows(large), "train", scale=4)]
    assert item["experts"].shape == (2, 3, 32, 32)
    total = item["experts"][0].sum()
    found = [
        np.isclose(float(total), float(image[:, row : row + 32, column : column + 32].sum()), atol=1e-2)
        for image in whole
        for row in range(0, 33, 4)
        for column in range(0, 33, 4)
    ]
    assert any(found)


def test_cached_training_constructs_no_expert_and_learns_what_live_training_learns(
    small, experts, tmp_path, monkeypatch
):
    fill(tmp_path / "cache", experts, small, precision="fp32", turns=8)
    live = train(config(small, experts), name="live", out=tmp_path)

    def refuse(*_, **__):
        raise AssertionError("an expert was constructed")

    monkeypatch.setattr(expert_samples, "load_experts", refuse)
    monkeypatch.setattr(expert_cache, "load_expert", refuse)
    cached = train(config(small, experts, cache=tmp_path / "cache"), name="cached", out=tmp_path)
    losses = [
        [record["loss"] for record in read_log(run.folder / "metrics.jsonl") if record["kind"] == "train"]
        for run in (live, cached)
    ]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert {"expert convolution", "expert attention"} <= set(cached.record.data)


def test_the_trained_fusion_restores_with_its_experts(small, experts, tmp_path):
    run = train(config(small, experts), name="live", out=tmp_path)
    model = whole_model(load_checkpoint(run.folder / "last"))
    with torch.no_grad():
        assert model(low=torch.rand(1, 3, 12, 10)).image.shape == (1, 3, 48, 40)


def test_features_are_kept_where_they_are_asked_for(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small, precision="fp32", features=True)
    run = config(small, experts, cache=tmp_path / "cache", settings={"feature_channels": [8, 8]})
    assert items(run)[0]["features"].shape == (16, 8, 8)
    assert "features" not in items(config(small, experts, cache=tmp_path / "cache"))[0]


def test_features_that_the_cache_lacks_are_an_error(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small)
    with pytest.raises(ConfigError, match="holds no features"):
        items(config(small, experts, cache=tmp_path / "cache", settings={"feature_channels": [8, 8]}))


def test_a_picture_that_changed_is_not_taken_for_what_it_was(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small)
    Image.new("RGB", (32, 32), (9, 99, 199)).save(small / "train_HR" / "1.png")
    with pytest.raises(DataError, match="has nothing of convolution for"):
        items(config(small, experts, cache=tmp_path / "cache"))


def test_other_bands_of_a_scene_are_another_picture(tmp_path):
    path = tmp_path / "scene.tif"
    path.write_bytes(b"a scene")
    choices = ((), ("B04", "B03", "B02"), ("B03", "B04", "B02"))
    keys = {image_key(ImagePair("a", path, bands=bands), READ) for bands in choices}
    assert len(keys) == 3


def test_experts_and_pictures_are_added_to_what_is_there(small, experts, tmp_path, monkeypatch):
    fill(tmp_path / "cache", experts[:1], small)
    made = []
    original = expert_cache.load_expert
    monkeypatch.setattr(
        expert_cache, "load_expert", lambda one, **settings: made.append(one.source) or original(one, **settings)
    )
    cache = fill(tmp_path / "cache", experts, small)
    assert [facts.name for facts in cache.experts] == ["convolution", "attention"]
    assert len(cache.store(cache.experts[0], "images")) == 6
    assert len(cache.store(cache.experts[1], "images")) == 6


def test_an_expert_that_the_cache_lacks_is_an_error(small, experts, tmp_path):
    fill(tmp_path / "cache", experts[:1], small)
    with pytest.raises(DataError, match="attention"):
        open_cache(tmp_path / "cache", experts)


def test_no_cache_is_an_error_that_says_how_to_make_one(small, experts, tmp_path):
    with pytest.raises(DataError) as caught:
        items(config(small, experts, cache=tmp_path / "nothing"))
    assert "eorestore cache" in caught.value.fix


def test_a_cache_of_another_form_is_not_mixed_with(small, experts, tmp_path):
    fill(tmp_path / "cache", experts, small)
    with pytest.raises(DataError, match="form"):
        fill(tmp_path / "cache", experts, small, precision="fp32")


@pytest.mark.parametrize("data", [{"mixup": 0.5}, {"recolour": 0.5}])
def test_images_that_experts_never_saw_are_refused_with_a_cache(small, experts, tmp_path, data):
    fill(tmp_path / "cache", experts, small)
    with pytest.raises(ConfigError, match=r"data\.cache"):
        items(config(small, experts, cache=tmp_path / "cache", **data))
    assert items(config(small, experts, **data))


def test_pictures_serve_as_experts(small, tmp_path):
    for name in ("one", "two"):
        for split in ("train_HR", "val_HR"):
            folder = tmp_path / "outputs" / split / name
            folder.mkdir(parents=True)
            for path in (small / split).iterdir():
                Image.open(path).point(lambda level: level // 2).save(folder / f"{path.stem}x4.png")
    pattern = tuple(ExpertConfig(f"{tmp_path}/outputs/*/{name}") for name in ("one", "two"))
    fill(tmp_path / "cache", pattern, small)
    item = items(config(small, pattern, cache=tmp_path / "cache"))[0]
    assert torch.allclose(item["experts"][0], item["target"] / 2, atol=0.003)


def test_a_picture_of_another_size_is_no_expert(small, tmp_path):
    folder = tmp_path / "outputs" / "one"
    folder.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (16, 16)).save(folder / f"{number}.png")
    with pytest.raises(DataError, match="pixels, not"):
        fill(tmp_path / "cache", [ExpertConfig(str(folder))], small)


def test_the_number_of_experts_must_be_that_of_the_fusion(small, experts):
    with pytest.raises(ConfigError, match="names 1 experts for a fusion of 2"):
        items(config(small, experts[:1]))
