from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from eorestore.config import RunConfig, config_hash, load_config, parse_settings
from eorestore.errors import EXIT_USAGE, ConfigError
from eorestore.plain_values import differences, write_yaml

GOOD = """
name: first
task: cloud-removal
model: {name: glf-cr, settings: {channels: 32}}
data: {synthetic: 3, cover: [0.2, 0.6]}
losses: {l1: 1, one_minus_ssim: 0.1}
training: {steps: 10, learning_rate: 1e-4, betas: [0.9, 0.99]}
"""


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    path = tmp_path / "preset.yaml"
    path.write_text(GOOD)
    return path


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == EXIT_USAGE
    return caught.value.message


def test_a_preset_becomes_frozen_dataclasses(preset: Path) -> None:
    config = load_config(preset)
    assert config.model.settings == {"channels": 32}
    assert config.data.cover == (0.2, 0.6)
    assert config.losses == {"l1": 1.0, "one_minus_ssim": 0.1}
    assert config.training.learning_rate == 1e-4
    assert config.training.betas == (0.9, 0.99)
    with pytest.raises(AttributeError):
        config.seed = 3  # type: ignore[misc]


def test_overrides_are_read_as_yaml_from_texts_and_taken_as_they_are_from_a_mapping(preset: Path) -> None:
    texts = ["training.learning_rate=5e-5", "data.cover=[0, 1]", "model.settings.heads=2", "data.root=null"]
    mapping = {
        "training.learning_rate": 5e-5, "data.cover": (0, 1), "model.settings.heads": 2, "data.root": None,
    }  # fmt: skip
    assert load_config(preset, texts) == load_config(preset, mapping)
    assert load_config(preset, texts).model.settings == {"channels": 32, "heads": 2}


def test_yaml_written_and_read_again_is_the_same_run(preset: Path, tmp_path: Path) -> None:
    config = load_config(preset)
    again = tmp_path / "again.yaml"
    again.write_text(write_yaml(config.to_dict()))
    assert load_config(again) == config
    assert load_config(again).hash == config.hash


def test_the_hash_changes_with_any_value_and_not_with_the_order() -> None:
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_unknown_keys_of_every_level_and_wrong_values_are_named_at_once(preset: Path) -> None:
    found = message(
        preset,
        "sead=1",
        "data.croop=64",
        "training.lerning_rate=1",
        "model.nmae=x",
        "training.batch=many",
        "training.ema=1.5",
        "data.drop_b10=-0.1",
        "data.cover=[0.9, 0.2]",
    )
    for words in (
        "unknown key sead (did you mean seed?)",
        "unknown key data.croop (did you mean crop?)",
        "unknown key training.lerning_rate (did you mean learning_rate?)",
        "unknown key model.nmae (did you mean name?)",
        "training.batch: input should be a valid integer, found 'many'",
        "training.ema: input should be less than 1",
        "data.drop_b10: input should be greater than or equal to 0",
    ):
        assert words in found
    assert len(found.split("; ")) == 7  # the order of cover is looked at once the values of data are right
    assert "cover is (least, largest)" in message(preset, "data.cover=[0.9, 0.2]", "data.croop=64")


