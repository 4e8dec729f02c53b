"""Every code block of the documentation is run; its links lead somewhere; what is generated is current."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import re
import runpy
import shlex
import shutil
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from eorestore.cli.app import run
from eorestore.config import load_config
from eorestore.data.manifest import read_manifest
from eorestore.models.catalogue import ALIASES, shipped_names
from eorestore.models.table import MODELS
from eorestore.processing.table import PROCESSORS
from eorestore.reports.tables import stale_tables
from eorestore.tasks.cloud_removal import LOSSES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ("README.md", *(f"docs/{path.name}" for path in sorted(DOCS.glob("*.md"))))
RECORDS = ROOT / "results"
COMPACT = {"afsst-compact", "glf-cr-compact", *(f"glf-cr-compact-v{version}" for version in range(5))}
START = "zero-shot-x2"  # of zero-shot, where nothing else is named
SHIPPED = {"clearview", START, *COMPACT, *ALIASES.values()}  # a release brings their weights, a checkout need not
LARGEST_PICTURE = 80_000  # bytes
# Trainings of the pages are cut to what shows that they run, and so is the demo.
CUT = [
    "training.steps=2", "training.warmup=0", "training.validate_every=2", "training.checkpoint_every=2",
    "training.batch=1", "data.crop=32", "data.items_per_epoch=4", "data.validation_items=1", "data.synthetic_size=64",
    "data.cloud_size_px=[8, 24]", "data.cover=[0.2, 0.4]",
]  # fmt: skip

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)\s]+)\)")
_TABLE = re.compile(r"<!-- table: ([^\s:>]+)(?::\w+)? -->\n(.*?)<!-- end table -->\n", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and text, and the output that the page shows below it."""

    page: str
    line: int
    language: str
    text: str

    @property
    def end(self) -> int:
        """Line of the closing fence."""
        return self.line + self.text.count("\n") + 1

    @property
    def commands(self) -> list[tuple[list[str], int]]:
        """Words and expected exit code of every command of a bash block."""
        found = []
        for line in self.text.replace("\\\n", " ").splitlines():
            code = re.search(r"# exit code (\d+)", line)
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words:
                    found.append((words, int(code[1]) if code else 0))
        return found

    @property
    def weights(self) -> set[str]:
        """Names of the shipped models that the block needs."""
        named: set[str] = set()
        if self.language == "python":
            calls = re.findall(r"eor\.restore\((?:[^()]|\([^()]*\))*\)", self.text)
            named = {name for name in {*ALIASES, *SHIPPED} if f'"{name}"' in self.text}
            named |= {"cloud" for call in calls if "model=" not in call}
            named |= {START for call in re.findall(r"eor\.zero_shot\(", self.text) if "network.start" not in self.text}
        elif self.language == "bash":
            named = {name for words, _ in self.commands for name in _asked_for(words)}
        return {ALIASES.get(name, name) for name in named} & SHIPPED


