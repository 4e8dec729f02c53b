from __future__ import annotations

import pytest
import torch

from eorestore.errors import ConfigError
from eorestore.models.spa_gan import FourSweeps, SpaGan, SpaGanSettings

TINY = {"channels": 8, "entry_blocks": 1, "stages": 2, "stage_blocks": 1, "exit_blocks": 1}


def model(**changes: object) -> SpaGan:
    torch.manual_seed(0)
    return SpaGan(SpaGanSettings(**{**TINY, **changes})).eval()


def inputs(height: int = 12, width: int = 20) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "cloudy": torch.rand(2, 13, height, width, generator=generator),
        "sar": torch.rand(2, 2, height, width, generator=generator),
    }


def test_each_sweep_is_torchs_recurrent_network_with_rectified_units() -> None:
    torch.manual_seed(0)
    sweeps = FourSweeps(5)
    with torch.no_grad():
        sweeps.weights.uniform_(-1, 1)
    features = torch.randn(3, 5, 6, 9)
    found = sweeps(features)
    # A row or column is one sequence; a way back is the sequence turned round, before and after.
    for number, (axis, turned) in enumerate([(3, False), (3, True), (2, False), (2, True)]):
        network = torch.nn.RNN(5, 5, nonlinearity="relu", bias=False, batch_first=True)
        with torch.no_grad():
            network.weight_ih_l0.copy_(torch.eye(5))
            network.weight_hh_l0.copy_(torch.diag(sweeps.weights[number]))
        sequence = features.movedim(1, -1).movedim(axis - 1, 2).flatten(0, 1)
        sequence = sequence.flip(1) if turned else sequence
        states = network(sequence)[0]
        states = states.flip(1) if turned else states
        other = features.shape[5 - axis]
        expected = states.unflatten(0, (3, other)).movedim(2, axis - 1).movedim(-1, 1)
        assert torch.allclose(found[:, number], expected, atol=1e-5), number


def test_the_sweeps_start_as_the_identity_and_carry_a_bright_pixel_to_the_end_of_its_row() -> None:
    features = torch.zeros(1, 1, 5, 7)
    features[0, 0, 2, 3] = 2.0
    right, left, down, up = FourSweeps(1)(features)[0, :, 0]
    assert right[2].tolist() == [0, 0, 0, 2, 2, 2, 2]
    assert left[2].tolist() == [2, 2, 2, 2, 0, 0, 0]
    assert down[:, 3].tolist() == [0, 0, 2, 2, 2]
    assert up[:, 3].tolist() == [2, 2, 2, 0, 0]


def test_a_weight_beyond_one_cannot_make_a_long_sweep_explode_and_still_gets_its_gradient() -> None:
    sweeps = FourSweeps(1)
    with torch.no_grad():
        sweeps.weights.fill_(1.5)
    states = sweeps(torch.ones(1, 1, 2, 300))
    assert states.max() == 300
    states.sum().backward()
    assert (sweeps.weights.grad > 0).all()


def test_the_gradient_of_a_sweep_is_that_of_finite_differences() -> None:
    sweeps = FourSweeps(2).double()
    with torch.no_grad():
        sweeps.weights.copy_(torch.linspace(0.2, 0.9, 8).view(4, 2))
    features = torch.randn(1, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(sweeps, features.requires_grad_())


def test_the_attention_is_one_map_from_0_to_1() -> None:
    output = model()(**inputs())
    assert output.extras["attention"].shape == (2, 1, 12, 20)
    assert 0 < output.extras["attention"].min() < output.extras["attention"].max() < 1


def test_the_attention_decides_how_much_a_block_may_change() -> None:
    network = model(stages=1, exit_blocks=0)
    features = torch.rand(1, 8, 6, 6)
    untouched = network.stages[0](features, torch.zeros(1, 1, 6, 6))
    assert torch.equal(untouched, features)
    assert not torch.allclose(network.stages[0](features, torch.ones(1, 1, 6, 6)), features)


def test_optical_only_looks_at_no_sar_and_the_other_does() -> None:
    given = inputs()
    changed = given | {"sar": torch.full_like(given["sar"], float("nan"))}
    optical, both = model(), model(sar=True)
    assert torch.equal(optical(**given).image, optical(**changed).image)
    assert optical.optional_inputs == ("sar",)
    assert both.optional_inputs == ()
    changed = given | {"sar": given["sar"] + 0.5}
    assert not torch.allclose(both(**given).image, both(**changed).image)
    assert both.stem.in_channels == optical.stem.in_channels + 2 == 15


def test_a_pixel_in_one_corner_reaches_the_opposite_one() -> None:
    network = model().double()
    given = {key: value.double() for key, value in inputs(24, 40).items()}
    given["cloudy"].requires_grad_()
    network(**given).image[0, :, -1, -1].sum().backward()
    assert network.reach is None
    assert given["cloudy"].grad[0, :, 0, 0].any()


def test_at_three_bands_it_has_the_size_of_the_published_weights() -> None:
    published = SpaGan(SpaGanSettings(bands=3))
    # 0.9 MB of float32 for RICE, a 3 x 3 convolution (32 -> 32) that is never called among them.
    size = 4 * (sum(weight.numel() for weight in published.parameters()) + 9 * 32 * 32)
    assert size == pytest.approx(0.9e6, rel=0.05)


@pytest.mark.parametrize("changes", [{"channels": 7}, {"stages": 0}, {"stage_blocks": 0}])
def test_a_network_without_attention_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="spa-gan"):
        SpaGanSettings(**changes)
