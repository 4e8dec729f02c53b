"""The notebook of examples/: stored without outputs, and its cells run in order, at toy size."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from enlarged_thermal import TOY

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def code_cells() -> list[dict]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_stored_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4
    assert {(cell["execution_count"], len(cell["outputs"])) for cell in code_cells()} == {(None, 0)}
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)


def test_its_cells_run_in_order_and_tell_a_consistent_result(tmp_path):
    script = "\n".join("".join(cell["source"]) for cell in code_cells())
    toy = re.sub(r"^side, scale = 160, 2\b", "side, scale = 40, 2", script, flags=re.MULTILINE)
    toy = re.sub(r"^settings = \{\}", f"settings = {TOY}", toy, flags=re.MULTILINE)
    assert toy.count("side, scale = 40") == toy.count(f"settings = {TOY}") == 1
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", toy],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout
    largest = re.search(r"from the pixel that was measured: (\S+) K", told)
    assert largest is not None, told
    assert float(largest[1]) < 1e-3
    assert "gaps as blocks of gaps: True" in told
    assert "the same numbers: True" in told
    assert re.search(r"result \d+\.\d+ K, bicubic \d+\.\d+ K", told)
    assert (tmp_path / "lst_x2.comparison.png").is_file()
