"""A network of three bands that serves any number."""

from __future__ import annotations

import pytest
import torch

from eorestore.models.band_groups import BandGroups
from eorestore.models.bicubic import BicubicSettings
from eorestore.models.light_sr import LightSR, LightSRSettings
from eorestore.models.model import Model, Output, Prepared, SceneSample
from eorestore.processing.band_grouping import group_bands
from eorestore.raster import RGB, SENTINEL2_L1C, Band, BandSet, Unit


def image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def network() -> LightSR:
    torch.manual_seed(0)
    return LightSR(LightSRSettings(channels=8, blocks=1, scale=2)).eval()


class Telling(Model):
    """Adds 1 to the first band, 2 to the second, 3 to the third, and says what it saw."""

    scale, reach, needs_scene = 1, 0, True

    def __init__(self) -> None:
        super().__init__(BicubicSettings())
        self.extras = {"sigma": 3, "edges": 2}

    def prepare(self, scene: SceneSample) -> Prepared:
        return Prepared(constants={"profile": torch.tensor([float(scene.overview["low"].shape[0])])})

    def forward(self, *, low: torch.Tensor, profile: torch.Tensor) -> Output:
        added = low + torch.tensor([1.0, 2.0, 3.0])[None, :, None, None] * profile[0]
        return Output(added, {"sigma": added, "edges": low[:, :2]})


def test_every_band_is_what_the_network_makes_of_its_group():
    grouping = group_bands(SENTINEL2_L1C, like=RGB.names)
    model, low = network(), image(2, 13, 9, 7)
    with torch.inference_mode():
        found = BandGroups(model, grouping)(low=low).image
        for band, (number, place) in enumerate(grouping.taken):
            alone = model(low=low[:, list(grouping.groups[number])]).image[:, place]
            assert torch.allclose(found[:, band], alone, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_scenes_of_few_bands_keep_their_number_of_bands(count):
    bands = BandSet(tuple(Band(f"b{number}", Unit.COUNT) for number in range(count)))
    with torch.inference_mode():
        assert BandGroups(network(), group_bands(bands, like=RGB.names))(low=image(2, count, 6, 5)).image.shape == (
            2, count, 12, 10,
        )  # fmt: skip


def test_sigma_follows_the_bands_and_other_maps_come_once_a_group():
    bands = SENTINEL2_L1C.select(("B02", "B03", "B04", "B08"))
    wrapped = BandGroups(Telling(), group_bands(bands, like=RGB.names))
    low = torch.zeros(1, 4, 3, 3)
    output = wrapped(low=low, profile=torch.ones(1, 1))
    assert output.image[0, :, 0, 0].tolist() == [3, 2, 1, 1]  # blue is third, red first; B08 leads its own group
    assert output.extras["sigma"][0, :, 0, 0].tolist() == [3, 2, 1, 1]
    assert (
        {name: value.shape[1] for name, value in output.extras.items()}
        == dict(wrapped.extras)
        == {"sigma": 4, "edges": 4}
    )


def test_what_is_learned_of_the_scene_is_learned_of_all_groups():
    wrapped = BandGroups(Telling(), group_bands(SENTINEL2_L1C, like=RGB.names))
    scene = {"low": image(1, 13, 4, 4)}
    assert wrapped.prepare(SceneSample(scene, (scene,))).constants["profile"].tolist() == [5.0]


class Agreeing(Telling):
    """Says in how many groups the bands came; its map `gates` is one for all of them."""

    needs_scene, joint = False, ("gates",)

    def __init__(self) -> None:
        super().__init__()
        self.extras = {"gates": 2, "edges": 1}

    def forward(self, *, low: torch.Tensor, together: int = 1) -> Output:
        number = torch.arange(len(low)) // together
        gates = number[:, None, None, None].expand(-1, 2, *low.shape[-2:]).float()
        return Output(low + together, {"gates": gates, "edges": low[:, :1]})


def test_a_joint_map_comes_once_and_the_network_knows_what_belongs_together():
    wrapped = BandGroups(Agreeing(), group_bands(SENTINEL2_L1C, like=RGB.names))
    output = wrapped(low=torch.zeros(2, 13, 3, 3))
    assert wrapped.extras == {"gates": 2, "edges": 5}
    assert (output.image == 5).all()
    assert output.extras["gates"].shape == (2, 2, 3, 3)
    assert output.extras["gates"][:, 0, 0, 0].tolist() == [0, 1]
    assert output.extras["edges"].shape == (2, 5, 3, 3)
