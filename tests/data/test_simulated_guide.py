"""The invented place of two sensors: its guide explains what it should, and nothing where it is a stranger's."""

from __future__ import annotations

import numpy as np
import pytest

from eorestore.data.simulated_guide import simulate_guided
from eorestore.errors import ConfigError
from eorestore.processing.block_means import block_mean
from eorestore.processing.guide_features import guide_features
from eorestore.processing.guided_sharpening import nesting_factor
from eorestore.processing.regression_sharpening import explain


def explained(made):
    features = guide_features(made.guide, ["ndvi", "ndbi"])
    whole = made.guide.valid
    return explain(made.truth, whole, features.values, features.valid, factor=1).r2


def test_the_guide_explains_temperature_unless_it_is_of_another_place():
    near, far = (
        simulate_guided(40, 40, factor=4, generator=np.random.default_rng(1), field=1.0, stranger=stranger)
        for stranger in (False, True)
    )
    assert explained(near) > 0.5
    assert explained(far) < 0.2


def test_the_thermal_scene_is_the_block_means_of_the_truth_with_noise():
    made = simulate_guided(30, 36, factor=5, generator=np.random.default_rng(0), noise=0.3)
    means, _ = block_mean(made.truth, made.guide.valid, factor=5)
    assert 0.25 < (made.low.values[0] - means).std() < 0.35
    assert nesting_factor(made.low, made.guide) == 5
    assert made.guide.values.min() > 0
    assert made.guide.values.max() < 4


def test_one_generator_gives_one_place():
    pair = [simulate_guided(8, 9, factor=2, generator=np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(pair[0].truth, pair[1].truth)
    assert np.array_equal(pair[0].guide.values, pair[1].guide.values)


def test_a_place_without_pixels_is_refused():
    with pytest.raises(ConfigError, match="0 x 4 pixels"):
        simulate_guided(0, 4, factor=2, generator=np.random.default_rng(0))
