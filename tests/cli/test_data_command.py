"""`eorestore data` through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from eorestore.cli.data import app
from eorestore.data.manifest import read_manifest
from eorestore.errors import DataError, WriteError

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    result = RUNNER.invoke(app, ["simulate", "-o", str(folder), "--size", "64", "--count", "3", "--seed", "2"])
    assert result.exit_code == 0, result.output
    return folder


def test_simulated_places_come_with_a_manifest_of_three_splits(places: Path):
    rows = read_manifest(places / "manifest.csv")
    assert [row.split for row in rows] == ["train", "validation", "test"]
    assert all(row.reference is not None and row.mask is not None for row in rows)


def test_check_opens_every_scene(places: Path):
    result = RUNNER.invoke(app, ["check", str(places / "manifest.csv")])
    assert result.exit_code == 0, result.output
    assert "64 x 64  B01 B02" in result.output
    assert "3 scenes, 3 places: nothing amiss" in result.output


def test_check_stops_at_a_truncated_scene(places: Path, tmp_path: Path):
    (tmp_path / "s2.tif").write_bytes((places / "place_000" / "s2_clear.tif").read_bytes()[:100])
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"id,place,split,optical,sar\n1,n,test,s2.tif,{places / 'place_000' / 's1.tif'}\n")
    result = RUNNER.invoke(app, ["check", str(manifest)])
    assert isinstance(result.exception, DataError)
    assert "s2.tif" in result.exception.message


def test_split_counts_scenes_and_names_places(places: Path):
    result = RUNNER.invoke(app, ["split", str(places / "manifest.csv")])
    assert result.exit_code == 0, result.output
    train, validation, test = result.output.splitlines()
    assert "1 scenes" in train
    assert "place_000 (1)" in train
    assert "place_001 (1)" in validation
    assert "place_002 (1)" in test


def test_nothing_is_overwritten_unasked(places: Path):
    before = (places / "place_000" / "s2_cloudy.tif").read_bytes()
    result = RUNNER.invoke(app, ["simulate", "-o", str(places), "--size", "64", "--seed", "9"])
    assert isinstance(result.exception, WriteError)
    assert (places / "place_000" / "s2_cloudy.tif").read_bytes() == before
