"""How the package is built: which way imports point, how long files are, what is imported late."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "eorestore"
NAMES = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))

# Each may import what stands before it; those of one line may not import each other.
ORDER = [
    {"errors"},
    {"plain_values"},
    {"config"},
    {"raster"},
    {"processing"},
    {"tiling"},
    {"layers"},
    {"models"},
    {"losses", "metrics"},
    {"data"},
    {"tasks"},
    {"restorer"},
    {"training"},
    {"codec"},
    {"experiments"},
    {"reports"},
    {"api"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# The package's own front: names that it hands out when they are asked for.
FRONT = "__init__.py"
LINES = 350
GIS = {"rasterio", "osgeo", "fiona", "pyproj"}
MAY_IMPORT_GIS = {
    "raster/align.py", "raster/files/reading.py", "raster/files/writing.py", "raster/files/crs.py",
    "raster/files/jpeg2000.py", "raster/files/lerc.py", "raster/files/thermal_geotiff.py",
    "raster/files/subdatasets.py",
}  # fmt: skip
SLOW = {
    "matplotlib", "torchmetrics", "kornia", "skimage", "xarray", "rioxarray", "tensorboard", "wandb",
    "ukis_csmask", "onnx", "onnxruntime", "monai", "pandas",
}  # fmt: skip
# Where a broad except is right, by file and what it catches.
PASSED_ON: set[tuple[str, str]] = set()


@lru_cache
def parsed(name: str) -> ast.Module:
    return ast.parse((SOURCE / name).read_text(encoding="utf-8"))


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import, wherever it stands; names taken from the package itself are spelt out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            module = node.module or ""
            if module == "eorestore":
                yield from ((f"eorestore.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def at_import(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Imports that run when the module is imported: outside functions and outside `if TYPE_CHECKING`."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(ast.Module([node], []))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def room_of(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


def outside(allowed: Iterable[str]) -> list[str]:
    return [name for name in NAMES if name not in set(allowed)]


def test_imports_point_one_way():
    wrong = []
    for name in outside({FRONT}):
        here = room_of(name)
        assert here in RANK, f"{here} has no place in the order"
        for module, line in imports(parsed(name)):
            there = room(module)
            if module.startswith("eorestore.") and there in RANK and there != here and RANK[there] >= RANK[here]:
                wrong.append(f"{name}:{line} imports {module}")
    assert wrong == []


def test_the_front_of_the_package_hands_out_the_api_only():
    modules = {module for module, _ in imports(parsed(FRONT)) if module.startswith("eorestore.")}
    assert modules
    assert {room(module) for module in modules} <= {"api", "raster"}


def test_no_file_is_longer_than_one_idea():
    lines = {name: len((SOURCE / name).read_text(encoding="utf-8").splitlines()) for name in NAMES}
    assert {name: count for name, count in lines.items() if count > LINES} == {}


def test_gis_libraries_stay_behind_the_files():
    found = [
        f"{name}:{line} imports {module}"
        for name in outside(MAY_IMPORT_GIS)
        for module, line in imports(parsed(name))
        if module.split(".")[0] in GIS
    ]
    assert found == []


def test_slow_packages_are_imported_where_they_are_needed():
    found = [
        f"{name}:{line} imports {module}"
        for name in NAMES
        for module, line in at_import(parsed(name))
        if module.split(".")[0] in SLOW
    ]
    assert found == []


def test_no_file_is_a_drawer():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [name for name in NAMES if drawers & set(Path(name).with_suffix("").parts)] == []


def test_weights_are_loaded_strictly():
    found = [
        f"{name}:{node.value.lineno}"
        for name in NAMES
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.keyword)
        and node.arg == "strict"
        and not (isinstance(node.value, ast.Constant) and node.value.value is True)
    ]
    assert found == []


def test_files_of_weights_cannot_run_code():
    for name in NAMES:
        for call in (node for node in ast.walk(parsed(name)) if isinstance(node, ast.Call)):
            spelt = ast.unparse(call.func)
            assert not spelt.startswith(("pickle.", "marshal.", "dill.")), f"{name}:{call.lineno}"
            if spelt == "torch.load":
                assert "weights_only=True" in ast.unparse(call), f"{name}:{call.lineno}"


def test_every_file_says_what_it_is():
    assert [name for name in NAMES if not ast.get_docstring(parsed(name))] == []


def test_nothing_is_caught_that_cannot_be_mended():
    broad = {"Exception", "BaseException", None}
    found = []
    for name in NAMES:
        for node in ast.walk(parsed(name)):
            if isinstance(node, ast.ExceptHandler):
                caught = None if node.type is None else ast.unparse(node.type)
                again = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
                if caught in broad and not again and (name, caught) not in PASSED_ON:
                    found.append(f"{name}:{node.lineno} catches {caught}")
    assert found == []


def test_input_is_not_checked_by_assertions():
    found = [
        f"{name}:{node.lineno}" for name in NAMES for node in ast.walk(parsed(name)) if isinstance(node, ast.Assert)
    ]
    assert found == []


def test_only_the_command_line_prints():
    quiet = [name for name in NAMES if room_of(name) not in {"cli", "__main__"}]
    calls = [(name, node) for name in quiet for node in ast.walk(parsed(name)) if isinstance(node, ast.Call)]
    assert [f"{name}:{call.lineno}" for name, call in calls if ast.unparse(call.func) == "print"] == []
