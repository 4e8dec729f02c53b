"""Records of studies, evaluations and comparisons with made-up scores, in the form that the experiments write them.

The scores are invented; what surrounds them comes from `make_record`, and tables, summaries and differences from the
functions that make them in earnest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import numpy as np

from eorestore.config import config_hash
from eorestore.experiments.compare import ModelComparison, compare_tables
from eorestore.experiments.evaluation_table import EvaluationRow, EvaluationTable
from eorestore.experiments.profile import ModelProfile, SizeProfile
from eorestore.experiments.record import Record, make_record, write_record
from eorestore.experiments.strata_table import StratumRow
from eorestore.experiments.study import Study, StudyEvaluation, StudyRow
from eorestore.experiments.study_plan import run_key, run_name
from eorestore.experiments.study_summary import write_summary
from eorestore.reports.png import write_png
from small_study import BASE

PLACES = {"scene-a": "alps", "scene-b": "alps", "scene-c": "po"}
CONDITIONS = {"Split": "validation", "Clouds": "20-150 px, seeds 0, 1"}
DATA = {"scenes.csv": "0" * 64, "alps/S2.tif": "1" * 64}
METRICS = ("psnr", "ssim", "mae", "sam")
BANDS = ("B02", "B03", "B04")


def tiny_study(rows: Sequence[StudyRow], *, reference: str, name: str = "tiny") -> Study:
    return Study(name, BASE, tuple(rows), reference, evaluate=StudyEvaluation(covers=(0.2, 0.4, 0.7), seeds=(0, 1)))


def version_rows() -> list[StudyRow]:
    """The five versions, a baseline, a single cell, one that is skipped and one that fails."""
    versions = [StudyRow(f"glf-cr-v{number}", main=True) for number in range(5)]
    others = [StudyRow("inpaint", baseline="inpaint"), StudyRow("single"), StudyRow("vgg", needs=("vgg16",))]
    return [*versions, *others, StudyRow("loud")]


def evaluation_table(
    models: Mapping[str, float],
    *,
    covers: Sequence[float | None] = (0.2, 0.4, 0.7),
    seeds: Sequence[int] = (0, 1),
    sigma: Sequence[str] = (),
    strata: Sequence[str] = (),
    noise: int = 0,
) -> EvaluationTable:
    """Rows whose PSNR inside cloud lies around the number of the model, 6 dB less at full cover.

    sigma: models that have intervals. noise: another number gives other noise around the same means.
    """
    rows, parts = [], []
    for model, level in models.items():
        for place, (scene, region) in enumerate(PLACES.items()):
            for cover in covers:
                for seed in seeds:
                    share = cover or 0.3
                    sky = np.random.default_rng([place, int(100 * share), seed])
                    own = np.random.default_rng([place, int(100 * share), seed, noise, len(model), int(100 * level)])
                    psnr = level - 6 * share + 3 * place + sky.normal(0, 1.0) + own.normal(0, 0.1)
                    scores = _scores(psnr, honest=model in sigma)
                    by_band = {"bias": dict.fromkeys(BANDS, 0.01)}
                    key = (model, scene, region, cover, None if cover is None else seed)
                    rows.append(EvaluationRow(*key, share, scores, by_band=by_band))
                    parts += [
                        StratumRow(*key, kind, part, 500, {name: scores[f"{name}_cloud"] + step for name in METRICS})
                        for kind in strata
                        for step, part in enumerate(_PARTS[kind])
                    ]
    return EvaluationTable("eorestore", METRICS, CONDITIONS, tuple(rows), tuple(parts))


_PARTS = {
    "thickness": ("thin", "thick"), "distance": ("0-8 px", "8-32 px", "32 px and more"),
    "texture": ("textured", "smooth"), "cloud": ("20-40 %", "40-60 %", "100 %"), "landcover": ("class 4", "class 11"),
}  # fmt: skip


def _scores(psnr: float, *, honest: bool) -> dict[str, float]:
    error = 10 ** (-psnr / 20)
    inside = {"psnr": psnr, "ssim": 1 - 3 * error, "mae": 0.7 * error, "sam": 90 * error}
    found = {f"{name}_cloud": value for name, value in inside.items()}
    found |= inside | {"psnr": psnr + 4, "psnr_shadow": math.nan, "psnr_clear": math.inf}
    found |= {"bias_cloud": 0.2 * error, "ndvi_cloud": error, "ndwi_cloud": 1.1 * error}
    found |= {"gradient_correlation_cloud": 1 - 8 * error, "edge_correlation_cloud": 1 - 9 * error}
    sigma = (0.88, 3.3 * error) if honest else (math.nan, math.nan)
    return found | {"coverage_90_cloud": sigma[0], "interval_width_cloud": sigma[1]}


def write_study_records(
    folder: Path,
    study: Study,
    quality: Callable[[StudyRow], float],
    *,
    unfinished: Sequence[str] = (),
    strata: Sequence[str] = (),
) -> dict[str, Record]:
    """Records of all runs of a study but those of `unfinished` rows, and its summary.

    A row that needs weights is skipped, and one called `loud` fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    names = [row.name for row in study.rows]
    for row, seed in study.runs():
        number = names.index(row.name)
        if row.name in unfinished:
            continue
        name = run_name(row, seed)
        if row.needs:
            scores = {"status": "skipped", "reason": f"{row.needs[0]} has no weights here"}
        elif row.name == "loud":
            scores = {"status": "failed", "reason": "the loss is not finite at step 12 | 13"}
        else:
            table = evaluation_table({name: quality(row)}, sigma=[name] if seed == 0 else [], noise=seed, strata=strata)
            facts = {} if row.baseline else {"parameters": 300_000 + 1000 * number, "gflops_step": 20.0 + 3 * number}
            scores = {"status": "done", **facts, "steps": 100, **table.to_json()}
        record = _record("ablation", name, config=run_key(study, row, seed), scores=scores)
        records[name] = record
        write_record(folder / f"{name}.json", record)
    write_summary(study, folder, records)
    return records


