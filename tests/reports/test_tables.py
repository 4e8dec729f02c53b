import json
import math
import re

import numpy as np
import pytest
from made_up_records import evaluation_table, tiny_study, version_rows, write_comparison, write_study_records

from eorestore.errors import DataError, UnknownNameError
from eorestore.reports.table import Table, format_cell, to_markdown
from eorestore.reports.tables import read_json, render_page, stale_tables, table_of, update_page


def evaluation(*, covers=(0.2, 0.4)) -> dict:
    groups = [
        {
            "model": model,
            "cover": cover,
            "scores": {
                "psnr": {"mean": base + (cover or 0), "std": None, "count": 3},
                "psnr_cloud": {"mean": base, "std": 1.25, "count": 3},
                "ssim": {"mean": None, "std": None, "count": 0},
            },
        }
        for cover in covers
        for model, base in (("identity", 10.0), ("glf-cr-compact", 25.126))
    ]
    return {"protocol": "eorestore", "metrics": ["psnr", "ssim"], "conditions": {}, "rows": [], "aggregates": groups}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20.4012, "20.40"), (0.72912, "0.7291"), (1.0, "1.000"), (12345.6, "12346"), (-3.14159, "-3.142"),
        (65536, "65,536"), (math.nan, "n/a"), (None, "n/a"), (math.inf, "∞"), ("B04", "B04"),
    ],
)  # fmt: skip
def test_cells_have_four_digits_and_no_nan(value, text) -> None:
    assert format_cell(value) == text


def test_markdown_has_numbers_to_the_right_and_escapes_bars() -> None:
    text = to_markdown(Table(("Name", "PSNR"), (("a|b", 20.4012), ("c", None))))
    assert text == "| Name | PSNR |\n| --- | ---: |\n| a\\|b | 20.40 |\n| c | n/a |\n"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="a row of 1 cells"):
        Table(("a", "b"), (("x",),))


def test_one_score_of_an_evaluation_stands_as_models_by_covers() -> None:
    table = table_of(evaluation(), score="psnr_cloud")
    assert table.columns == ("PSNR cloud, dB", "20 %", "40 %")
    assert table.rows[1] == ("glf-cr-compact", "25.13 ± 1.25", "25.13 ± 1.25")


def test_strata_of_one_kind_stand_by_themselves() -> None:
    part = {"kind": "texture", "name": "top fifth", "model": "identity", "scores": {"psnr": 21.5}, "pixels": 70}
    table = table_of(evaluation() | {"strata": [part]}, score="texture")
    assert table.columns[:3] == ("Texture", "Model", "PSNR, dB")
    assert table.rows[0][:3] == ("top fifth", "identity", "21.50")
    with pytest.raises(UnknownNameError):
        table_of(evaluation(), score="texture")


def test_the_means_of_an_evaluation_name_missing_scores() -> None:
    table = table_of(evaluation())
    assert table.columns == ("Cover", "Model", "PSNR, dB", "SSIM", "Scenes")
    assert table.rows[0] == ("20 %", "identity", "10.20", "n/a", 3)
    real = table_of(evaluation(covers=(None,)))
    assert real.columns == ("Model", "PSNR, dB", "SSIM", "Scenes")


def test_the_json_that_an_evaluation_writes_is_understood() -> None:
    from eorestore.experiments.evaluation_table import EvaluationRow, EvaluationTable

    rows = tuple(
        EvaluationRow("identity", f"s{seed}", "p", 0.4, seed, 0.4, {"psnr": value, "psnr_cloud": np.nan})
        for seed, value in enumerate((20.0, 22.0))
    )
    record = json.loads(json.dumps(EvaluationTable("eorestore", ("psnr",), {}, rows).to_json()))
    assert table_of(record).rows == (("40 %", "identity", f"21.00 ± {math.sqrt(2):.2f}", 2),)
    assert table_of(record, score="psnr_cloud").rows == (("identity", "n/a"),)


