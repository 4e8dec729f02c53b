"""What a study found, from its records alone: means over seeds, intervals against the reference row, a table."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eorestore.errors import WriteError
from eorestore.experiments.bootstrap import LEVEL, RESAMPLES, Interval, paired_interval
from eorestore.experiments.record import Record, make_record, write_record
from eorestore.experiments.score_text import HEADINGS, format_score, header, is_higher_better, is_ordered, line
from eorestore.experiments.scoring import SCORING, Scoring, scoring_of
from eorestore.experiments.study import Study, StudyRow

Case = tuple[str, float | None, int | None]  # scene, cover and seed of the clouds


def write_summary(study: Study, out: Path, records: Mapping[str, Record]) -> None:
    """Write out/study.json, a record whose scores are `summary`, and out/study.md. Raises WriteError."""
    scores = summary(study, records.values())
    seconds = math.fsum(record.seconds for record in records.values())
    data = {name: value for record in records.values() for name, value in record.data.items()}
    config = json.loads(json.dumps({"study": study.name, "reference": study.reference, "runs": list(records)}))
    record = make_record("study", study.name, config=config, scores=scores, seconds=seconds, data=data)
    write_record(out / "study.json", record)
    partial = out / ".study.md.partial"
    try:
        partial.write_text(to_markdown(study.name, record.scores), encoding="utf-8")
        partial.replace(out / "study.md")
    except OSError as error:
        raise WriteError(f"{out / 'study.md'} could not be written: {error}", fix="make room on the disk") from None


def summary(study: Study, records: Iterable[Record]) -> dict[str, Any]:
    """Every row as plain values, in the order of the study, beside the conditions of the evaluation.

    A row's `scores` are means over its training seeds of the mean over cases (scenes, covers and cloud seeds, or
    bands), with the standard deviation over training seeds (null below two). `difference` is against the reference,
    positive where the row is better: per case, the mean over training seeds of the row less that of the reference,
    bootstrapped over cases; `limits` says what that interval does not tell. Where a study has a final split, `final`
    holds the same of it.
    """
    records = list(records)
    scores = _summary(study, records)
    if study.evaluate.final is None:
        return scores
    final = [at_final(record) for record in records]
    return scores | {"final": {"split": study.evaluate.final, **_summary(study, final)}}


def at_final(record: Record) -> Record:
    """A run's record with the scores of the final split in place of the first; as it is where it has none."""
    return replace(record, scores={**record.scores, **record.scores.get("final", {})})


