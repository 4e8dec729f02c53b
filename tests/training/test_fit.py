from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy_training import SETTINGS, ToyModel, ToySamples, ToySettings, l1, save_weights, train_toy

from eorestore.errors import DataError, EorestoreError, TrainingError, UnknownNameError, WriteError
from eorestore.losses.weighted import WeightedSum
from eorestore.models.model import Model, Output
from eorestore.training.fit import FitResult, smoke_settings
from eorestore.training.log import read_log

Train = Callable[..., FitResult]


@pytest.fixture(name="train_toy")
def _train_toy(tmp_path: Path) -> Train:
    def train(name: str, **changes: object) -> FitResult:
        return train_toy(tmp_path / name, **changes)

    return train


class Broken(Exception):  # noqa: N818 - not an error: it breaks a training off, as a kill would
    pass


def stop_at(step: int) -> Callable[[dict], None]:
    def report(record: dict) -> None:
        if record["step"] >= step:
            raise Broken

    return report


def tensors(run: Path) -> dict[str, Tensor]:
    """Every tensor of the newest state: weights, averaged weights, moments of the optimiser."""
    (folder,) = (run / "state").glob("step-*")
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= {f"{file.stem}/{name}": value for name, value in load_file(file).items()}
    return found


def assert_bit_equal(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name, value in first.items() if not torch.equal(value, second[name])]
    assert different == []


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("channels_last", [True, False])
def test_k_steps_and_the_rest_equal_all_steps_bit_by_bit(
    train_toy: Train, tmp_path: Path, accumulate: int, channels_last: bool
) -> None:
    options = {"accumulate": accumulate, "channels_last": channels_last, "log_every": 1}
    whole = train_toy("whole", **options)
    with pytest.raises(Broken):
        train_toy("broken", **options, report=stop_at(6))  # the state stands at step 4
    parts = train_toy("broken", **options, resume=True)
    assert_bit_equal(tensors(tmp_path / "whole"), tensors(tmp_path / "broken"))
    assert parts.scores == whole.scores
    assert parts.best == whole.best
    for name in ("best", "last"):
        assert_bit_equal(
            load_file(tmp_path / "whole" / name / "model.safetensors"),
            load_file(tmp_path / "broken" / name / "model.safetensors"),
        )


def test_the_state_holds_weights_averaged_weights_and_moments(train_toy: Train, tmp_path: Path) -> None:
    train_toy("run")
    names = tensors(tmp_path / "run")
    assert {name.split("/")[0] for name in names} == {"weights", "averaged", "optimizer"}
    assert {"optimizer/exp_avg.body.0.weight", "optimizer/step.body.0.weight"} <= names.keys()


def test_a_resumed_run_loads_no_item_twice(train_toy: Train) -> None:
    whole = ToySamples(7)
    train_toy("whole", train=whole)
    with pytest.raises(Broken):
        train_toy("broken", log_every=1, report=stop_at(6))
    rest = ToySamples(7)
    train_toy("broken", log_every=1, train=rest, resume=True)
    # the first item asked for shows the keys of a sample; updates 0 to 3 took 8 items
    assert rest.asked[1:] == whole.asked[1 + 8 :]


def test_the_log_of_a_resumed_run_names_every_step_once(train_toy: Train, tmp_path: Path) -> None:
    with pytest.raises(Broken):
        train_toy("run", log_every=1, report=stop_at(7))
    train_toy("run", log_every=1, resume=True)
    records = list(read_log(tmp_path / "run" / "metrics.jsonl"))
    assert [row["step"] for row in records if row["kind"] == "train"] == list(range(1, 11))
    assert [row["step"] for row in records if row["kind"] == "validation"] == [5, 10]


