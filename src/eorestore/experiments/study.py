"""A study as frozen data: rows that differ by overrides, one budget, one evaluation; trains and scores nothing."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le, MinLen

from eorestore.config import Count, Positive, RunConfig, Share, parse_settings
from eorestore.errors import ConfigError, UnknownNameError
from eorestore.models.catalogue import find_preset
from eorestore.plain_values import lay_over, override_pairs, read_yaml

STUDY_FOLDERS = (Path(__file__).parents[1] / "studies", Path(__file__).parents[3] / "studies")
PLAIN = "none"  # a level of an axis that is not spelt in the names of its cells
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Budget:
    """What every row may spend.

    train_flops: measured FLOPs of the model's forward and backward passes over all steps of a training.
    crop, batch: pixels a side and items of a step. validations: of every training, evenly spaced, so that the best
    checkpoint is the best of as many for each row. tune_share: of `train_flops` for a trial of one learning rate.
    """

    train_flops: Annotated[float, Gt(0)] = 6e12
    crop: Positive = 64
    batch: Positive = 8
    validations: Positive = 5
    tune_share: Annotated[float, Gt(0), Le(1)] = 0.2


@dataclass(frozen=True)
class StudyEvaluation:
    """How a trained row is scored: over one split of the base's manifest, optical scenes under simulated clouds.

    final: a second split that the best checkpoint of every row is scored on as well, apart from the first; nothing is
    chosen by it. covers, seeds: of the clouds. metrics, strata: names as `evaluate` takes them; the first metric leads
    the table.
    cloud_size_px: least and largest cloud. crop: side of the centre of a scene; None for whole scenes.
    """

    split: Literal["validation", "test"] = "validation"
    covers: Annotated[tuple[Share, ...], MinLen(1)] = (0.2, 0.4, 0.7)
    seeds: Annotated[tuple[Count, ...], MinLen(1)] = (0, 1, 2)
    metrics: Annotated[tuple[str, ...], MinLen(1)] = ("psnr", "ssim", "mae", "sam")
    strata: tuple[str, ...] = ()
    cloud_size_px: tuple[Positive, Positive] = (20, 150)
    crop: Positive | None = None
    final: Literal["test"] | None = None

    @property
    def splits(self) -> tuple[Literal["validation", "test"], ...]:
        """The split that rows are scored on, and the final one where there is one."""
        return (self.split,) if self.final is None else (self.split, self.final)


@dataclass(frozen=True)
class Seeds:
    """Trainings of a main row and of any other row."""

    main: Positive = 3
    cell: Positive = 1


@dataclass(frozen=True)
class StudyRow:
    """One variant.

    overrides: dotted keys of RunConfig to values, laid over the base in their order.
    main: trained with more seeds, and tuned. learning_rate_of: a tuned row whose learning rate this one takes.
    baseline: a model that is scored as it is, without training.
    needs: what its losses need besides the package, such as `vgg16`; a row that names something and finds its weights
    absent is skipped.
    """

    name: Annotated[str, MinLen(1)]
    overrides: dict[str, Any] = field(default_factory=dict)
    main: bool = False
    learning_rate_of: str | None = None
    baseline: str | None = None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """Every combination of one level of each axis; a level is a dictionary of overrides.

    A cell is called after the grid and its levels, `weights-p0.1+s0.05`; the level `none` is not spelt.
    plain: a row that equals the cell of `none` alone, so that this cell is not trained twice. The other fields are
    those of every cell; see StudyRow.
    """

    name: Annotated[str, MinLen(1)]
    axes: Annotated[dict[str, Annotated[dict[str, dict[str, Any]], MinLen(1)]], MinLen(1)]
    overrides: dict[str, Any] = field(default_factory=dict)
    plain: str | None = None
    learning_rate_of: str | None = None
    needs: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[StudyRow, ...]:
        """One row a cell, the first axis slowest; `plain_cell` among them."""
        cells = itertools.product(*(levels.items() for levels in self.axes.values()))
        return tuple(self._row(cell) for cell in cells)

    @property
    def plain_cell(self) -> str:
        """The name of the cell whose levels are all `none`."""
        return f"{self.name}-{PLAIN}"

    def _row(self, cell: Sequence[tuple[str, Mapping[str, Any]]]) -> StudyRow:
        label = "+".join(level for level, _ in cell if level != PLAIN) or PLAIN
        overrides = dict(self.overrides)
        for _, values in cell:
            overrides |= values
        return StudyRow(f"{self.name}-{label}", overrides, learning_rate_of=self.learning_rate_of, needs=self.needs)


@dataclass(frozen=True)
class Study:
    """Rows trained at one budget on one set of data, scored on one evaluation.

    base: plain values of a RunConfig. parameters: least and most of every trained row.
    learning_rates: tried for the rows that `tune` names (`main` or all `rows`), and the best by validation kept.
    reference: the row that all others are compared with.
    """

    name: Annotated[str, MinLen(1)]
    base: dict[str, Any]
    rows: Annotated[tuple[StudyRow, ...], MinLen(1)]
    reference: str
    parameters: tuple[Count, Count] = (270_000, 330_000)
    learning_rates: tuple[Annotated[float, Gt(0)], ...] = ()
    tune: Literal["main", "rows"] = "main"
    budget: Budget = field(default_factory=Budget)
    seeds: Seeds = field(default_factory=Seeds)
    evaluate: StudyEvaluation = field(default_factory=StudyEvaluation)

    def row(self, name: str) -> StudyRow:
        """The row called `name`. Raises UnknownNameError."""
        for row in self.rows:
            if row.name == name:
                return row
        raise UnknownNameError("row", name, [row.name for row in self.rows])

    def config(self, row: StudyRow, *, seed: int = 0) -> RunConfig:
        """The run of a row: base, budget, overrides; steps and learning rate are still the base's.

        `seed` counts from 0 and is added to the base's own. Raises ConfigError.
        """
        values = copy.deepcopy(self.base)
        for key, value in {"data.crop": self.budget.crop, "training.batch": self.budget.batch}.items():
            lay_over(values, key, value)
        for key, value in row.overrides.items():
            lay_over(values, key, copy.deepcopy(value))
        values["name"] = row.name
        values["seed"] = values.get("seed", 0) + seed
        return parse_settings(RunConfig, values, source=f"row {row.name}")

    def is_tuned(self, row: StudyRow) -> bool:
        """Whether the row's learning rate is the best of `learning_rates`, tried with this row; one alone is taken."""
        asked = self.tune == "rows" or row.main
        return asked and row.baseline is None and row.learning_rate_of is None and bool(self.learning_rates)

    def runs(self) -> tuple[tuple[StudyRow, int], ...]:
        """Every row with every seed: first seeds first, main rows before others; a baseline has one."""
        counts = {row.name: self._seeds(row) for row in self.rows}
        runs = [(row, seed) for row in self.rows for seed in range(counts[row.name])]
        return tuple(sorted(runs, key=lambda run: (run[1], not run[0].main)))

    def _seeds(self, row: StudyRow) -> int:
        if row.baseline is not None:
            return 1
        return self.seeds.main if row.main else self.seeds.cell


