"""The wheel, installed outside the repository, restores a scene with what lies inside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from small_scenes import make_world, read_tif, write_world

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "src" / "eorestore" / "weights"
pytestmark = pytest.mark.slow


def call(*command: str, **options) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with nothing but the installed wheel; no network, the dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    call("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT))
    wheel = next((folder / "dist").glob("*.whl"))
    call("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site"), str(wheel))
    return folder


def test_the_wheel_holds_presets_weights_and_no_tests(installed):
    names = zipfile.ZipFile(next((installed / "dist").glob("*.whl"))).namelist()
    presets = {path.name for path in (ROOT / "presets").glob("*.yaml")}
    assert presets
    assert {f"eorestore/presets/{name}" for name in presets} <= set(names)
    shipped = {str(path.relative_to(ROOT / "src")) for path in WEIGHTS.rglob("*") if path.is_file()}
    assert shipped <= set(names)
    assert not [name for name in names if name.startswith("tests") or name.endswith((".pyc", ".pth"))]
    assert any(name.endswith("LICENSE") for name in names)
    assert "eorestore/py.typed" in names


def test_the_installed_package_restores_a_scene(installed, tmp_path):
    world = make_world((96, 96), seed=12)
    scene = write_world(tmp_path / "in", world)
    model = "cloud" if (WEIGHTS / "clearview").is_dir() else "inpaint"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(installed / "site"), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    options = {"cwd": tmp_path, "env": environment}
    origin = Path(call("-c", "import eorestore; print(eorestore.__file__)", **options).strip())
    assert origin.is_relative_to(installed / "site")
    call(
        "-m", "eorestore", "restore", "in/s2.tif", "--sar", "in/s1.tif", "--mask", "in/mask.tif", "-m", model,
        "-o", "out.tif", **options,
    )  # fmt: skip
    out = read_tif(tmp_path / "out.tif")
    assert np.array_equal(out[:, ~world.mask], world.dn[:, ~world.mask])
    clear = read_tif(scene / "clear.tif").astype(float)
    before, after = (np.abs(image - clear)[:, world.mask].mean() for image in (world.dn.astype(float), out))
    assert after < 0.5 * before
    assert json.loads((tmp_path / "out.tif.json").read_text())["model"] in {"clearview", "inpaint"}
    listed = call("-m", "eorestore", "model", "list", **options)
    assert "glf-cr-v0" in listed