def _asked_for(words: list[str]) -> set[str]:
    if not words[0].endswith("eorestore"):
        return set()
    named = {word for before, word in itertools.pairwise(words) if before not in {"-c", "--config"}}
    if words[1] in {"demo", "restore"} and not {"-m", "--model"} & set(words):
        named.add("cloud")
    if words[1] == "zero-shot" and "plan" not in words and not any("network.start=" in word for word in words):
        named.add(START)
    # What a preset is made of can be told without its weights.
    return named & {*ALIASES, *ALIASES.values()} if words[1:3] == ["model", "info"] else named


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _BLOCK.finditer(text)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of."""
    from docs_world import make_world

    folder = tmp_path_factory.mktemp("world")
    make_world(folder)
    for block in blocks_of("docs/training.md"):
        if block.language == "yaml":
            _save_preset(block.text, folder)
    return folder


@pytest.fixture
def world(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "world"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    yield folder
    root = logging.getLogger()
    for handler in [one for one in root.handlers if type(one) is logging.StreamHandler]:
        root.removeHandler(handler)  # it writes to a stream that ends with the test


@pytest.mark.parametrize("page", PAGES)
def test_every_code_block_runs(page: str, world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wanted = [block for block in blocks_of(page) if block.language != "text" and not block.weights]
    assert _run_page(page, world, capfd, weights=set()) == len(wanted)


@pytest.mark.parametrize(
    ("page", "model"),
    [
        (page, model)
        for page in PAGES
        for model in sorted({name for block in blocks_of(page) for name in block.weights})
    ],
)
def test_every_code_block_of_a_shipped_model_runs(
    page: str, model: str, world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if model not in shipped_names():
        pytest.skip(f"the weights of {model} are not in this installation")
    assert _run_page(page, world, capfd, weights={model}) > 0


def _run_page(page: str, folder: Path, capfd: pytest.CaptureFixture[str], *, weights: set[str]) -> int:
    """Run the blocks that need the weights of just these shipped models, and all that is no command; how many ran."""
    names: dict[str, object] = {"__name__": "__main__"}
    output, end, ran = "", 0, 0
    for block in blocks_of(page):
        where = f"{page}, line {block.line}"
        if block.language == "text":
            if block.line == end + 2:  # right below what was run, with one empty line between
                _check_shown(block.text, output, where)
            continue
        end = 0
        if block.language in {"bash", "python"} and block.weights != weights:
            continue
        capfd.readouterr()
        if block.language == "bash":
            for words, code in block.commands:
                _call(words, code, where)
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), names)
        elif block.language == "yaml":
            _save_preset(block.text, folder)
        elif block.language == "csv":
            (folder / "scenes.csv").write_text(block.text)
            assert read_manifest(folder / "scenes.csv"), where
        else:
            pytest.fail(f"{where}: nothing runs a block of {block.language or 'no language'}")
        output, end, ran = "".join(capfd.readouterr()), block.end, ran + 1
    return ran


def _call(words: list[str], code: int, where: str) -> None:
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "eorestore":
        if arguments[0] == "demo" and "--size" not in arguments:
            arguments += ["--size", "96"]
        if arguments[0] == "zero-shot" and not any("steps=" in word for word in arguments):
            arguments += ["-s", "learning.steps=2"]
        if "--adapt" in arguments:
            arguments[arguments.index("--adapt") + 1] = "2"
        if arguments[0] == "train" and "--dry-run" not in arguments:
            arguments += [word for value in CUT for word in ("-s", value)]
        assert run(arguments) == code, f"{where}: {shlex.join(words)}"
    elif program == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(arguments) <= set(targets), where
    elif program == "pip":
        assert arguments[0] == "install", where
        for package in (word for word in arguments[1:] if not word.startswith("-")):
            _check_package(package, where)
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), where
    elif program in {"pytest", "tensorboard"}:
        extras = _project()["optional-dependencies"]
        assert any(entry.startswith(program) for extra in ("dev", "track") for entry in extras[extra]), where
    else:
        assert [program, *arguments] == ["python3", "-m", "venv", ".venv"], f"{where}: {program}"


def _check_package(package: str, where: str) -> None:
    """`.` or `eorestore`, with extras that the project has."""
    name, _, extras = package.rstrip("]").partition("[")
    assert name in {".", "eorestore"}, where
    known = _project()["optional-dependencies"]
    assert all(extra in known for extra in extras.split(",") if extra), where


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _check_shown(text: str, output: str, where: str) -> None:
    """Every shown line is in the output; `...` in it stands for anything."""
    for line in text.splitlines():
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        assert re.search(pattern, output), f"{where}: {line!r} is not in\n{output}"


def _save_preset(text: str, folder: Path) -> None:
    """A preset of a page, under the name in its first line, checked down to its table entries."""
    name = re.match(r"# (\S+\.yaml)\n", text)
    path = folder / (name[1] if name else "preset.yaml")
    path.write_text(text)
    config = load_config(path)
    assert set(config.losses) <= set(LOSSES)
    assert config.processor in PROCESSORS
    assert config.model.name in MODELS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in _LINK.findall(_BLOCK.sub("", text)):
        if re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor in _anchors(path), f"{page} links to {target}"


def _anchors(path: Path) -> set[str]:
    """Headings as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    assert [path.name for path in DOCS.glob("*.md") if path.name != "index.md" and f"({path.name})" not in index] == []