def load_study(path: Path | str, overrides: Sequence[str] = ()) -> Study:
    """The study at `path`, or the shipped one of that name, with `overrides` such as "budget.train_flops=1e12" over it.

    `base` may be the name of a preset or the path of one, from the study's own folder or from here; `grids` become
    rows. Raises ConfigError with what is wrong.
    """
    path = _find(path)
    values = read_yaml(path.read_text(encoding="utf-8"), source=str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no keys", fix="start from one of the files in studies/")
    values = dict(values)
    for key, value in override_pairs(overrides):
        lay_over(values, key, value)
    rows = [
        parse_settings(StudyRow, item, source=f"{path}: row {item.get('name', number)}")
        for number, item in enumerate(_mappings(values.pop("rows", []), "rows", path))
    ]
    grids: list[Grid] = []
    for number, item in enumerate(_mappings(values.pop("grids", []), "grids", path)):
        grids.append(parse_settings(Grid, item, source=f"{path}: grid {item.get('name', number)}"))
        rows += [row for row in grids[-1].rows if grids[-1].plain is None or row.name != grids[-1].plain_cell]
    values["rows"] = [asdict(row) for row in rows]
    if isinstance(values.get("base"), str):
        values["base"] = _read_base(values["base"], path)
    study = parse_settings(Study, values, source=str(path))
    _check(study, path)
    for grid in grids:
        _check_plain(study, grid, path)
    return study


def study_names() -> dict[str, Path]:
    """Studies by name: those of the installed package, else those of the repository."""
    for folder in STUDY_FOLDERS:
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def _find(path: Path | str) -> Path:
    if Path(path).is_file():
        return Path(path)
    if Path(path).suffix in (".yaml", ".yml"):
        raise ConfigError(
            f"no study at {path}", fix=f"give the path of a YAML file, or one of {', '.join(study_names())}"
        )
    if str(path) not in study_names():
        raise UnknownNameError("study", str(path), study_names() or ["none in this installation"])
    return study_names()[str(path)]


def _mappings(items: object, key: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{path}: {key} is no list of dictionaries", fix="write each one as - name: ...")
    return items


def _read_base(name: str, study: Path) -> dict[str, Any]:
    near = [candidate for candidate in (study.parent / name, Path(name)) if candidate.is_file()]
    file = near[0] if near else find_preset(name)
    values = read_yaml(file.read_text(encoding="utf-8"), source=str(file))
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds no keys", fix="name a preset as base")
    return values


def _check(study: Study, path: Path) -> None:
    names = [row.name for row in study.rows]
    problems = [f"row {name} stands there twice" for name in sorted({name for name in names if names.count(name) > 1})]
    problems += [f"{name!r} cannot name a file" for name in (study.name, *names) if not _NAME.fullmatch(name)]
    if study.reference not in names:
        problems.append(f"reference {study.reference} is no row")
    if study.evaluate.final == study.evaluate.split:
        problems.append(f"evaluate.final is {study.evaluate.final}, which evaluate.split is already")
    tuned = {row.name for row in study.rows if study.is_tuned(row)}
    for row in study.rows:
        if row.learning_rate_of is not None and row.learning_rate_of not in tuned:
            problems.append(f"row {row.name} takes the learning rate of {row.learning_rate_of}, which is not tuned")
        if row.baseline is not None and (row.overrides or row.main or row.learning_rate_of):
            problems.append(f"row {row.name} is a baseline and trains nothing: it has no overrides and is no main row")
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}", fix="correct the study")
    for row in study.rows:
        if row.baseline is None:
            config = study.config(row)
            if config.data.manifest is None:
                raise ConfigError(
                    f"{path}: the base has no data.manifest", fix="name the scenes that rows are scored on"
                )


def _check_plain(study: Study, grid: Grid, path: Path) -> None:
    """Whether the cell that is left out is what the row in its place is. Raises ConfigError and UnknownNameError."""
    if grid.plain is None:
        return
    cells = [row for row in grid.rows if row.name == grid.plain_cell]
    found = study.config(study.row(grid.plain))
    if not cells or replace(study.config(cells[0]), name=found.name) != found:
        raise ConfigError(
            f"{path}: row {grid.plain} is not the cell {grid.plain_cell} of grid {grid.name}",
            fix="leave plain out, or name the row with the same overrides",
        )
