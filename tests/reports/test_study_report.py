import dataclasses
import json
import re

import pytest
from made_up_records import (
    evaluation_table,
    profile_json,
    tiny_study,
    version_rows,
    write_comparison,
    write_evaluation,
    write_study_records,
)

from eorestore.errors import DataError, UsageError
from eorestore.experiments.study import StudyRow
from eorestore.reports.pairs import means_by_cover, row_difference
from eorestore.reports.run_report import write_report
from eorestore.reports.sources import read_sources
from eorestore.reports.study_report import study_sections

QUALITY = {
    "glf-cr-v0": 26.0,
    "glf-cr-v1": 26.5,
    "glf-cr-v2": 26.4,
    "glf-cr-v3": 27.0,
    "glf-cr-v4": 32.5,
    "single": 25.5,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "tiny"
    study = tiny_study([*version_rows(), StudyRow("late")], reference="glf-cr-v0")
    write_study_records(folder, study, lambda row: QUALITY.get(row.name, 24.0), unfinished=("late",))
    return folder


@pytest.fixture(scope="module")
def study(folder):
    return read_sources([folder]).studies[0]


@pytest.fixture(scope="module")
def sections(study):
    found = study_sections(study, profiles=[profile_json({"runs/glf-cr-v1-seed0-0123abcd/best": 301_000})])
    return {section.heading.removeprefix("tiny: "): section for section in found}


def cells(section, row: str) -> dict:
    found = [one for one in section.table.rows if one[0] == row]
    return dict(zip(section.table.columns, found[0], strict=True))


def test_rows_show_the_numbers_of_the_summary(sections, study) -> None:
    summary = {row["row"]: row for row in study.summary.scores["results"]}
    row = cells(sections["main rows"], "glf-cr-v4")
    mean, spread = (summary["glf-cr-v4"]["scores"]["psnr_cloud"][key] for key in ("mean", "std"))
    assert row["PSNR, dB"] == f"{mean:.2f} ± {spread:.2f}"
    assert row["Seeds"] == 3
    against = summary["glf-cr-v4"]["difference"]["psnr_cloud"]
    assert row["PSNR, dB against glf-cr-v0"] == f"+{against['mean']:.2f} [{against['low']:.2f}, {against['high']:.2f}]"
    assert [one[0] for one in sections["single cells"].table.rows] == ["single"]


def test_a_run_is_matched_with_its_cost_but_not_with_that_of_a_larger_preset(sections, study) -> None:
    assert cells(sections["main rows"], "glf-cr-v1")["ms"] == f"{4 * 30.1:.1f}"
    assert cells(sections["main rows"], "glf-cr-v0")["ms"] == "not measured"
    preset = study_sections(study, profiles=[profile_json({"glf-cr-v1": 14_827_373})])[1]
    assert "ms" not in preset.table.columns  # of the same name, and of another size


def test_skipped_failed_and_missing_rows_are_named_with_the_reason(sections) -> None:
    assert sections["rows without a result"].table.rows == (
        ("vgg", "skipped", "vgg16 has no weights here"),
        ("loud", "failed", "the loss is not finite at step 12 | 13"),
        ("late", "not done yet", ""),
    )


def test_the_difference_between_any_two_rows_is_that_of_the_summary(study) -> None:
    for row in study.summary.scores["results"]:
        if row["difference"].get("psnr_cloud"):
            found = row_difference(study, row["row"], over="glf-cr-v0", score="psnr_cloud")
            assert dataclasses.asdict(found) == {
                key: value for key, value in row["difference"]["psnr_cloud"].items() if key != "clear"
            }
    forth, back = (
        row_difference(study, a, over=b, score="mae_cloud") for a, b in (("single", "vgg"), ("vgg", "single"))
    )
    assert forth is back is None
    better = row_difference(study, "glf-cr-v4", over="glf-cr-v1", score="mae_cloud")
    worse = row_difference(study, "glf-cr-v1", over="glf-cr-v4", score="mae_cloud")
    assert better.mean == pytest.approx(-worse.mean)
    assert better.low > 0


def test_scores_by_cover_are_means_over_cases_and_seeds(study, sections) -> None:
    means = means_by_cover(study, "glf-cr-v0", score="psnr_cloud")
    values = [case["scores"]["psnr_cloud"] for case in study.cases("glf-cr-v0") if case["cover"] == 0.4]
    assert len(values) == 3 * 3 * 2
    assert means[0.4] == pytest.approx(sum(values) / len(values))
    assert cells(sections["by cloud cover"], "glf-cr-v0")["40 %"] == f"{means[0.4]:.2f}"
    assert sections["by cloud cover"].figure is not None


def test_intervals_are_shown_by_place_for_models_that_have_some(sections) -> None:
    assert cells(sections["intervals by place"], "glf-cr-v2")["po"] == "0.880"
    assert sections["intervals by place"].table.columns == ("Model", "All places", "alps", "po", "Width")


def test_the_setup_comes_from_the_configuration_of_the_runs(sections) -> None:
    setup = dict(sections["setup"].table.rows)
    assert setup["FLOPs of a training"] == "6e+12"
    assert setup["Training seeds of a main row"] == "3"


def test_every_part_names_commit_machine_and_data(sections, study) -> None:
    record = study.records[0]
    for section in sections.values():
        assert f"Commit {record.commit[:9]}" in section.note, section.heading
        assert record.machine.processor in section.note
        assert re.search(r"Data: 2 files, SHA-256 [0-9a-f]{12}\.", section.note)


def test_equal_data_have_one_hash_and_other_data_another(study) -> None:
    from eorestore.reports.provenance import describe_data

    record = study.records[0]
    changed = dataclasses.replace(record, data={**record.data, "scenes.csv": "f" * 64})
    assert describe_data([record]) == describe_data(study.records)
    assert describe_data([record]) != describe_data([changed])
    assert describe_data([dataclasses.replace(record, data={})]) == "none recorded"


def test_a_summary_alone_has_rows_and_differences_but_no_scores_by_cover(folder, tmp_path) -> None:
    (tmp_path / "study-tiny.json").write_bytes((folder / "study.json").read_bytes())
    found = read_sources([tmp_path / "study-tiny.json"]).studies[0]
    headings = [section.heading for section in study_sections(found)]
    assert found.name == "tiny"
    assert "tiny: differences to glf-cr-v0" in headings
    assert "tiny: by cloud cover" not in headings


def test_runs_are_found_in_a_folder_called_after_the_summary(folder, tmp_path, study) -> None:
    (tmp_path / "study-tiny.json").write_bytes((folder / "study.json").read_bytes())
    (tmp_path / "study-tiny").mkdir()
    for path in folder.glob("*-seed*.json"):
        (tmp_path / "study-tiny" / path.name).write_bytes(path.read_bytes())
    assert read_sources([tmp_path / "study-tiny.json"]).studies[0].runs == study.runs


def test_a_report_on_everything_is_complete_and_loads_nothing(folder, tmp_path) -> None:
    models = {"clearview": 30.0, "inpaint": 25.0}
    table = evaluation_table(models, sigma=["clearview"], strata=("thickness", "distance"))
    paths = [
        folder,
        write_evaluation(tmp_path / "strata", table),
        write_evaluation(tmp_path / "other", evaluation_table({"inpaint": 25.0})),
        write_comparison(tmp_path / "costs", {"clearview": 300_000, "inpaint": 100}, table=table) / "comparison.json",
    ]
    page = write_report(tmp_path / "out", paths, latex=tmp_path / "paper")
    text, markdown = page.read_text(encoding="utf-8"), (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for heading in (
        "tiny: main rows", "tiny: differences to glf-cr-v0", "What the plan hoped for", "Comparison costs: costs",
        "Evaluation strata: by thickness", "Evaluation strata: strata", "Failure cases", "Median cases",
    ):  # fmt: skip
        assert f"## {heading}\n" in markdown
        assert f"<h2>{heading}</h2>" in text
    for name in re.findall(r"!\[.*\]\((.*)\)", markdown):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert not re.search(r"https?:|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    assert "strata: clearview on scene-a, 40 % cover, seed 1" not in markdown  # it stands in the picture


def test_a_picture_that_is_gone_is_left_out_with_a_warning(tmp_path, caplog) -> None:
    folder = write_evaluation(tmp_path / "one", evaluation_table({"inpaint": 25.0}))
    (folder / "cases" / "worst-scene-a.png").unlink()
    write_report(tmp_path / "out", [folder])
    assert "worst-scene-a.png is not there" in caplog.text
    assert not (tmp_path / "out" / "failure-cases.png").exists()
    assert (tmp_path / "out" / "best-cases.png").exists()


def test_pictures_need_the_checkpoints_of_the_study(folder, tmp_path) -> None:
    with pytest.raises(UsageError, match="no checkpoints of tiny"):
        write_report(tmp_path / "out", [folder], pictures=1)


def test_a_record_that_no_report_tells_and_an_empty_folder_are_refused(folder, tmp_path) -> None:
    with pytest.raises(DataError, match="a record of ablation"):
        read_sources([folder / "vgg-seed0.json"])
    with pytest.raises(DataError, match=r"holds no record\.json"):
        read_sources([tmp_path])


def test_two_studies_of_one_name_are_refused(folder) -> None:
    with pytest.raises(UsageError, match="different names"):
        read_sources([folder, folder / "study.json"])


def test_an_edited_summary_is_refused(folder, tmp_path) -> None:
    values = json.loads((folder / "study.json").read_text())
    values["config"]["reference"] = "single"
    (tmp_path / "study.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match="does not have the hash"):
        read_sources([tmp_path])
