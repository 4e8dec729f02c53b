"""Scores from shared maps are those of the metrics themselves."""

import math

import pytest
import torch

from eorestore.metrics.collection import BETTER, METRICS
from eorestore.metrics.indices import INDICES, index_error
from eorestore.metrics.scored_image import ScoredImage

BANDS = ("B03", "B04", "B08")
SIZE = (40, 36)


def images() -> tuple[torch.Tensor, torch.Tensor]:
    prediction, target = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    return prediction, 0.5 * (prediction + target)


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    valid = torch.ones(1, *SIZE, dtype=torch.bool)
    valid[:, 12:20, 5:17] = False
    region = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(1)) > 0.5
    return valid, region


@pytest.mark.parametrize("name", [*METRICS, *INDICES])
@pytest.mark.parametrize("inside", [False, True])
def test_every_score_is_that_of_the_metric(name, inside):
    (prediction, target), (valid, region) = images(), masks()
    outside = ~valid.expand(prediction.shape)
    prediction[outside], target[outside] = torch.nan, torch.inf
    chosen = {"valid": valid, "region": region if inside else None}
    if name in INDICES:
        expected = index_error(prediction, target, index=name, bands=BANDS, **chosen)
    else:
        expected = METRICS[name](prediction, target, **chosen)
    found = ScoredImage(prediction, target, valid=valid, bands=BANDS).score(name, chosen["region"])
    assert math.isfinite(found)
    assert found == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", BETTER)
def test_a_region_without_a_pixel_has_no_score(name):
    image = ScoredImage(*images(), valid=masks()[0], bands=BANDS)
    assert math.isnan(image.score(name, ~masks()[0]))


def test_an_index_whose_bands_are_absent_has_no_score():
    image = ScoredImage(*images(), valid=masks()[0], bands=("B02", "B03", "B04"))
    assert math.isnan(image.score("ndvi"))


def test_a_map_is_made_once_however_many_regions_ask_for_it(monkeypatch):
    from eorestore.metrics import scored_image

    calls = []
    real = scored_image.ssim_map
    monkeypatch.setattr(scored_image, "ssim_map", lambda *a, **k: calls.append(1) or real(*a, **k))
    image = ScoredImage(*images(), valid=masks()[0])
    for _ in range(3):
        image.score("ssim", masks()[1])
    assert len(calls) == 1