def read_summary(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a summary's record, with what one lacks that was written when clouds alone were scored."""
    return {**_of_task(SCORING["cloud-removal"]), **scores}


def _of_task(scoring: Scoring) -> dict[str, Any]:
    """What the tables of a summary are told of the task's scoring."""
    return {
        "end": scoring.ends[0],
        "leads": scoring.leads,
        "cases": scoring.cases,
        "limits": scoring.limits,
        "facts": [list(fact) for fact in scoring.facts.items()],
        "settings": list(scoring.settings),
    }


def _summary(study: Study, records: Sequence[Record]) -> dict[str, Any]:
    by_row: dict[str, list[Record]] = {row.name: [] for row in study.rows}
    for record in records:
        by_row[record.config["row"]].append(record)
    scoring = scoring_of(study.base)
    scored = [f"{metric}{end}" for metric in study.evaluate.metrics for end in scoring.ends]
    names = list(dict.fromkeys((*scored, *scoring.facts)))
    reference = _cases(by_row[study.reference], names)
    rows = [
        _row(row, by_row[row.name], names, None if row.name == study.reference else reference) for row in study.rows
    ]
    done = [record for found in by_row.values() for record in found if record.scores["status"] == "done"]
    return {
        "reference": study.reference,
        "metrics": list(study.evaluate.metrics),
        **_of_task(scoring),
        "conditions": done[0].scores["conditions"] if done else {},
        "resamples": RESAMPLES,
        "level": LEVEL,
        "results": rows,
    }


def to_markdown(name: str, scores: Mapping[str, Any]) -> str:
    """The summary as a page: a table of done rows for every split, what was skipped, failed or is not done yet."""
    lines = [f"# {name}", "", *_table(scores)]
    for row in scores["results"]:
        lines += [f"\n{row['row']}: {status}. {reason}" for status, reason in row["ended"]]
    missing = [row["row"] for row in scores["results"] if not row["scores"] and not row["ended"]]
    if missing:
        lines.append(f"\nNot done yet: {', '.join(missing)}.")
    if "final" in scores:
        lines += ["", f"## On the {scores['final']['split']} split, by which nothing was chosen", ""]
        lines += _table(scores["final"])
    share = f"{100 * scores['level']:.0f} %"
    lines.append(
        f"\nMean over seeds ± standard deviation over seeds. The last column is the mean paired difference, positive "
        f"where the row is better, with its {share} bootstrap interval over {scores['cases']} "
        f"({scores['resamples']:,} resamples). GFLOPs are 2 x MAC of the model's forward and backward passes."
    )
    return "\n".join(lines) + "\n"


def _table(scores: Mapping[str, Any]) -> list[str]:
    """The conditions and the rows of one split."""
    metrics, reference, end = scores["metrics"], scores["reference"], scores["end"]
    first = f"{metrics[0]}{end}"
    heads = [f"{HEADINGS.get(metric, metric)} {scores['leads']}" for metric in metrics]
    facts = dict(scores["facts"])
    columns = ["row", "seeds", "parameters", "GFLOPs a step", "steps", *heads, *facts.values()]
    lines = [" ".join(f"{key}: {value}." for key, value in scores["conditions"].items()), ""]
    lines += header([*columns, f"{first} against {reference}"])
    for row in scores["results"]:
        if row["scores"]:
            cells = [_number(row["parameters"]), _number(row["gflops_step"], ".1f"), _number(row["steps"])]
            cells += [_mean(row["scores"].get(f"{metric}{end}"), metric) for metric in metrics]
            cells += [_mean(row["scores"].get(fact), fact) for fact in facts]
            lines.append(
                line([row["row"], str(row["seeds"]), *cells, _difference(row["difference"].get(first), first)])
            )
    return lines


def _row(
    row: StudyRow, records: Sequence[Record], names: Sequence[str], reference: Mapping[str, Mapping[Case, float]] | None
) -> dict[str, Any]:
    done = [record for record in records if record.scores["status"] == "done"]
    cases = _cases(records, names)
    difference: dict[str, Any] = {}
    for name in filter(is_ordered, names) if reference is not None else ():
        interval = _interval(cases[name], reference[name], name) if reference is not None else None
        difference[name] = None if interval is None else vars(interval) | {"clear": interval.clear}
    return {
        "row": row.name,
        "main": row.main,
        "baseline": row.baseline,
        "seeds": len(done),
        "ended": [
            [record.scores["status"], record.scores["reason"]]
            for record in records
            if record.scores["status"] != "done"
        ],
        **{
            key: _average(done, key) for key in ("parameters", "gflops_step", "steps", "learning_rate", "train_seconds")
        },
        "scores": {name: _over_seeds(done, name) for name in names} if done else {},
        "difference": difference,
    }


def _cases(records: Iterable[Record], names: Sequence[str]) -> dict[str, dict[Case, float]]:
    """By score, the mean over training seeds in every case that all of them have."""
    done = [record for record in records if record.scores["status"] == "done"]
    found = {}
    for name in names:
        by_seed = [_values(record, name) for record in done]
        common = [case for case in by_seed[0] if all(case in values for values in by_seed)] if by_seed else []
        found[name] = {case: statistics.fmean(values[case] for values in by_seed) for case in common}
    return found


def _values(record: Record, name: str) -> dict[Case, float]:
    """The finite scores of a run by case; a JSON score is None where there was no such pixel."""
    return {
        (row["scene"], row["cover"], row["seed"]): float(row["scores"][name])
        for row in record.scores["rows"]
        if isinstance(row["scores"].get(name), int | float)
    }


def _interval(mine: Mapping[Case, float], other: Mapping[Case, float], name: str) -> Interval | None:
    sign = 1.0 if is_higher_better(name) else -1.0
    differences = [sign * (value - other[case]) for case, value in mine.items() if case in other]
    return paired_interval({"cases": differences}) if differences else None


def _over_seeds(done: Sequence[Record], name: str) -> dict[str, float | None]:
    means = [statistics.fmean(values.values()) for record in done if (values := _values(record, name))]
    return {
        "mean": statistics.fmean(means) if means else None,
        "std": statistics.stdev(means) if len(means) > 1 else None,
    }


def _average(done: Sequence[Record], key: str) -> float | None:
    values = [record.scores[key] for record in done if key in record.scores]
    return statistics.fmean(values) if values else None


def _mean(found: Mapping[str, float | None] | None, metric: str) -> str:
    if found is None or found["mean"] is None:
        return "n/a"
    text = format_score(found["mean"], metric)
    return text if found["std"] is None else f"{text} ± {format_score(found['std'], metric)}"


def _difference(found: Mapping[str, float] | None, name: str) -> str:
    if found is None:
        return ""
    mean, low, high = (format_score(found[key], name) for key in ("mean", "low", "high"))
    return f"{'+' if found['mean'] >= 0 else ''}{mean} [{low}, {high}]"


def _number(value: float | None, form: str = ",.0f") -> str:
    return "" if value is None else f"{value:{form}}"
