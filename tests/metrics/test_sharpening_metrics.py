import math

import numpy as np
import pytest
import torch

from eorestore.metrics.sharpening import ergas, rmse_by_band

VALID = torch.ones(3, 1, 12, 14, dtype=torch.bool)


def image(seed):
    return 0.1 + torch.rand(3, 5, 12, 14, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ratio", [2.0, 6.0])
def test_ergas_is_that_of_torchmetrics(ratio):
    from torchmetrics.functional.image import error_relative_global_dimensionless_synthesis

    expected = error_relative_global_dimensionless_synthesis(image(0), image(1), ratio=ratio, reduction="none")
    found = ergas(image(0), image(1), valid=VALID, ratio=ratio)
    torch.testing.assert_close(found.float(), expected)
    torch.testing.assert_close(ergas(image(0)[1], image(1)[1], valid=VALID[1], ratio=ratio), found[1])


def test_the_error_of_every_band_is_numpys():
    expected = np.sqrt(((image(0) - image(1)).numpy() ** 2).mean(axis=(2, 3)))
    np.testing.assert_allclose(rmse_by_band(image(0), image(1), valid=VALID), expected, rtol=1e-6)


@pytest.mark.parametrize("score", [ergas, rmse_by_band])
def test_equal_images_have_no_error_and_invalid_pixels_cannot_change_it(score):
    assert not score(image(0), image(0), valid=VALID).any()
    valid = VALID.clone()
    valid[..., :5] = False
    spoilt, target = image(0), image(1)
    before = score(spoilt, target, valid=valid)
    spoilt[..., :5], target[..., :5] = math.nan, math.inf
    assert torch.equal(score(spoilt, target, valid=valid), before)
    assert not torch.equal(score(image(0), image(1), valid=VALID), before)
    inside = score(image(0), image(1), valid=VALID, region=valid)
    torch.testing.assert_close(inside, before)
    assert score(image(0), image(1), valid=torch.zeros_like(VALID)).isnan().all()
