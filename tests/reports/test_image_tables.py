"""Tables of super-resolution from the record of an evaluation."""

from eorestore.experiments.image_scores import evaluate_images
from eorestore.reports.tables import table_of
from small_images import write_experts, write_set


def record(tmp_path):
    for name in ("One", "Two"):
        write_set(tmp_path / name, 2, seed=len(name))
        write_experts(tmp_path / "outputs" / name, tmp_path / name, noise={"near": 4.0, "far": 9.0})
    table = evaluate_images(
        "bicubic",
        data=[tmp_path / "One", tmp_path / "Two"],
        expert_outputs=tmp_path / "outputs",
        metrics=["psnr", "ssim"],
    )
    return {"kind": "evaluation", "scores": table.to_json()}


def test_every_set_and_all_images_have_a_row_for_each_model(tmp_path):
    found = table_of(record(tmp_path))
    assert found.columns == ("Set", "Model", "Images", "PSNR, dB", "SSIM")
    assert [row[:3] for row in found.rows if row[1] == "near"] == [
        ("One", "near", 2),
        ("Two", "near", 2),
        ("all", "near", 4),
    ]
    near, far = (float(next(row[3] for row in found.rows if row[1] == name)) for name in ("near", "far"))
    assert near > far + 3


def test_gains_are_shown_with_their_intervals(tmp_path):
    values = record(tmp_path)
    values["scores"]["comparisons"] = [
        {
            "set": "One",
            "score": score,
            "model": "fused",
            "against": "near",
            "role": "best expert",
            "interval": {"mean": 0.0384, "low": 0.0146, "high": 0.0622},
            "closed_pixel": 0.035,
            "closed_window": None,
        }
        for score in ("psnr", "ssim")
    ]
    found = table_of(values, score="gains")
    assert found.rows == (("One", "fused", "best expert, near", "+0.038 [+0.015, +0.062]", "3.5%", ""),)