def test_an_unknown_key_without_a_near_one_lists_the_known(preset: Path) -> None:
    assert "unknown key zzzz (known: name, task, model" in message(preset, "zzzz=1")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.steps=true", "training.steps: input should be a valid integer, found True"),
        ("training.steps='7'", "training.steps: input should be a valid integer, found '7'"),
        ("training.steps=0", "training.steps: input should be greater than or equal to 1, found 0"),
        ("training.precision=fp16", "training.precision: input should be 'fp32' or 'bf16', found 'fp16'"),
        ("training.learning_rate=.nan", "training.learning_rate is nan, not a finite number"),
        ("training.learning_rate=.inf", "training.learning_rate is inf, not a finite number"),
        ("training.trackers=[mlflow]", "training.trackers.0"),
        ("training.warmup=11", "training: warmup 11 is longer than steps 10"),
        ("losses={}", "losses"),
        ("losses.l1=0", "losses.l1: input should be greater than 0"),
        ("gpu=maybe", "gpu: input should be 'wanted' or 'not needed'"),
        ("data.synthetic=0", "no data: give manifest, or synthetic scenes, or both"),
        ("name=2026-01-01", "not JSON serializable"),
        ("model=glf-cr", "model: "),
        ("model.name.x=1", "model.name.x: name is 'glf-cr' and has no keys"),
        ("training.steps", "has no key=value"),
        ("training.steps=[1", "is not YAML"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(preset: Path, override: str, words: str) -> None:
    assert words in message(preset, override)


STAGES = "[{start: 0.25, losses: {l1: 0.8, swt: 0.1}}, {start: 0.5, losses: {l1: 0.5, one_minus_ssim: 0.2}}]"


def test_stages_of_losses_are_read_in_order_and_all_their_losses_known(preset: Path, tmp_path: Path) -> None:
    config = load_config(preset, [f"stages={STAGES}", "training.best_by=psnr"])
    assert [(stage.start, stage.losses) for stage in config.stages] == [
        (0.25, {"l1": 0.8, "swt": 0.1}), (0.5, {"l1": 0.5, "one_minus_ssim": 0.2}),
    ]  # fmt: skip
    assert config.loss_names == ("l1", "one_minus_ssim", "swt")
    again = tmp_path / "again.yaml"
    again.write_text(write_yaml(config.to_dict()))
    assert load_config(again) == config


def test_a_run_without_stages_keeps_the_hash_that_it_had_before_there_were_any(preset: Path) -> None:
    config = load_config(preset)
    assert "stages" not in config.to_dict()
    assert load_config(preset, ["stages=[]"]).hash == config.hash
    assert load_config(preset, [f"stages={STAGES}", "training.best_by=psnr"]).hash != config.hash


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("[{start: 0.5, losses: {l1: 1}}, {start: 0.5, losses: {l1: 2}}]", "stages start one after another"),
        ("[{start: 0.6, losses: {l1: 1}}, {start: 0.4, losses: {l1: 2}}]", "found 0.6, 0.4"),
        ("[{start: 0, losses: {l1: 1}}]", "stages.0.start: input should be greater than 0"),
        ("[{start: 1, losses: {l1: 1}}]", "stages.0.start: input should be less than 1"),
        ("[{start: 0.5, losses: {}}]", "stages.0.losses: "),
        ("[{start: 0.5, losses: {l1: -1}}]", "stages.0.losses.l1: input should be greater than 0"),
        ("[{start: 0.5}]", "stages.0.losses is missing"),
        ("[{strat: 0.5, losses: {l1: 1}}]", "unknown key stages.0.strat (did you mean start?)"),
        ("[0.5]", "stages.0: "),
        ("{start: 0.5}", "stages: "),
    ],
)
def test_a_wrong_stage_is_named_with_its_place(preset: Path, stages: str, words: str) -> None:
    assert words in message(preset, f"stages={stages}", "training.best_by=psnr")


def test_the_best_of_a_staged_run_is_not_chosen_by_a_loss_that_changes(preset: Path) -> None:
    assert "training.best_by is loss, which means another thing in every stage" in message(preset, f"stages={STAGES}")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text("name: x\nmodel: {}\ndata: {synthetic: 1}\nlosses: {l1: 1}\n")
    found = message(path)
    assert "task is missing" in found
    assert "model.name is missing" in found


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [1", "is not YAML"), ("", "holds no keys"), ("seed: 1\nseed: 2", "key seed is given twice")],
)
def test_a_file_that_is_no_preset_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert words in message(path)


def test_a_preset_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no preset at" in message(tmp_path / "none.yaml")


def test_a_preset_cannot_make_python_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []")
    assert "is not YAML" in message(path)


def test_differences_name_dotted_keys(preset: Path) -> None:
    config = load_config(preset)
    other = replace(config, seed=3, training=replace(config.training, steps=11))
    assert differences(config.to_dict(), other.to_dict()) == {"seed": (0, 3), "training.steps": (10, 11)}
    assert differences(config.to_dict(), config.to_dict()) == {}


def test_any_nested_dataclass_forbids_unknown_keys() -> None:
    @dataclass(frozen=True)
    class Settings:
        channels: int = 4
        where: tuple[int, ...] = field(default=())

    assert parse_settings(Settings, {"where": [1, 2]}, source="x") == Settings(4, (1, 2))
    with pytest.raises(ConfigError, match=r"unknown key chanels \(did you mean channels\?\)"):
        parse_settings(Settings, {"chanels": 3}, source="x")


def test_every_preset_of_the_repository_is_valid() -> None:
    presets = sorted((Path(__file__).parents[1] / "presets").glob("*.yaml"))
    assert presets
    for path in presets:
        config = load_config(path)
        assert isinstance(config, RunConfig)
        assert config.name == path.stem
