import typer
from typer.testing import CliRunner

from eorestore.cli.demo import demo

app = typer.Typer()
app.command()(demo)


def test_demo_writes_a_page_and_says_where_it_is(tmp_path) -> None:
    options = ["-o", str(tmp_path / "demo"), "-m", "inpaint", "--size", "64", "--seed", "3"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    page = tmp_path / "demo" / "index.html"
    assert page.is_file()
    assert page.as_uri() in result.output.replace("\n", "")
    assert CliRunner().invoke(app, options).exit_code != 0
    assert CliRunner().invoke(app, [*options, "--overwrite"]).exit_code == 0


def test_demo_refuses_a_scene_of_no_size() -> None:
    result = CliRunner().invoke(app, ["--size", "0"])
    assert result.exit_code == 2