def test_pages_hold_the_tables_that_the_records_give(tmp_path: Path) -> None:
    held: set[str] = set()
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        tables = list(_TABLE.finditer(text))
        held |= {found[1] for found in tables}
        if not tables or not any((RECORDS / f"{found[1]}.json").is_file() for found in tables):
            continue  # docs/report.md shows what a mark looks like
        copy = tmp_path / page.replace("/", "-")
        copy.write_text(text, encoding="utf-8")
        assert stale_tables(copy, RECORDS) == (), "run `make tables`"
    assert held >= {
        "cloud-models", "cloud-adapted", "cloud-places", "cloud-triplet", "real-clouds", "plain-clouds", "streaming",
        "sar-codecs", "sr-aerial", "sr-natural", "band-sharpening", "zero-shot-methods-x2", "guided-sharpening",
        "study-cloud-main", "study-afsst", "study-sr-fusion", "study-sar-autoencoder",
    }  # fmt: skip


def test_make_tables_writes_the_tables_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = re.search(r"-m eorestore\.reports\.tables (.+) results$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert written is not None
    pages = {path for name in written[1].split() for path in ROOT.glob(name)}
    marked = {ROOT / page for page in PAGES if page != "docs/report.md" and _TABLE.search((ROOT / page).read_text())}
    assert pages == marked
    for name in ("README.md", "more.md"):
        (tmp_path / name).write_text("<!-- table: plain -->\n<!-- end table -->\n")
    (tmp_path / "plain.json").write_text('{"columns": ["a"], "rows": [["x"]]}')
    told = ["tables", str(tmp_path / "README.md"), str(tmp_path / "more.md"), str(tmp_path)]
    monkeypatch.setattr(sys, "argv", told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module is imported above, and run again
        runpy.run_module("eorestore.reports.tables", run_name="__main__")
    assert "| x |" in (tmp_path / "README.md").read_text()
    assert "| x |" in (tmp_path / "more.md").read_text()


def test_the_page_of_commands_is_what_the_command_line_says() -> None:
    assert (DOCS / "commands.md").read_text() == _script("make_commands").commands_page(), (
        "run python docs/make_commands.py"
    )


def test_every_picture_is_drawn_by_the_script_is_small_and_is_shown() -> None:
    shown = {name for page in PAGES for name in re.findall(r"\((?:docs/)?pictures/(\S+?)\)", (ROOT / page).read_text())}
    drawn = set(_script("make_pictures").PICTURES)
    found = {path.name: path.stat().st_size for path in (DOCS / "pictures").iterdir()}
    assert shown == drawn == set(found)
    assert {name: size for name, size in found.items() if size > LARGEST_PICTURE} == {}


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("eorestore restore S2.tif -o a.tif", {ALIASES["cloud"]}),
        ("eorestore restore -m inpaint S2.tif -o a.tif", set()),
        ("eorestore restore -m cloud S2.tif -o a.tif", {ALIASES["cloud"]}),
        ("eorestore restore -m clearview S2.tif -o a.tif", {"clearview"}),
        ("eorestore train -c glf-cr-compact --dry-run", set()),
        ("eorestore model info cloud", {ALIASES["cloud"]}),
        ("eorestore model info glf-cr-compact-v0", set()),
        ("make demo", set()),
        ("eorestore zero-shot lst.tif -o a.tif", {START}),
        ("eorestore zero-shot lst.tif --preset plan -o a.tif", set()),
        ("eorestore zero-shot lst.tif -s network.start=none -o a.tif", set()),
    ],
)
def test_blocks_that_need_weights_are_told_from_others(text: str, needs: set[str]) -> None:
    assert Block("page", 1, "bash", text).weights == needs


def test_no_block_needs_the_weights_of_two_models() -> None:
    assert [
        f"{block.page}, line {block.line}" for page in PAGES for block in blocks_of(page) if len(block.weights) > 1
    ] == []


def test_a_line_that_is_not_printed_is_found() -> None:
    _check_shown("error: ... is not\nfix: ...", "error: this is not\nfix: that\n", "page")
    with pytest.raises(AssertionError, match="is not in"):
        _check_shown("error: gone", "error: this is not\n", "page")
