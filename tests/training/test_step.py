import pytest
import torch
from toy_training import ToyModel, ToySettings, train_toy

from eorestore.errors import TrainingError
from eorestore.models.model import Output
from eorestore.training.step import answers_of, check_answers


def seen(target: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"target": target, "valid": torch.ones(target.shape[0], 1, *target.shape[2:], dtype=torch.bool)}


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_a_faint_but_honest_answer_counts():
    assert answers_of(0.5 + 0.01 * images(), seen(images())).tolist() == [3, 3]


@pytest.mark.parametrize(
    "constant",
    [
        torch.full((3, 2, 8, 8), 0.3),
        images()[:1].expand(3, -1, -1, -1),  # a pattern, but the same for all: what zero padding draws
        torch.tensor([0.1, 0.5, 0.9])[:, None, None, None].expand(3, 2, 8, 8),  # the mean of each, no more
    ],
    ids=["constant", "one pattern", "means alone"],
)
def test_an_output_that_does_not_depend_on_the_input_is_no_answer(constant):
    assert answers_of(constant, seen(images(1))).tolist() == [0, 3]


def test_what_lies_outside_the_valid_pixels_is_no_answer():
    batch = seen(images(1))
    batch["valid"][..., 4:] = False
    constant = torch.full((3, 2, 8, 8), 0.3)
    constant[..., 4:] = images()[..., 4:]
    assert answers_of(constant, batch).tolist() == [0, 3]


def test_one_item_alone_and_a_constant_target_are_not_judged():
    assert answers_of(torch.zeros(1, 2, 8, 8), seen(images(1)[:1])).tolist() == [0, 0]
    assert answers_of(torch.zeros(3, 2, 8, 8), seen(torch.ones(3, 2, 8, 8))).tolist() == [0, 0]


def test_a_validation_without_any_answer_ends_the_training():
    check_answers(torch.tensor([1, 4]), step=7)
    check_answers(torch.tensor([0, 0]), step=7)
    with pytest.raises(TrainingError, match="turned constant: after step 7"):
        check_answers(torch.tensor([0, 4]), step=7)


class Collapsed(ToyModel):
    """Learns one picture, whatever goes in."""

    def __init__(self) -> None:
        super().__init__(ToySettings())
        self.picture = torch.nn.Parameter(torch.rand(3, 8, 8))

    def forward(self, *, cloudy: torch.Tensor, sar: torch.Tensor) -> Output:  # noqa: ARG002 - the contract
        return Output(self.picture.expand_as(cloudy))


def test_a_network_that_collapsed_is_stopped_at_its_first_validation(tmp_path):
    with pytest.raises(TrainingError, match="turned constant: after step 5"):
        train_toy(tmp_path / "run", model=Collapsed(), ema=0.0)
    assert not (tmp_path / "run" / "best").exists()
