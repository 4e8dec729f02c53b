"""What a sheet of pictures shows: one stretch for all that is compared, air that tints no colour."""

from __future__ import annotations

import numpy as np
import torch

from eorestore.training.pictures import sheet


def ground() -> torch.Tensor:
    return torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1)).repeat(1, 3, 1, 1)


def test_air_over_clouded_ground_tints_no_picture():
    air = torch.tensor([0.0, 0.1, 0.3]).reshape(1, 3, 1, 1)
    hazy = ground() + air
    drawn = sheet(hazy, {"target": hazy, "cloudy": hazy}, rgb=(0, 1, 2)).astype(int)
    assert np.abs(drawn - drawn[:1]).max() <= 1  # grey ground stays grey


def test_a_brighter_restoration_is_drawn_brighter_than_its_target():
    drawn = sheet(ground() + 0.2, {"target": ground(), "cloudy": ground()}, rgb=(0, 1, 2)).astype(int)
    restored, target = drawn[:, :, 20:36], drawn[:, :, 40:56]
    assert (restored >= target).all()
    assert restored.mean() > target.mean() + 20


def test_colours_of_a_photograph_keep_their_balance():
    reddish = ground() * torch.tensor([1.0, 0.5, 0.5]).reshape(1, 3, 1, 1)
    drawn = sheet(reddish, {"target": reddish}, rgb=(0, 1, 2)).astype(int)
    assert drawn[0].mean() > 1.5 * drawn[1].mean()
