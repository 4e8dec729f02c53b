import io
import sys

import numpy as np
from PIL import Image

from eorestore.reports.drawing import Drawing
from eorestore.reports.figures import scores_by_cover, training_curves


def records(slope: float) -> list[dict]:
    train = [{"kind": "train", "step": step, "loss": 1.0 - slope * step} for step in range(0, 100, 10)]
    return [*train, {"kind": "validation", "step": 50, "loss": 0.4, "psnr": None}, {"kind": "validation", "step": 90}]


def evaluation(mean: float | str | None) -> dict:
    return {
        "aggregates": [
            {"model": model, "cover": cover, "scores": {"psnr_cloud": {"mean": value, "std": None, "count": 1}}}
            for cover in (0.2, 0.4)
            for model, value in (("identity", 12.0), ("other", mean))
        ]
    }


def coloured(drawing: Drawing) -> int:
    """Pixels with a hue, of which axes and words have none."""
    image = np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB")).astype(int)
    assert min(image.shape[:2]) > 300
    return int((np.ptp(image, axis=-1) > 60).sum())


def test_a_second_run_adds_a_line() -> None:
    one = training_curves({"a": records(0.005)})
    two = training_curves({"a": records(0.005), "b": records(0.009)})
    assert coloured(two) > 1.3 * coloured(one) > 100


def test_a_score_that_no_record_holds_leaves_an_empty_panel() -> None:
    assert coloured(training_curves({"a": records(0.005)}, score="psnr")) > 100


def test_the_same_record_gives_the_same_bytes() -> None:
    assert training_curves({"a": records(0.005)}) == training_curves({"a": records(0.005)})


def test_a_higher_score_is_a_higher_bar_and_a_missing_one_none() -> None:
    high, none = coloured(scores_by_cover(evaluation(24.0))), coloured(scores_by_cover(evaluation(None)))
    assert coloured(scores_by_cover(evaluation("inf"))) == none
    assert high > none + 2000


def test_matplotlib_waits_until_a_figure_is_drawn() -> None:
    import subprocess

    code = "import eorestore.reports.figures, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