README = """# Title
<!-- table: plain -->
old
<!-- end table -->
between
<!-- table: clouds:psnr_cloud -->
<!-- end table -->
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "plain.json").write_text(json.dumps({"columns": ["a", "b"], "rows": [["x", 1.5], ["y", None]]}))
    (tmp_path / "clouds.json").write_text(json.dumps(evaluation()))
    return tmp_path


def test_marked_tables_are_rendered_and_other_text_stays(project) -> None:
    text = render_page(project / "README.md", project)
    assert "old" not in text
    assert "| x | 1.500 |\n| y | n/a |" in text
    assert "| identity | 10.00 ± 1.25 |" in text
    assert text.startswith("# Title\n<!-- table: plain -->\n")
    assert "<!-- end table -->\nbetween\n<!-- table: clouds:psnr_cloud -->\n" in text


def test_a_number_typed_by_hand_is_found(project) -> None:
    readme = project / "README.md"
    assert stale_tables(readme, project) == ("plain", "clouds:psnr_cloud")
    update_page(readme, project)
    assert stale_tables(readme, project) == ()
    readme.write_text(readme.read_text().replace("25.13", "29.13", 1))
    assert stale_tables(readme, project) == ("clouds:psnr_cloud",)


def test_a_missing_record_is_named(project) -> None:
    (project / "clouds.json").unlink()
    with pytest.raises(DataError, match=r"clouds\.json holds no record"):
        render_page(project / "README.md", project)


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": 1}'])
def test_what_is_not_a_record_is_refused(project, content) -> None:
    (project / "bad.json").write_text(content)
    with pytest.raises(DataError):
        table_of(read_json(project / "bad.json"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder of results with a study and two comparisons, one of costs alone."""
    folder = tmp_path_factory.mktemp("results")
    study = tiny_study(version_rows(), reference="glf-cr-v0", name="cloud-main")
    write_study_records(folder / "study", study, lambda row: 26.0 + len(row.name) / 10)
    (folder / "study" / "study.json").rename(folder / "study-cloud-main.json")
    models = {"clearview": 300_000, "inpaint": 100}
    write_comparison(folder / "a", models).joinpath("comparison.json").rename(folder / "cloud-costs.json")
    table = evaluation_table({"clearview": 30.0, "inpaint": 25.0})
    write_comparison(folder / "b", models, table=table).joinpath("comparison.json").rename(folder / "both.json")
    return folder


def test_a_study_stands_in_a_readme_with_its_source(results, tmp_path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("<!-- table: study-cloud-main -->\n<!-- end table -->\n")
    update_page(readme, results)
    text = readme.read_text(encoding="utf-8")
    columns = (
        "Row | Seeds | PSNR, dB | SSIM | MAE | SAM, degrees | PSNR, dB against glf-cr-v0 | Parameters | GFLOPs a step"
    )
    assert f"| {columns} |" in text
    assert re.search(r"\| glf-cr-v4 \| 3 \| \d\d\.\d\d ± \d\.\d\d \|", text)
    assert "\nCommit " in text
    assert "Data: 2 files, SHA-256 " in text
    assert stale_tables(readme, results) == ()


def test_one_score_of_a_study_stands_with_its_difference(results) -> None:
    table = table_of(read_json(results / "study-cloud-main.json"), score="mae_cloud")
    assert table.columns == ("Row", "Seeds", "MAE cloud", "Against glf-cr-v0")
    rows = {row[0]: row for row in table.rows}
    assert rows["glf-cr-v0"][3] == "reference"
    assert re.fullmatch(r"[+-]0\.\d{4} \[-?0\.\d{4}, -?0\.\d{4}\]", rows["single"][3])


def test_a_comparison_stands_with_differences_and_one_of_costs_with_costs(results) -> None:
    both, costs = (table_of(read_json(results / f"{name}.json")) for name in ("both", "cloud-costs"))
    assert both.columns[:3] == ("Model", "PSNR cloud, dB", "SSIM cloud")
    assert both.rows[0][1].count("(") == 0
    assert both.rows[1][1].count("(") == 1
    assert both.rows[1][-2:] == (3, 2)
    assert costs.rows[0][:3] == ("clearview", "128 x 128", 300_000)
    by_cover = table_of(read_json(results / "both.json"), score="psnr_cloud")
    assert by_cover.columns == ("PSNR cloud, dB", "all covers", "20 %", "40 %", "70 %")


@pytest.mark.parametrize(
    ("score", "words"),
    [
        ("bias_cloud", "Absolute bias cloud"), ("ndvi_cloud", "NDVI error cloud"), ("ndwi_cloud", "NDWI error cloud"),
        ("gradient_correlation_cloud", "Gradient correlation cloud"), ("psnr", "PSNR, dB"),
        ("edge_correlation_cloud", "Edge correlation cloud"), ("coverage_90_cloud", "90 % coverage cloud"),
        ("interval_width_cloud", "90 % interval width cloud"), ("sam_shadow", "SAM shadow, degrees"),
    ],
)  # fmt: skip
def test_scores_have_headings(score, words) -> None:
    assert table_of(evaluation(), score=score).columns[0] == words


def test_a_score_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="'blur_cloud'"):
        table_of(evaluation(), score="blur_cloud")


def test_a_detail_of_methods_stands_by_method_and_case():
    details = {
        "ours | a": {"coverage_90": 0.9, "seconds": 1.0},
        "ours | b": {"coverage_90": 0.8},
        "plain | a": {"seconds": 2.0},
        "theirs | b": {"coverage_90": 0.5},
    }
    table = table_of({"columns": [], "rows": [], "details": details}, score="coverage_90")
    assert table.columns == ("coverage 90", "a", "b")
    assert table.rows == (("ours", 0.9, 0.8), ("theirs", None, 0.5))
    with pytest.raises(DataError, match="no method"):
        table_of({"details": details}, score="colour")
