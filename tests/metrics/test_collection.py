"""All scores of an image by name, and their mean over images."""

import math

import numpy as np
import pytest
import torch

from eorestore.errors import UnknownNameError
from eorestore.metrics.collection import BETTER, METRICS, aggregate, score, score_names
from eorestore.metrics.indices import INDICES


def sample() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    cloud = torch.zeros(1, 24, 24, dtype=torch.bool)
    cloud[:, :12] = True
    return {
        "prediction": torch.rand(3, 24, 24, generator=generator),
        "target": torch.rand(3, 24, 24, generator=generator),
        "valid": torch.ones(1, 24, 24, dtype=torch.bool),
        "cloud": cloud,
        "shadow": torch.zeros(1, 24, 24, dtype=torch.bool),
    }


def test_scores_are_named_by_metric_and_region_in_order():
    found = score(**sample(), metrics=("psnr", "sam"))
    assert tuple(found) == score_names(("psnr", "sam"))
    assert tuple(found)[:4] == ("psnr", "psnr_cloud", "psnr_shadow", "psnr_clear")


def test_a_region_without_a_pixel_has_no_score():
    found = score(**sample())
    assert {name for name, value in found.items() if math.isnan(value)} == {
        name for name in found if name.endswith("_shadow")
    }


def test_a_region_without_a_pixel_is_left_out_of_the_mean():
    result = aggregate([{"psnr_cloud": 20.0}, {"psnr_cloud": math.nan}, {"psnr_cloud": 30.0}])["psnr_cloud"]
    assert (result.mean, result.count) == (25.0, 2)
    assert result.std == pytest.approx(np.std([20, 30], ddof=1))


def test_no_score_at_all_and_a_single_one_have_no_spread():
    results = aggregate([{"a": math.nan, "b": 1.0}])
    assert math.isnan(results["a"].mean)
    assert (results["a"].count, results["b"].count, results["b"].mean) == (0, 1, 1.0)
    assert math.isnan(results["b"].std)


def test_an_infinite_score_makes_an_infinite_mean_and_no_spread():
    result = aggregate([{"psnr": math.inf}, {"psnr": 30.0}])["psnr"]
    assert result.mean == math.inf
    assert math.isnan(result.std)


def test_an_unknown_metric_fails_with_the_nearest_name():
    with pytest.raises(UnknownNameError) as failure:
        score(**sample(), metrics=("psrn",))
    assert failure.value.suggestion == "psnr"


def test_every_metric_says_which_way_is_better():
    assert set(BETTER) == set(METRICS) | set(INDICES)


def test_an_index_is_scored_where_the_bands_are_named_and_is_nan_where_not():
    named = score(**sample(), metrics=("ndvi",), bands=("B04", "B08", "B11"))
    assert 0 < named["ndvi_cloud"] < 2
    assert all(map(math.isnan, score(**sample(), metrics=("ndvi",)).values()))


def test_each_region_is_scored_by_its_own_pixels():
    target = torch.zeros(1, 4, 4)
    error, valid, cloud, shadow = torch.zeros(1, 4, 4), *(torch.zeros(1, 4, 4, dtype=torch.bool) for _ in range(3))
    valid[:, :3], cloud[..., 0], shadow[..., :2] = True, True, True
    error[..., 0], error[..., 1], error[..., 2:], error[:, 3] = 0.3, 0.2, 0.1, 99.0
    scores = score(error, target, valid=valid, cloud=cloud, shadow=shadow, metrics=("mae",))
    rounded = {name: round(value, 6) for name, value in scores.items()}
    assert rounded == {"mae": 0.175, "mae_cloud": 0.3, "mae_shadow": 0.2, "mae_clear": 0.1}
