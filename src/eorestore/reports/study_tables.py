"""Tables of a study, from the plain values of its summary: scores, differences, what did not end well; trains nothing.

The summary is `experiments.study_summary.summary` as `read_summary` completes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from eorestore.experiments.score_text import is_ordered
from eorestore.reports.costs import COST_COLUMNS, cost_cells, cost_of
from eorestore.reports.score_cells import difference, heading, spread
from eorestore.reports.table import Cell, Table

Values = Mapping[str, Any]
# the metrics of the main table, of any task; all have their differences
SHOWN = ("psnr", "psnr30", "ssim", "mae", "sam", "enl_ratio", "epi_pearson")
NOTE = (
    "Scores are {leads} where the head of a column says nothing else: mean ± standard deviation over training seeds. "
    "Differences are the mean paired difference to {reference}, positive where the row is better, with its "
    "{level:.0f} % bootstrap interval over {cases} ({resamples:,} resamples); {limits}."
)


def score_table(
    scores: Values,
    *,
    rows: Collection[str] | None = None,
    profiles: Sequence[Values] | None = None,
) -> Table:
    """The leading scores of the rows that were scored, the difference to the reference, and what a row costs.

    rows: names of those that are shown; all by default.
    profiles: of a comparison; without them the columns of a forward pass are left out.
    """
    reference, end, first, facts = scores["reference"], scores["end"], leading_score(scores), dict(scores["facts"])
    metrics = [name for name in scores["metrics"] if name in SHOWN] or scores["metrics"]
    columns = ["Row", "Seeds", *(heading(name, region=False) for name in metrics)]
    columns += [f"{heading(first, region=False)} against {reference}", *facts.values()]
    columns += ["Parameters", "GFLOPs a step"]
    columns += [] if profiles is None else COST_COLUMNS
    cells: list[tuple[Cell, ...]] = []
    for row in scored(scores, rows=rows):
        means = [spread(row["scores"].get(f"{metric}{end}"), metric) for metric in metrics]
        against = "reference" if row["row"] == reference else difference(row["difference"].get(first), first)
        found = [spread(row["scores"].get(fact), fact) for fact in facts]
        size = [_whole(row["parameters"]), _fixed(row["gflops_step"])]
        cost = [] if profiles is None else cost_cells(cost_of(profiles, row["row"], parameters=row["parameters"]))
        cells.append((row["row"], row["seeds"], *means, against, *found, *size, *cost))
    return Table(tuple(columns), tuple(cells))


def score_by_row(scores: Values, score: str) -> Table:
    """One score of every row, with the difference to the reference."""
    rows = [
        (
            row["row"],
            row["seeds"],
            spread(row["scores"].get(score), score),
            "reference" if row["row"] == scores["reference"] else difference(row["difference"].get(score), score),
        )
        for row in scored(scores)
    ]
    return Table(("Row", "Seeds", heading(score), f"Against {scores['reference']}"), tuple(rows))


def difference_table(scores: Values) -> Table:
    """The difference of every row to the reference by every metric that has a better way, with its interval."""
    names = [name for metric in scores["metrics"] if is_ordered(name := f"{metric}{scores['end']}")]
    rows = [
        (row["row"], *(difference(row["difference"].get(name), name) for name in names))
        for row in scored(scores)
        if row["row"] != scores["reference"]
    ]
    return Table(("Row", *(heading(name, region=False) for name in names)), tuple(rows))


def ended_table(scores: Values) -> Table | None:
    """Runs that were skipped or failed, with the reason, and rows that are not done; None where all went well."""
    rows: list[tuple[Cell, ...]] = []
    for row in scores["results"]:
        rows += [(row["row"], status, reason) for status, reason in row["ended"]]
        if not row["scores"] and not row["ended"]:
            rows.append((row["row"], "not done yet", ""))
    return Table(("Row", "What became of it", "Reason"), tuple(rows)) if rows else None


def setup_table(configs: Sequence[Values], *, settings: Collection[str]) -> Table | None:
    """What every row of a study could spend and how it was scored, from the configurations of its runs.

    settings: of the evaluation, that its task has and others have not. None where the runs are not there.
    """
    budgets = [config["budget"] for config in configs if "budget" in config]
    if not budgets:
        return None
    budget, wanted = budgets[0], configs[0]["evaluate"]
    rates = dict.fromkeys(rate for config in configs for rate in config.get("rates", {}).get("tried", ()))
    rows: list[tuple[Cell, ...]] = [
        ("FLOPs of a training", f"{budget['train_flops']:.3g}"),
        ("Crop, pixels", f"{budget['crop']} x {budget['crop']}"),
        ("Batch", str(budget["batch"])),
        ("Validations of a training", str(budget["validations"])),
        ("Learning rates tried", ", ".join(f"{rate:g}" for rate in rates) or "one, as configured"),
        ("Share of the budget for such a trial", f"{100 * budget['tune_share']:g} %"),
        (
            "Training seeds of a main row",
            str(1 + max((config["seed"] for config in configs if config["main"]), default=0)),
        ),
        ("Scored on", f"{wanted['split']} places"),
    ]
    if wanted.get("final") is not None:
        rows.append(("Scored on besides, choosing nothing by it", f"{wanted['final']} places"))
    own = {
        "covers": ("Covers of the simulated clouds", ", ".join(f"{100 * cover:g} %" for cover in wanted["covers"])),
        "seeds": ("Seeds of the simulated clouds", ", ".join(map(str, wanted["seeds"]))),
        "cloud_size_px": ("Size of the simulated clouds, pixels", " to ".join(map(str, wanted["cloud_size_px"]))),
    }
    return Table(("Setting", "Value"), (*rows, *(row for name, row in own.items() if name in settings)))


def leading_score(scores: Values) -> str:
    """The score by which a study compares its rows first, such as `psnr_cloud`."""
    return f"{scores['metrics'][0]}{scores['end']}"


def scored(scores: Values, *, rows: Collection[str] | None = None) -> list[Values]:
    """The rows of a summary that have a score, or those of them that are named."""
    return [row for row in scores["results"] if row["scores"] and (rows is None or row["row"] in rows)]


def study_note(scores: Values) -> str:
    """What means, spreads and intervals of a study are."""
    values = {name: scores[name] for name in ("reference", "resamples", "leads", "cases", "limits")}
    return NOTE.format(level=100 * scores["level"], **values)


def condition_note(scores: Values) -> str:
    """How the rows were scored."""
    return " ".join(f"{key}: {value}." for key, value in scores["conditions"].items())


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _fixed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"
