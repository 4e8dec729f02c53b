from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_training import SETTINGS, ToyModel, ToySamples, ToySettings, l1, train_toy

from eorestore.config import AdversaryConfig, RunConfig, load_config
from eorestore.errors import ConfigError, EorestoreError, TrainingError
from eorestore.losses.weighted import WeightedSum
from eorestore.models.model import Output
from eorestore.training.adversary import Adversary, smoke_adversary
from eorestore.training.fit import FitResult
from eorestore.training.log import read_log

Train = Callable[..., FitResult]
CONFIG = AdversaryConfig(weight=0.2, learning_rate=0.02, channels=4, layers=1)


class ValidSamples(ToySamples):
    """The toy's items with a strip that is not valid."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = super().__getitem__(index)
        valid = torch.ones(1, 8, 8, dtype=torch.bool)
        valid[..., :2] = False
        return item | {"valid": valid}


class Broken(Exception):  # noqa: N818 - not an error: it breaks a training off, as a kill would
    pass


@pytest.fixture(name="train")
def _train(tmp_path: Path) -> Train:
    def train(name: str, **changes: object) -> FitResult:
        samples = {"train": ValidSamples(7), "validation": ValidSamples(3)}
        return train_toy(tmp_path / name, **{**samples, "adversary": CONFIG, "log_every": 1, **changes})

    return train


def adversary(*, accumulate: int = 1, sample: Mapping[str, Tensor] | None = None, **changes: object) -> Adversary:
    return Adversary(
        replace(CONFIG, **changes),
        replace(SETTINGS, accumulate=accumulate, gradient_clip=0.0),
        sample=ValidSamples(1)[0] if sample is None else sample,
        names=("cloudy", "sar"),
        seed=1,
        device=torch.device("cpu"),
        average=lambda values: values,
    )


def batch_of(count: int, start: int = 0) -> dict[str, Tensor]:
    items = [ValidSamples(count + start)[index] for index in range(start, start + count)]
    return {name: torch.stack([item[name] for item in items]) for name in items[0]}


def tensors(run: Path) -> dict[str, Tensor]:
    (folder,) = (run / "state").glob("step-*")
    return {
        f"{file.stem}/{name}": value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()
    }


def rows(run: Path) -> list[dict]:
    return [row for row in read_log(run / "metrics.jsonl") if row["kind"] == "train"]


def assert_bit_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


def test_the_discriminator_learns_to_tell_restored_images_from_real_ones() -> None:
    rival, batch = adversary(kind="hinge"), batch_of(8)
    values = []
    for _ in range(60):
        rival.loss(Output(0.5 * batch["target"]), batch)
        values.append(rival.learn().item())
        rival.clip()
        rival.update(1.0)
    assert values[0] > 1.5
    assert values[-1] < 0.3


def test_a_model_that_follows_the_term_alone_comes_to_look_real_to_the_discriminator() -> None:
    rival = adversary(kind="bce", condition=False)
    batch = batch_of(4)
    for _ in range(60):
        rival.loss(Output(0.2 * batch["target"]), batch)
        rival.learn()
        rival.clip()
        rival.update(1.0)
    image = (0.2 * batch["target"]).requires_grad_()
    mover = torch.optim.Adam([image], lr=0.02)
    first = rival.loss(Output(image), batch).item()
    for _ in range(30):
        mover.zero_grad()
        rival.loss(Output(image), batch).backward()
        mover.step()
    assert rival.loss(Output(image), batch).item() < 0.5 * first


def test_pixels_that_are_not_valid_change_neither_loss_and_get_no_gradient() -> None:
    batch = batch_of(2)
    outside = ~batch["valid"].expand(2, 3, 8, 8)
    image = torch.rand(2, 3, 8, 8)
    values = []
    for poison in (0.0, 7.0, float("nan")):
        rival = adversary()
        changed = image.clone()
        changed[outside] = poison
        changed.requires_grad_()
        term = rival.loss(Output(changed), batch)
        term.backward()
        assert (changed.grad[outside] == 0).all()
        assert changed.grad[~outside].any()
        values.append((term.item(), rival.learn().item()))
    assert values[0] == values[1] == values[2]


def test_a_target_that_is_nan_where_it_is_not_valid_does_no_harm() -> None:
    batch = batch_of(2)
    batch["target"][~batch["valid"].expand_as(batch["target"])] = float("nan")
    rival = adversary()
    assert torch.isfinite(rival.loss(Output(torch.rand(2, 3, 8, 8)), batch))
    assert torch.isfinite(rival.learn())


def test_the_model_s_turn_leaves_no_gradient_in_the_discriminator() -> None:
    rival = adversary()
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    rival.loss(Output(image), batch_of(2)).backward()
    assert all(weight.grad is None for weight in rival.discriminator.parameters())
    image.grad = None
    rival.learn()
    assert all(weight.grad is not None for weight in rival.discriminator.parameters())
    assert image.grad is None


@pytest.mark.parametrize(("condition", "bands"), [(True, 8), (False, 3)])
def test_with_a_condition_it_sees_what_the_model_sees(*, condition: bool, bands: int) -> None:
    rival = adversary(condition=condition)
    assert rival.discriminator.settings.bands == bands
    batch = batch_of(2)
    image = Output(torch.rand(2, 3, 8, 8))
    before = rival.loss(image, batch)
    assert (rival.loss(image, batch | {"cloudy": 1 - batch["cloudy"]}) != before) == condition


def test_missing_sar_is_zero_to_the_discriminator() -> None:
    rival, batch = adversary(), batch_of(2)
    image = Output(torch.rand(2, 3, 8, 8))
    missing = rival.loss(image, batch | {"sar": torch.full_like(batch["sar"], float("nan"))})
    assert missing == rival.loss(image, batch | {"sar": torch.zeros_like(batch["sar"])})


def test_gradients_of_accumulated_batches_are_those_of_one_large_batch() -> None:
    images = torch.rand(4, 3, 8, 8)
    whole, parts = adversary(), adversary(accumulate=2)
    whole.loss(Output(images), batch_of(4))
    whole.learn()
    for start in (0, 2):
        parts.loss(Output(images[start : start + 2]), batch_of(2, start))
        parts.learn()
    for ours, theirs in zip(whole.discriminator.parameters(), parts.discriminator.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)


def test_the_seed_decides_its_weights_and_the_global_state_stays() -> None:
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    first, second = adversary(), adversary()
    assert torch.equal(torch.rand(1), expected)
    assert_bit_equal(first.discriminator.state_dict(), second.discriminator.state_dict())


def test_both_losses_are_logged_and_the_total_is_the_weighted_sum(train: Train, tmp_path: Path) -> None:
    train("run")
    for row in rows(tmp_path / "run"):
        expected = row["loss_l1"] + 0.5 * row["loss_l2"] + 0.2 * row["loss_adversarial"]
        assert row["loss"] == pytest.approx(expected, rel=1e-5)
        assert row["loss_discriminator"] > 0


def test_validation_knows_nothing_of_the_adversary(train: Train, tmp_path: Path) -> None:
    seen: list[bool] = []

    def watch(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
        seen.append(output.image.requires_grad)
        return l1(output, batch)

    result = train("run", losses=WeightedSum({"l1": watch}, {"l1": 1.0}), metrics={})
    assert set(result.scores) == {"loss"}
    (newest,) = [row for row in read_log(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validation"][-1:]
    assert "loss_adversarial" not in newest
    assert set(seen) == {True, False}


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("start_step", [0, 5])
def test_k_steps_and_the_rest_equal_all_steps_bit_by_bit(
    train: Train, tmp_path: Path, accumulate: int, start_step: int
) -> None:
    options = {"accumulate": accumulate, "adversary": replace(CONFIG, start_step=start_step)}

    def stop(record: dict) -> None:
        if record["step"] >= 6:
            raise Broken

    train("whole", **options)
    with pytest.raises(Broken):
        train("broken", **options, report=stop)  # the state stands at step 4
    train("broken", **options, resume=True)
    whole = tensors(tmp_path / "whole")
    assert {"discriminator/body.0.weight", "discriminator-optimizer/exp_avg.body.0.weight"} <= whole.keys()
    assert_bit_equal(whole, tensors(tmp_path / "broken"))
    logs = [[{k: v for k, v in row.items() if "second" not in k and "_per_s" not in k} for row in rows(tmp_path / run)]
            for run in ("whole", "broken")]  # fmt: skip
    assert logs[0] == logs[1]


def test_before_its_first_step_the_run_is_the_one_without_it_bit_by_bit(train: Train, tmp_path: Path) -> None:
    train("none", adversary=None)
    train("late", adversary=replace(CONFIG, start_step=10))
    none, late = tensors(tmp_path / "none"), tensors(tmp_path / "late")
    assert_bit_equal(none, {name: value for name, value in late.items() if not name.startswith("discriminator")})
    train("soon", adversary=replace(CONFIG, start_step=9))
    assert not torch.equal(none["weights/body.0.weight"], tensors(tmp_path / "soon")["weights/body.0.weight"])
    assert ["loss_adversarial" in row for row in rows(tmp_path / "soon")] == [False] * 9 + [True]


def test_a_run_without_adversary_has_no_file_of_it(train: Train, tmp_path: Path) -> None:
    train("run", adversary=None)
    (folder,) = (tmp_path / "run" / "state").glob("step-*")
    assert not list(folder.glob("discriminator*"))
    assert all("loss_adversarial" not in row and "loss_discriminator" not in row for row in rows(tmp_path / "run"))


def test_smoke_brings_it_in(train: Train, tmp_path: Path) -> None:
    train("run", smoke=True, adversary=replace(CONFIG, start_step=5000))
    assert ["loss_discriminator" in row for row in rows(tmp_path / "run")] == [False, True, True]
    assert smoke_adversary(None) is None


def test_bf16_trains_a_float32_discriminator(train: Train, tmp_path: Path) -> None:
    train("run", precision="bf16")
    kept = tensors(tmp_path / "run")
    assert {value.dtype for name, value in kept.items() if name.startswith("discriminator")} == {torch.float32}


def test_its_rate_follows_the_schedule(train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = []
    update = Adversary.update

    def watch(self: Adversary, share: float) -> None:
        update(self, share)
        shares.append((share, self.optimizer.param_groups[0]["lr"]))

    monkeypatch.setattr(Adversary, "update", watch)
    train("run")
    assert [rate for _, rate in shares] == pytest.approx([0.02 * share for share, _ in shares])
    rates = [row["lr"] / SETTINGS.learning_rate for row in rows(tmp_path / "run")]
    assert [share for share, _ in shares] == pytest.approx(rates)


def test_a_discriminator_that_turns_nan_stops_the_run_by_name(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    learn = Adversary.learn
    monkeypatch.setattr(Adversary, "learn", lambda self: learn(self) * float("nan"))
    with pytest.raises(TrainingError, match="loss discriminator is nan at step 0"):
        train("run")


def test_a_run_cannot_go_on_with_another_adversary_or_without(train: Train) -> None:
    train("run", steps=3)
    for other in (replace(CONFIG, kind="hinge"), None):
        with pytest.raises(TrainingError, match="adversary was"):
            train("run", steps=3, adversary=other, resume=True)


def test_a_torn_discriminator_is_refused(train: Train, tmp_path: Path) -> None:
    train("run", steps=3)
    (folder,) = (tmp_path / "run" / "state").glob("step-*")
    (folder / "discriminator.safetensors").unlink()
    with pytest.raises(TrainingError, match="does not fit this run"):
        train("run", resume=True)


class Blind(ToyModel):
    def forward(self, *, target: Tensor) -> Output:
        return Output(target + self.unused.sum())


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"adversary": replace(CONFIG, layers=2)}, ConfigError, "images of 12 pixels a side with layers 2"),
        ({"model": Blind(ToySettings())}, TrainingError, "is to see cloudy or sar; the model takes target"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(
    train: Train, changes: dict, kind: type[EorestoreError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        train("run", **changes)


PRESET = """
name: x
task: cloud-removal
model: {name: sar-opt-cgan, settings: {channels: 4, depth: 3}}
data: {synthetic: 1}
losses: {l1: 100.0}
adversary: {weight: 1.0, kind: hinge}
"""


def preset(tmp_path: Path, *overrides: str) -> RunConfig:
    (tmp_path / "x.yaml").write_text(PRESET)
    return load_config(tmp_path / "x.yaml", overrides)


def test_a_preset_names_its_adversary_and_keeps_it_through_json(tmp_path: Path) -> None:
    config = preset(tmp_path, "adversary.start_step=7")
    assert config.adversary == AdversaryConfig(weight=1.0, kind="hinge", start_step=7)
    assert json.loads(json.dumps(config.to_dict()))["adversary"]["kind"] == "hinge"
    assert preset(tmp_path, "adversary=null").adversary is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("adversary.wieght=1", r"unknown key adversary.wieght \(did you mean weight\?\)"),
        ("adversary.weight=0", "adversary.weight: input should be greater than 0"),
        ("adversary.kind=wgan", "adversary.kind: input should be 'hinge', 'bce' or 'lsgan'"),
        ("adversary.condition=1", "adversary.condition: input should be a valid boolean"),
        ("adversary={}", "adversary.weight is missing"),
        ("adversary=true", "adversary: "),
    ],
)
def test_a_wrong_adversary_is_named_with_its_key(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        preset(tmp_path, override)
