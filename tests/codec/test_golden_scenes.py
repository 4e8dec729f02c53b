"""Files of every released version stay readable: golden ones decode to the values that stand beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eorestore.codec.stored_scene import StoredScene

GOLDEN = Path(__file__).parents[1] / "golden"
SCENES = sorted(GOLDEN.glob("*.eoz"))


def test_there_is_a_file_of_every_guaranteed_mode():
    assert {"v1-lossless", "v1-max-error", "v1-fidelity"} <= {path.stem for path in SCENES}


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_a_golden_file_is_still_read(path):
    with StoredScene(path) as stored:
        assert stored.check() == ()
        assert stored.header.crs == 32630
        assert dict(stored.tags) == {"DATETIME": "2021-05-10"}
        back = stored.read_raw()
    expected = np.load(path.with_suffix(".npy"))
    assert np.array_equal(np.isnan(back), np.isnan(expected))
    # symbols are exact; what turns them into decibel may differ in the last bits
    np.testing.assert_allclose(back, expected, atol=1e-4)
