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