BAND_PLACES = {"validation": ("x_VV", "y_VH"), "test": ("p_VV", "q_VV", "q_VH")}
LATENT = {"name": "sar-autoencoder", "settings": {"latent": 16}}
RATES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # of the coded latents


def sar_study(rows: Sequence[StudyRow], *, reference: str, name: str = "latents") -> Study:
    """A study of compression that is scored on validation bands, and on the test bands at last."""
    base = {
        **BASE,
        "task": "sar-compression",
        "processor": "sar-vv",
        "model": LATENT,
        "data": {"manifest": "bands.csv"},
    }
    wanted = StudyEvaluation(metrics=("psnr30", "ssim", "enl_ratio", "epi_pearson"), final="test")
    return Study(name, base, tuple(rows), reference, evaluate=wanted)


def write_sar_records(folder: Path, study: Study, quality: Mapping[str, float]) -> dict[str, Record]:
    """Records of a study of compression; `quality` is the PSNR30 of a row at 0.2 bits per pixel on the test bands."""
    folder.mkdir(parents=True, exist_ok=True)
    records = {}
    for number, (row, seed) in enumerate(study.runs()):
        name = run_name(row, seed)
        first, final = (_band_scores(name, quality[row.name] + gain, BAND_PLACES[split])
                        for split, gain in (("validation", 3.0), ("test", 0.0)))  # fmt: skip
        facts = {"parameters": 500_000 + number, "gflops_step": 5.0 + number, "steps": 100}
        scores = {"status": "done", **facts, **first, "final": final}
        records[name] = _record("ablation", name, config=run_key(study, row, seed), scores=scores)
        write_record(folder / f"{name}.json", records[name])
    write_summary(study, folder, records)
    return records


