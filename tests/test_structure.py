"""How the package is built: which way imports point, how long files are, what is imported late."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "eorestore"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]

# Each may import what stands before it; those of one line may not import each other.
ORDER = [
    {"errors"},
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
MAY_IMPORT_GIS = {"raster/align.py", "raster/files/reading.py", "raster/files/writing.py"}
SLOW = {
    "matplotlib", "torchmetrics", "kornia", "skimage", "xarray", "rioxarray", "tensorboard", "wandb",
    "ukis_csmask", "onnx", "onnxruntime", "monai", "pandas",
}  # fmt: skip
LIGHT_PACKAGES = {"raster/bands.py", "raster/grid.py", "raster/raster.py", "errors.py", "tiling/tiles.py"}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


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


def named(*, but: set[str] = frozenset()) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name in NAMES if name not in but])


@named(but={FRONT})
def test_imports_point_one_way(name: str):
    here = room_of(name)
    assert here in RANK, f"{here} has no place in the order"
    wrong = []
    for module, line in imports(parsed(SOURCE / name)):
        there = room(module)
        if module.startswith("eorestore.") and there in RANK and there != here and RANK[there] >= RANK[here]:
            wrong.append(f"line {line}: {module}")
    assert wrong == []


def test_the_front_of_the_package_hands_out_the_api_only():
    modules = {module for module, _ in imports(parsed(SOURCE / FRONT)) if module.startswith("eorestore.")}
    assert {room(module) for module in modules} <= {"api", "raster"}


@named()
def test_no_file_is_longer_than_one_idea(name: str):
    assert len((SOURCE / name).read_text(encoding="utf-8").splitlines()) <= LINES


@named(but=MAY_IMPORT_GIS)
def test_gis_libraries_stay_behind_the_files(name: str):
    found = [(module, line) for module, line in imports(parsed(SOURCE / name)) if module.split(".")[0] in GIS]
    assert found == []


@named()
def test_slow_packages_are_imported_where_they_are_needed(name: str):
    found = [(module, line) for module, line in at_import(parsed(SOURCE / name)) if module.split(".")[0] in SLOW]
    assert found == []


@named()
def test_no_file_is_a_drawer(name: str):
    assert Path(name).stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


@named()
def test_weights_are_loaded_strictly_and_never_unpickled(name: str):
    for node in ast.walk(parsed(SOURCE / name)):
        if isinstance(node, ast.keyword) and node.arg == "strict" and isinstance(node.value, ast.Constant):
            assert node.value.value is True, f"line {node.value.lineno}: strict={node.value.value}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("pickle", "load"), ("pickle", "loads")}


@named()
def test_every_file_says_what_it_is(name: str):
    docstring = ast.get_docstring(parsed(SOURCE / name))
    assert docstring, "no docstring"
    assert docstring.splitlines()[0].endswith((".", ";", ":", ",", "then")), docstring.splitlines()[0]


@named()
def test_nothing_is_caught_that_cannot_be_mended(name: str):
    broad = {"Exception", "BaseException", None}
    for node in ast.walk(parsed(SOURCE / name)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.id if isinstance(node.type, ast.Name) else None if node.type is None else ""
            assert caught not in broad or _raises(node), f"line {node.lineno}: catches {caught}"


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))


@named()
def test_input_is_not_checked_by_assertions(name: str):
    lines = [node.lineno for node in ast.walk(parsed(SOURCE / name)) if isinstance(node, ast.Assert)]
    assert lines == []


@named(but={name for name in NAMES if name.startswith("cli/") or name == "__main__.py"})
def test_only_the_command_line_prints(name: str):
    calls = [node for node in ast.walk(parsed(SOURCE / name)) if isinstance(node, ast.Call)]
    printing = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert printing == []
