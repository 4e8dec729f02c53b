import json
import re
from pathlib import Path

import pytest

from eorestore.errors import DataError, UsageError
from eorestore.experiments.record import make_record, write_record
from eorestore.reports.run_report import write_report


def training(folder: Path, *, finished: bool = True, loss: float = 0.5) -> Path:
    folder.mkdir(parents=True)
    log = [{"kind": "train", "step": step, "loss": loss / step, "seconds": 6.0 * step} for step in (10, 20)]
    log.append({"kind": "validation", "step": 20, "loss": loss / 3, "psnr": 27.125, "seconds": 120.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    if finished:
        scores = {"last": {"psnr": 27.125}, "best": [], "steps": 20}
        record = make_record("training", folder.name, config={"seed": 1}, scores=scores, seconds=120.0, data={})
        write_record(folder / "record.json", record)
    return folder


def evaluation(folder: Path) -> Path:
    folder.mkdir(parents=True)
    group = {"model": "identity", "cover": 0.4, "scores": {"psnr_cloud": {"mean": 11.5, "std": None, "count": 1}}}
    scores = {"protocol": "eorestore", "metrics": ["psnr_cloud"], "aggregates": [group]}
    write_record(
        folder / "evaluation.json",
        make_record("evaluation", folder.name, config={}, scores=scores, seconds=3.0, data={}),
    )
    return folder


def test_a_report_holds_the_numbers_of_its_records(tmp_path) -> None:
    runs = [training(tmp_path / "runs" / "first"), evaluation(tmp_path / "runs" / "second")]
    page = write_report(tmp_path / "out", runs)
    assert page == tmp_path / "out" / "index.html"
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "| first | 20 | 0.1667 | 27.12 |" in text
    assert "| 40 % | identity | 11.50 | 1 |" in text
    assert "| first | training |" in text
    assert "| 120 |" in text
    assert "Data: none recorded." in text
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.md", "index.html", "curves.png", "evaluation-second.png",
    }  # fmt: skip


def test_the_page_of_a_report_refers_to_nothing_outside_itself(tmp_path) -> None:
    text = write_report(tmp_path / "out", [training(tmp_path / "a")]).read_text(encoding="utf-8")
    assert set(re.findall(r'src="([a-z/;:0-9]+),', text)) == {"data:image/png;base64"}
    assert not re.search(r"https?:|url\(", re.sub(r"base64,[\w+/=]+", "", text))


def test_a_training_that_still_runs_is_reported_as_such(tmp_path) -> None:
    write_report(tmp_path / "out", [training(tmp_path / "a", finished=False)])
    assert "| a | training, not finished |" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_a_folder_that_is_no_run_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="holds no record"):
        write_report(tmp_path / "out", [tmp_path])
    assert not (tmp_path / "out").exists()


def test_two_runs_of_one_name_are_refused(tmp_path) -> None:
    runs = [training(tmp_path / "x" / "a"), training(tmp_path / "y" / "a")]
    with pytest.raises(UsageError, match="different names"):
        write_report(tmp_path / "out", runs)