def _band_scores(model: str, level: float, bands: Sequence[str]) -> dict:
    """What `score_autoencoder` gives: PSNR30 rises by 4 dB as the rate doubles, and by 1 from band to band."""
    rows, points = [], []
    for number, band in enumerate(bands):
        curve = [(rate, level + number + 4 * math.log2(rate / 0.2)) for rate in RATES]
        points += [_point(band, "coded", rate, psnr) for rate, psnr in curve]
        points.append(_point(band, "float32", 2.0, level + number + 8))
        at = {f"_at_{rate:g}": psnr for rate, psnr in curve if rate in (0.1, 0.2)}
        stored = {"": (2.0, 8.0), "_float16": (1.0, 8.0), "_int8": (0.5, 7.0)}
        found = {f"psnr30{end}": psnr for end, psnr in at.items()}
        found |= {
            f"{name}{end}": psnr / 50 for name in ("ssim", "enl_ratio", "epi_pearson") for end, psnr in at.items()
        }
        found |= {f"psnr30{end}": level + number + gain for end, (_, gain) in stored.items()}
        found |= {f"bpp{end}": rate for end, (rate, _) in stored.items()} | {"bpp_coded": 0.75}
        place = band.split("_")[0]
        rows.append({"model": model, "scene": band, "place": place, "cover": None, "seed": None, "scores": found})
    return {"conditions": {"Bands": ", ".join(bands)}, "metrics": [], "rows": rows, "points": points}


def _point(band: str, storage: str, rate: float, psnr: float) -> dict:
    step = rate if storage == "coded" else None
    return {"band": band, "storage": storage, "step": step, "bpp": rate, "scores": {"psnr30": psnr, "ssim": psnr / 50}}


def write_codecs(path: Path, codecs: Mapping[str, float], *, bands: Sequence[str]) -> Path:
    """A record of codecs side by side; the number is the PSNR30 at 0.2 bits per pixel."""
    points = {
        name: {
            band: [
                {"bpp": rate, "psnr30": level + 4 * math.log2(rate / 0.2), "ssim": 0.9, "setting": rate}
                for rate in (0.1, 0.25, 1.0, 4.0)
            ]
            for band in bands
        }
        for name, level in codecs.items()
    }
    write_record(path, _record("benchmark", path.stem, config={}, scores={"lossy": {"points": points}}))
    return path


def write_evaluation(folder: Path, table: EvaluationTable, *, cases: bool = True) -> Path:
    """evaluation.json of a table, with three pictures of five panels each."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for rank, name in enumerate(("worst", "median", "best") if cases else ()):
        pixels = np.random.default_rng(rank).integers(0, 256, (32, 5 * 32 + 16, 3), dtype=np.uint8)
        path = f"cases/{name}-scene-a.png"
        write_png(folder / path, pixels)
        picture = {"name": name, "path": path, "value": 20.0 + rank, "scene": "scene-a", "cover": 0.4, "seed": 1}
        pictures.append(picture)
    scores = {**table.to_json(), "comparisons": [], "cases": pictures}
    record = _record("evaluation", " ".join(table.models), config={}, scores=scores)
    write_record(folder / "evaluation.json", record)
    return folder


def profiles(models: Mapping[str, int]) -> tuple[ModelProfile, ...]:
    """Costs of models by name and parameters, the larger the dearer."""
    found = []
    for model, parameters in models.items():
        flops, milliseconds, ratio = parameters, parameters / 1e4, parameters / next(iter(models.values()))
        sizes = tuple(
            SizeProfile(side, flops * side**2, milliseconds * (side / 128) ** 2, ratio, 2.5, 300 * parameters)
            for side in (128, 256)
        )
        found.append(ModelProfile(model, parameters, sizes))
    return tuple(found)


def write_comparison(folder: Path, models: Mapping[str, int], *, table: EvaluationTable | None = None) -> Path:
    """comparison.json of costs, with differences where a table is given."""
    folder.mkdir(parents=True, exist_ok=True)
    costs = profiles(models)
    found = ModelComparison(tuple(models), {}, (), costs, 1000)
    if table is not None:
        found = compare_tables(table, profiles=costs, resamples=1000)
    record = _record("comparison", " ".join(models), config={"models": list(models)}, scores=found.to_json())
    write_record(folder / "comparison.json", record)
    return folder


@cache
def _empty() -> Record:
    return make_record("made up", "made up", config={}, scores={}, seconds=60.0, data=DATA)


def _record(kind: str, name: str, *, config: dict, scores: dict) -> Record:
    """What `make_record` gives, which asks for the commit only once."""
    plain = json.loads(json.dumps(scores).replace("NaN", "null"))
    return replace(_empty(), kind=kind, name=name, config=config, config_hash=config_hash(config), scores=plain)


def profile_json(models: Mapping[str, int]) -> list[dict]:
    return [asdict(profile) for profile in profiles(models)]
