import json

import typer
from typer.testing import CliRunner

from eorestore.cli.report import report
from eorestore.errors import WriteError

app = typer.Typer()
app.command()(report)


def test_report_takes_runs_by_name_and_replaces_only_when_asked(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text(json.dumps({"kind": "train", "step": 1, "loss": 0.25}) + "\n")
    result = CliRunner().invoke(app, ["mine", "-o", "out"])
    assert result.exit_code == 0, result.output
    assert "index.html" in result.output
    assert "mine" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert isinstance(CliRunner().invoke(app, ["mine", "-o", "out"]).exception, WriteError)
    assert CliRunner().invoke(app, ["mine", "-o", "out", "--overwrite"]).exit_code == 0


def test_report_of_a_record_file_fills_the_folder_of_a_paper(tmp_path, monkeypatch) -> None:
    from eorestore.experiments.record import make_record, write_record

    monkeypatch.chdir(tmp_path)
    group = {"model": "identity", "cover": 0.4, "scores": {"psnr_cloud": {"mean": 11.5, "std": None, "count": 1}}}
    scores = {"protocol": "eorestore", "metrics": ["psnr_cloud"], "aggregates": [group]}
    record = make_record("evaluation", "identity", config={}, scores=scores, seconds=3.0, data={})
    write_record(tmp_path / "clouds.json", record)
    result = CliRunner().invoke(app, ["clouds.json", "-o", "out", "--latex", "paper"])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "paper" / "generated" / "evaluation-clouds.tex").read_text(encoding="utf-8")
    assert "40 \\% & identity & 11.50 & 1" in text
    assert (tmp_path / "paper" / "generated" / "evaluation-clouds.pdf").read_bytes().startswith(b"%PDF")
