"""A report on a study of compression: its own columns, the final split apart, curves beside the codecs' of a record."""

from __future__ import annotations

import json
import re

import pytest
from made_up_records import BAND_PLACES, sar_study, write_codecs, write_sar_records

from eorestore.experiments.record import read_record
from eorestore.experiments.study import StudyRow
from eorestore.reports import sar_report
from eorestore.reports.hopes import SAR_COMPRESSION, hope_table
from eorestore.reports.rate_distortion import mean_series
from eorestore.reports.run_report import write_report
from eorestore.reports.sar_report import codec_figure, codec_sections, rate_sections
from eorestore.reports.sources import read_sources
from eorestore.reports.study_report import study_sections
from eorestore.reports.tables import table_of

QUALITY = {"A-16": 24.0, "B-16": 26.5, "C-16": 26.9, "single": 23.0}
TEST = BAND_PLACES["test"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "latents"
    rows = [*(StudyRow(name, main=True) for name in ("A-16", "B-16", "C-16")), StudyRow("single")]
    write_sar_records(folder, sar_study(rows, reference="A-16"), QUALITY)
    return folder


@pytest.fixture(scope="module")
def study(folder):
    return read_sources([folder]).studies[0]


@pytest.fixture(scope="module")
def sections(study):
    return {section.heading: section for section in study_sections(study)}


def cells(section, row: str) -> dict:
    found = [one for one in section.table.rows if one[0] == row]
    return dict(zip(section.table.columns, found[0], strict=True))


def test_rows_lead_with_the_score_at_equal_bytes_and_have_the_columns_of_their_task(sections) -> None:
    row = cells(sections["latents: main rows"], "B-16")
    assert row["PSNR30, dB against A-16"] == "+2.50 [2.50, 2.50]"
    assert row["PSNR30, dB"].startswith("30.00")  # 26.5 + 3 on validation bands, and 0.5 for the second band
    assert row["PSNR30 of the float32 latent, dB"].startswith("38.00")
    assert [row[head][:5] for head in ("bpp, float32", "bpp, float16", "bpp, int8")] == ["2.000", "1.000", "0.500"]
    assert "ENL ratio" in row
    assert "at 0.2 bits per pixel" in sections["latents: main rows"].note
    for section in sections.values():
        assert "cloud" not in section.note + section.heading
        assert section.table is None or "cloud" not in " ".join(map(str, section.table.columns))
    assert "cloud" not in " ".join(str(cell) for row in sections["latents: setup"].table.rows for cell in row)


def test_the_final_split_stands_apart_and_is_what_a_readme_shows(sections, folder) -> None:
    row = cells(sections["latents, test split: main rows"], "B-16")
    assert row["PSNR30, dB"].startswith("27.50")  # 26.5, and 1 for the mean of three bands
    assert "p_VV, q_VV, q_VH" in sections["latents, test split: main rows"].note
    assert dict(sections["latents: setup"].table.rows)["Scored on besides, choosing nothing by it"] == "test places"
    shown = table_of(json.loads((folder / "study.json").read_text()))
    assert [row[0] for row in shown.rows] == list(QUALITY)
    assert shown.rows[1][2].startswith("27.50")


def test_an_enl_ratio_has_no_difference_since_neither_way_is_better(sections) -> None:
    columns = sections["latents: differences to A-16"].table.columns
    assert "PSNR30, dB" in columns
    assert "ENL ratio" not in columns


def test_latents_are_told_in_bytes(sections) -> None:
    row = cells(sections["latents, test split: latents as bytes"], "A-16")
    assert row["Bytes, float32"] == 2 * 256**2 // 8
    assert row["Bytes, coded"] == round(0.75 * 256**2 / 8)
    assert row["PSNR30, int8, dB"].startswith("32.00")


def test_rows_and_codecs_are_drawn_over_the_bands_that_both_have(study, tmp_path, monkeypatch) -> None:
    write_codecs(tmp_path / "codecs.json", {"jpeg2000": 23.0, "ours": 25.0}, bands=[*TEST[1:], "elsewhere_VV"])
    codecs = read_sources([tmp_path / "codecs.json"]).codecs
    drawn = {}
    monkeypatch.setattr(sar_report, "mean_series", lambda bands: drawn.setdefault(len(drawn), mean_series(bands)))
    (section,) = rate_sections(study.final, codecs=codecs)
    assert section.note.startswith("Mean over q_VV, q_VH. ")
    assert "codecs of codecs" in section.note
    assert [(one.name, one.dashed) for one in drawn[0]] == [
        ("A-16", False), ("B-16", False), ("C-16", False), ("jpeg2000", True), ("ours", True),
    ]  # fmt: skip
    table = {row[0]: row[1:] for row in section.table.rows}
    at_half = section.table.columns.index("PSNR30, dB at 0.5 bpp") - 1
    assert table["A-16"][at_half] == pytest.approx(24 + 1.5 + 4 * 1.3219, abs=1e-3)  # log2(0.5 / 0.2)
    assert table["ours"][at_half] == pytest.approx(25 + 4 * 1.3219, abs=1e-3)
    assert table["C-16"][at_half + 1] == pytest.approx(26.9 + 1.5 + 4 * 2.3219, abs=1e-3)


def test_codecs_measured_on_no_common_band_are_left_out(study, tmp_path) -> None:
    write_codecs(tmp_path / "other.json", {"jpeg2000": 23.0}, bands=["elsewhere_VV"])
    (section,) = rate_sections(study.final, codecs=read_sources([tmp_path / "other.json"]).codecs)
    assert "jpeg2000" not in [row[0] for row in section.table.rows]
    assert "codecs of" not in section.note
    assert section.note.startswith(f"Mean over {', '.join(TEST)}.")


def test_a_rate_beyond_the_measured_ones_is_not_invented(tmp_path) -> None:
    path = write_codecs(tmp_path / "codecs.json", {"jpeg2000": 23.0}, bands=["x_VV"])
    (section,) = codec_sections(read_sources([path]).codecs[0])
    row = cells(section, "jpeg2000")
    assert row["PSNR30, dB at 1 bpp"] == pytest.approx(23 + 4 * 2.3219, abs=1e-3)
    points = json.loads(path.read_text())
    points["scores"]["lossy"]["points"]["jpeg2000"]["x_VV"].pop(0)
    path.write_text(json.dumps(points))
    (section,) = codec_sections(read_sources([path]).codecs[0])
    assert cells(section, "jpeg2000")["PSNR30, dB at 0.1 bpp"] is None


def test_the_hopes_of_the_plan_are_judged_at_equal_bytes_on_the_final_split(study) -> None:
    table = hope_table([study], plan=SAR_COMPRESSION)
    found = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    residual, attention = (found[f"{pair}: PSNR30, dB"] for pair in ("B-16 over A-16", "C-16 over B-16"))
    assert (residual["Hoped for"], residual["Verdict"]) == ("+2 to +3", "met")
    assert (attention["Hoped for"], attention["Verdict"]) == ("+1 to +2", "not met")
    assert attention["Measured at 0.2 bpp"] == "+0.40 [0.40, 0.40]"
    assert attention["Measured at 0.5 bpp"] == "not measured"
    assert attention["Study"] == "latents, test split"
    assert found["B-8 over A-8: PSNR30, dB"]["Verdict"] == "not measured"


def test_the_rows_of_the_plan_are_those_of_the_shipped_study() -> None:
    from eorestore.experiments.study import load_study

    shipped = load_study("sar-autoencoder")
    assert {name for names in SAR_COMPRESSION.rows.values() for name in names} <= {row.name for row in shipped.rows}
    assert {row.name for row in shipped.rows if row.main} == set(SAR_COMPRESSION.rows)
    assert shipped.evaluate.splits == ("validation", "test")


def test_a_report_on_a_study_of_compression_speaks_of_no_cloud(folder, tmp_path) -> None:
    codecs = write_codecs(tmp_path / "codecs.json", {"jpeg2000": 23.0}, bands=TEST)
    write_report(tmp_path / "out", [folder, codecs])
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for heading in (
        "latents: main rows", "latents, test split: rate and distortion", "codecs: rate and distortion",
        "What the plan of SAR compression hoped for",
    ):  # fmt: skip
        assert f"## {heading}\n" in text
    assert "cloud" not in text
    assert "What the plan hoped for" not in text  # of GLF-CR
    for name in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_the_published_record_of_codecs_is_a_picture(request) -> None:
    record = read_record(request.config.rootpath / "results" / "sar-codecs.json")
    figure = codec_figure(record.scores)
    axes = [one for one in figure.axes if one.get_visible()]
    assert [one.get_ylabel() for one in axes] == ["PSNR30, dB", "SSIM"]
    assert all(one.get_xscale() == "log" for one in axes)
    assert {line.get_label() for line in axes[0].lines} == set(record.scores["lossy"]["points"])