def test_every_loss_term_is_logged_by_name_and_the_total_is_their_weighted_sum(
    train_toy: Train, tmp_path: Path
) -> None:
    train_toy("run")
    for row in read_log(tmp_path / "run" / "metrics.jsonl"):
        if row["kind"] == "train":
            assert row["loss"] == pytest.approx(row["loss_l1"] + 0.5 * row["loss_l2"], rel=1e-5)
            assert {"lr", "grad_norm", "images_per_s", "seconds"} <= row.keys()


def test_dropout_is_on_in_training_and_off_in_validation(train_toy: Train) -> None:
    seen: list[tuple[bool, bool]] = []

    def watch(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
        seen.append((output.image.requires_grad, model.training))
        return l1(output, batch)

    model = ToyModel(ToySettings())
    train_toy("run", model=model, losses=WeightedSum({"l1": watch}, {"l1": 1.0}), ema=0.0)
    assert set(seen) == {(True, True), (False, False)}


def test_averaged_weights_of_a_short_training_are_not_those_of_its_start(train_toy: Train, tmp_path: Path) -> None:
    model = ToyModel(ToySettings())
    first = {name: value.clone() for name, value in model.state_dict().items()}
    train_toy("run", model=model, ema=0.999, steps=40, learning_rate=0.02)
    found = tensors(tmp_path / "run")
    averaged = {name.rsplit("module.", 1)[1]: value for name, value in found.items() if name.startswith("averaged/mod")}
    assert averaged.keys() == first.keys()
    last = dict(model.named_parameters())
    moved = sum(float((value.detach() - first[name]).norm()) for name, value in last.items())
    behind = sum(float((value.detach() - averaged[name]).norm()) for name, value in last.items())
    assert 0 < behind < 0.3 * moved


def test_accumulated_batches_equal_one_large_batch(train_toy: Train) -> None:
    class Linear(ToyModel):
        def __init__(self, settings: ToySettings) -> None:
            super().__init__(settings)
            self.body = torch.nn.Conv2d(5, 3, 1)

    models = []
    for name, batch, accumulate in (("large", 4, 1), ("small", 2, 2)):
        torch.manual_seed(0)
        models.append(Linear(ToySettings()))
        train_toy(name, model=models[-1], train=ToySamples(8), batch=batch, accumulate=accumulate, steps=4)
    assert torch.allclose(models[0].body.weight, models[1].body.weight, atol=1e-6)


def test_training_makes_the_loss_smaller(train_toy: Train, tmp_path: Path) -> None:
    train_toy("run", steps=60, train=ToySamples(16))
    losses = [row["loss"] for row in read_log(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "train"]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_averaged_weights_are_those_of_the_published_rule(train_toy: Train, tmp_path: Path) -> None:
    history = []

    def remember(_: object) -> None:
        history.append(model.body[0].weight.detach().clone())

    model = ToyModel(ToySettings())
    train_toy("run", model=model, steps=6, log_every=1, validate_every=100, report=remember, warmup=0, ema=0.3)
    expected = history[0]
    for updates, weight in enumerate(history[1:6], start=1):
        decay = min(0.3, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * weight
    kept = load_file(tmp_path / "run" / "last" / "model.safetensors")["body.0.weight"]
    assert torch.allclose(kept, expected, atol=1e-6)
    assert not torch.allclose(kept, model.body[0].weight, atol=1e-4)


def test_bf16_trains_with_float32_weights_and_outputs(train_toy: Train) -> None:
    seen = set()

    def watch(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
        seen.add(output.image.dtype)
        return l1(output, batch)

    model = ToyModel(ToySettings())
    inner = []
    model.body[0].register_forward_hook(lambda _module, _inputs, output: inner.append(output.dtype))
    train_toy("run", model=model, precision="bf16", losses=WeightedSum({"l1": watch}, {"l1": 1.0}))
    assert seen == {torch.float32}
    assert set(inner) == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_the_gradient_is_clipped_to_the_norm_asked_for(train_toy: Train) -> None:
    norms = []

    class Watched(torch.optim.AdamW):
        def step(self, *args, **kwargs):
            gradients = [w.grad for group in self.param_groups for w in group["params"] if w.grad is not None]
            norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())
            return super().step(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "AdamW", Watched)
        train_toy("run", gradient_clip=1e-3)
    assert norms
    assert max(norms) == pytest.approx(1e-3, rel=1e-2)


def test_a_loss_that_turns_nan_stops_the_run_and_names_step_items_term_and_input(train_toy: Train) -> None:
    with pytest.raises(TrainingError) as caught:
        train_toy("run", train=ToySamples(7, poison=4), steps=40)
    message = caught.value.message
    assert "loss l1, l2 is nan" in message
    assert "cloudy of the batch" in message
    items = json.loads(message.split("items ")[1].split(")")[0])
    assert 4 in items


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_take_it(train_toy: Train) -> None:
    def root(output: Output, batch: Mapping[str, Tensor]) -> Tensor:
        return (output.image * 0).sum().sqrt() + l1(output, batch)

    model = ToyModel(ToySettings())
    with pytest.raises(TrainingError, match="gradient norm is nan at step 0"):
        train_toy("run", model=model, losses=WeightedSum({"root": root}, {"root": 1.0}))
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_the_best_k_stand_in_their_order_and_nothing_else(train_toy: Train, tmp_path: Path) -> None:
    result = train_toy("run", validate_every=1, keep_best=3, best_by="mae")
    scores = {
        row["step"]: row["mae"] for row in read_log(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "validation"
    }
    expected = sorted(scores, key=scores.__getitem__)[:3]
    assert [kept.step for kept in result.best] == expected
    for step, folder in zip(expected, ("best", "best-2", "best-3"), strict=True):
        assert repr(scores[step]) in (tmp_path / "run" / folder / "scores.txt").read_text()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "best", "best-2", "best-3", "last", "state", "pictures", "config.yaml", "metrics.jsonl",
    }  # fmt: skip


def test_the_same_items_are_drawn_at_every_validation(train_toy: Train, tmp_path: Path) -> None:
    import matplotlib.image

    train_toy("run", steps=10)
    first, second = sorted((tmp_path / "run" / "pictures").glob("*.png"))
    assert [first.name, second.name] == ["step-00000005.png", "step-00000010.png"]
    one, two = matplotlib.image.imread(first), matplotlib.image.imread(second)
    assert one.shape[:2] == (2 * 8 + 4, 4 * 8 + 3 * 4)
    prediction = slice(2 * 12, 2 * 12 + 8)
    assert (one[:, :20] == two[:, :20]).all()  # input and SAR
    assert (one[:, 36:] == two[:, 36:]).all()  # target
    assert (one[:, prediction] != two[:, prediction]).any()


def test_smoke_takes_seconds_and_leaves_every_part(train_toy: Train, tmp_path: Path) -> None:
    result = train_toy("run", smoke=True, steps=100_000, warmup=5000, batch=7)
    assert result.steps == 3
    for name in ("best", "last", "state", "pictures", "metrics.jsonl", "config.yaml"):
        assert (tmp_path / "run" / name).exists()


def test_smoke_keeps_what_it_need_not_change() -> None:
    assert smoke_settings(SETTINGS).learning_rate == SETTINGS.learning_rate


def test_loader_processes_do_not_change_the_result(train_toy: Train, tmp_path: Path) -> None:
    train_toy("alone")
    train_toy("helped", workers=1)
    assert_bit_equal(tensors(tmp_path / "alone"), tensors(tmp_path / "helped"))


def test_the_random_state_of_the_caller_is_left_as_it_was(train_toy: Train) -> None:
    model = ToyModel(ToySettings())
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(3)  # what the fixture does before it trains
    ToyModel(ToySettings())
    following = torch.rand(3)
    train_toy("run", model=model, steps=2, warmup=0)
    assert torch.equal(torch.rand(3), following)
    assert not torch.equal(expected, following)


def test_tensorboard_gets_the_numbers_of_the_log(train_toy: Train, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_toy("run", trackers=("tensorboard",))
    events = EventAccumulator(str(tmp_path / "run" / "trackers"))
    events.Reload()
    logged = [row["loss_l1"] for row in read_log(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "train"]
    assert [event.value for event in events.Scalars("train/loss_l1")] == pytest.approx(logged)


class Needy(ToyModel):
    def forward(self, *, cloudy: Tensor, elevation: Tensor) -> Output:
        return Output(cloudy + elevation)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"best_by": "psmr"}, UnknownNameError, "psmr"),
        ({"batch": 8}, DataError, "7 items, fewer than a batch of 8"),
        ({"model": Needy(ToySettings())}, TrainingError, "takes elevation; the samples hold cloudy, mask, sar"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(
    train_toy: Train, changes: dict, kind: type[EorestoreError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        train_toy("run", **changes)


def test_a_run_is_not_overwritten(train_toy: Train) -> None:
    train_toy("run", steps=3)
    with pytest.raises(WriteError, match="holds a run already"):
        train_toy("run", steps=3)


def test_a_run_with_another_seed_cannot_be_resumed(train_toy: Train) -> None:
    train_toy("run", steps=3)
    with pytest.raises(TrainingError, match="seed was 5, now 6"):
        train_toy("run", seed=6, resume=True)


def test_a_finished_run_resumes_to_itself(train_toy: Train, tmp_path: Path) -> None:
    done = train_toy("run")
    before = tensors(tmp_path / "run")
    again = train_toy("run", resume=True)
    assert again.steps == done.steps
    assert_bit_equal(before, tensors(tmp_path / "run"))


_KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import torch
from toy_training import train_toy
torch.set_num_threads(1)
train_toy(Path({run!r}), steps=100000, schedule="constant", checkpoint_every=1, log_every=1)
"""


def test_kill_9_loses_at_most_one_interval(train_toy: Train, tmp_path: Path) -> None:
    run = tmp_path / "killed"
    script = _KILLED.format(tests=str(Path(__file__).parent), run=str(run))
    child = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not (run / "last").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.21)  # saving takes most of the time here, so a kill at any moment is likely to hit it
    child.send_signal(signal.SIGKILL)
    child.wait()
    logged = max(row["step"] for row in read_log(run / "metrics.jsonl"))
    (*_, newest) = sorted((run / "state").glob("step-*"))
    stood = int(newest.name.removeprefix("step-"))
    assert stood in (logged - 1, logged, logged + 1)
    steps = stood + 2
    options = {"schedule": "constant", "steps": steps, "checkpoint_every": 1, "log_every": 1}
    train_toy("killed", **options, resume=True)
    train_toy("whole", **options)
    assert_bit_equal(tensors(tmp_path / "whole"), tensors(run))
    assert not [path for path in run.rglob(".*") if path.name != ".gitignore"]


@pytest.mark.parametrize("name", [".last.partial", ".best.partial"])
def test_a_checkpoint_that_a_killed_process_left_half_written_is_replaced(
    train_toy: Train, tmp_path: Path, name: str
) -> None:
    left = tmp_path / "run" / name
    left.mkdir(parents=True)
    (left / "half.safetensors").write_bytes(b"torn")
    train_toy("run")
    assert not list((tmp_path / "run").rglob("half.safetensors"))
    assert not left.exists()


def test_a_checkpoint_gets_the_model_ready_for_use(train_toy: Train) -> None:
    modes = []

    def save(folder: Path, model: Model, scores: Mapping[str, float]) -> None:
        modes.append(model.training)
        save_weights(folder, model, scores)

    train_toy("run", save_checkpoint=save)
    train_toy("plain", save_checkpoint=save, ema=0.0)
    assert set(modes) == {False}
