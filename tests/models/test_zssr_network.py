"""The network of ZSSR: as large as the paper's, and bicubic enlargement at the start."""

from __future__ import annotations

import pytest
import torch

from eorestore.errors import ConfigError
from eorestore.layers.resampling import enlarge
from eorestore.models.table import build_model
from eorestore.models.zssr import ZssrNetworkSettings


def parameters(**settings):
    return sum(weight.numel() for weight in build_model("zssr", settings).parameters())


def test_of_three_bands_it_has_the_papers_number_of_parameters():
    assert parameters() == 224_640


@pytest.mark.parametrize("bands", [1, 4, 13])
def test_other_bands_change_its_first_and_its_last_layer(bands):
    assert parameters(bands=bands, scale=4) == 9 * 64 * (2 * bands + 6 * 64)


def test_it_starts_near_bicubic_enlargement():
    low = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    image = build_model("zssr", {"scale": 3})(low=low).image
    change = (image - enlarge(low, factor=3)).abs().max()
    assert 0 < change < 0.05


def test_zeros_stay_zeros():
    assert not build_model("zssr", {})(low=torch.zeros(1, 3, 9, 9)).image.any()


@pytest.mark.parametrize("wrong", [{"bands": 0}, {"scale": 1}, {"channels": 0}, {"layers": 1}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ConfigError):
        ZssrNetworkSettings(**wrong)
