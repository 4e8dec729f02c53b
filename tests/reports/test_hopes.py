import pytest
from made_up_records import profile_json, tiny_study, version_rows, write_study_records

from eorestore.experiments.bootstrap import Interval
from eorestore.experiments.study import StudyRow
from eorestore.reports.hopes import HOPES, ROWS, TIME, hope_table, verdict
from eorestore.reports.sources import read_sources

QUALITY = {"glf-cr-v0": 26.0, "glf-cr-v1": 26.5, "glf-cr-v2": 26.4, "glf-cr-v3": 27.0, "glf-cr-v4": 33.5}
TOTAL = "v4 over v0: PSNR, dB"


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 10, 2)


@pytest.mark.parametrize(
    ("least", "measured", "word"),
    [
        (5.0, interval(5.0, 6.0), "met"), (5.0, interval(4.9, 6.0), "open"), (5.0, interval(4.0, 5.0), "open"),
        (5.0, interval(0.1, 4.9), "not met"), (None, interval(1.0, 2.0), "no number hoped for"),
        (5.0, None, "not measured"), (None, None, "not measured"),
    ],
)  # fmt: skip
def test_a_hope_is_met_only_where_the_whole_interval_is(least, measured, word) -> None:
    assert verdict(least, measured) == word


def test_only_the_total_of_the_plan_has_a_number() -> None:
    stated = [(hope.version, hope.over, hope.score, hope.least, hope.most) for hope in HOPES if hope.least is not None]
    assert stated == [("v4", "v0", "psnr", 5.0, 7.0)]
    assert {(hope.version, hope.score) for hope in HOPES} == {
        (version, score) for version in ("v1", "v2", "v3", "v4") for score in ("psnr", "ssim", TIME)
    }


@pytest.mark.parametrize("best", [33.5, 27.0])
def test_the_table_judges_what_a_study_measured(tmp_path, best) -> None:
    study = tiny_study(version_rows()[:5], reference="glf-cr-v0")
    write_study_records(tmp_path, study, lambda row: QUALITY[row.name] if row.name != "glf-cr-v4" else best)
    studies = read_sources([tmp_path]).studies
    times = profile_json({"a/glf-cr-v0-seed0-01234567/best": 300_000, "a/glf-cr-v4-seed0-01234567/best": 330_000})
    table = hope_table(studies, profiles=[times])
    total = next(row for row in table.rows if row[0] == TOTAL)
    assert total[1] == "+5 to +7"
    assert total[2].startswith(f"+{best - 26:.1f}"[:3])
    assert total[4:6] == ("met" if best > 33 else "not met", "tiny")
    time = next(row for row in table.rows if row[0] == "v4 over v0: ms at 256 pixels")
    assert time[2] == "+12.0 ms, 1.10 times (0.33 M parameters)"
    step = next(row for row in table.rows if row[0].startswith("v1 over v0: ms"))
    assert step[2] == step[4] == "not measured"


def test_a_time_is_that_of_two_versions_of_one_size() -> None:
    times = profile_json({"glf-cr-compact-v0": 300_000, "glf-cr-v1": 15_000_000, "glf-cr-compact-v1": 330_000})
    found = {row[0]: row[2] for row in hope_table((), profiles=[times]).rows}
    assert found["v1 over v0: ms at 256 pixels"].endswith("(0.33 M parameters)")
    assert found["v2 over v1: ms at 256 pixels"] == "not measured"


def test_without_a_study_of_the_versions_nothing_is_measured(tmp_path) -> None:
    write_study_records(tmp_path, tiny_study([StudyRow("other")], reference="other"), lambda _: 25.0)
    for studies in ((), read_sources([tmp_path]).studies):
        table = hope_table(studies)
        assert {row[4] for row in table.rows} == {"not measured"}
        assert len(table.rows) == len(HOPES)


def test_the_rows_of_the_shipped_studies_are_known() -> None:
    from eorestore.experiments.study import load_study

    main, grid = ({row.name for row in load_study(name).rows} for name in ("cloud-main", "glf-cr-grid"))
    for names in ROWS.values():
        assert names[0] in main
        assert names[1] in grid
