import re
from pathlib import Path

import pytest
from made_up_records import evaluation_table, tiny_study, version_rows, write_comparison, write_evaluation
from made_up_records import write_study_records as write

from eorestore.experiments.study import StudyRow
from eorestore.reports.latex import escape, to_latex, write_generated
from eorestore.reports.page import Section
from eorestore.reports.run_report import report_sections
from eorestore.reports.sources import read_sources
from eorestore.reports.table import Table

PAPER = Path(__file__).parents[2] / "paper"
# Drawn from checkpoints and scenes, which records made up for a test do not have; see test_version_pictures.
RESTORED = {"cloud-main-versions-on-scene-1", "cloud-main-versions-on-scene-1-maps"}


def check_structure(text: str) -> None:
    """Every brace and environment is closed, in order, and no special character stands bare in running text."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    depth, position = 0, 0
    for found in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        position = found.start()
        assert depth >= 0, text[max(0, position - 80) : position + 20]
    assert depth == 0
    open_: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", text):
        if kind == "begin":
            open_.append(name)
        else:
            assert open_.pop() == name
    assert open_ == []
    assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0


def test_cells_are_escaped_and_numbers_stand_to_the_right() -> None:
    table = Table(
        ("Row_name", "PSNR, dB", "Note"), (("v1 & v2_x", "25.1 ± 0.2", "95 % {a}"), ("#3", None, "<$5 \\ ~^"))
    )
    text = to_latex(table, note="50 % of 1_000")
    check_structure(text)
    assert r"\begin{tabular}{@{}lrl@{}}" in text
    assert r"v1 \& v2\_x & 25.1 $\pm$ 0.2 & 95 \% \{a\} \\" in text
    assert r"\#3 & n/a & $<$\$5 \textbackslash{} \textasciitilde{}\textasciicircum{} \\" in text
    assert r"50 \% of 1\_000" in text


def test_escaped_text_is_plain_ascii_or_latin() -> None:
    text = escape("∞ \N{MINUS SIGN}3 \N{MULTIPLICATION SIGN}\N{EN DASH}\N{HORIZONTAL ELLIPSIS}|é")
    assert text == r"$\infty$ $-$3 $\times$--\ldots{}$|$é"


def test_a_long_heading_is_broken_into_two_lines() -> None:
    text = to_latex(Table(("a", "Gradient correlation"), (("x", 1.0),)))
    assert r"\makecell[r]{Gradient\\correlation}" in text


def test_a_figure_brings_its_note_and_is_the_same_twice(tmp_path) -> None:
    from eorestore.reports.plots import against_cover

    drawings = [against_cover({"a": {0.2: 20.0, 0.4: 19.0}}, score="PSNR, dB") for _ in range(2)]
    assert drawings[0] == drawings[1]
    assert drawings[0].pdf.startswith(b"%PDF")
    names = write_generated(tmp_path, [Section("A plot: x", figure=drawings[0], note="50 %")])
    assert names == ("a-plot-x.pdf", "a-plot-x-note.tex")
    assert "50 \\%" in (tmp_path / "generated" / "a-plot-x-note.tex").read_text()


def test_every_citation_is_in_the_references_and_each_reference_is_cited_and_whole() -> None:
    text, references = ((PAPER / name).read_text() for name in ("main.tex", "references.bib"))
    cited = {key for group in re.findall(r"\\cite\w*\{([^}]+)\}", text) for key in group.split(",")}
    known = re.findall(r"^@\w+\{(\w+),$", references, re.MULTILINE)
    assert cited == set(known)
    assert len(known) == len(set(known)) > 10
    check_structure(references)


def test_the_paper_is_well_formed_and_points_only_to_what_it_has() -> None:
    text = (PAPER / "main.tex").read_text()
    check_structure(text)
    results = {kind: set(re.findall(rf"^\\result{kind}\{{([a-z0-9-]+)\}}", text, re.MULTILINE)) for kind in KINDS}
    assert set(re.findall(r"\\ref\{tab:([^}]+)\}", text)) == results["table"]
    assert set(re.findall(r"\\ref\{fig:([^}]+)\}", text)) == results["figure"]
    body = text[text.index(r"\begin{document}") :]
    assert r"\input" not in body
    assert r"\includegraphics" not in body


def test_the_words_of_the_paper_hold_no_result() -> None:
    body = (PAPER / "main.tex").read_text().partition(r"\begin{document}")[2]
    body = re.sub(
        r"\\(?:cite\w*|ref|result\w+)\{[^}]*\}|v[0-4]|Sentinel-[12]|SEN12MS|DSen2|95\\,\\%|90\\,\\%", "", body
    )
    assert re.findall(r"\d+[.,]?\d*", body) == []


KINDS = ("table", "figure")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """What the report writes for the paper from records of the three studies, an evaluation and a comparison."""
    folder = tmp_path_factory.mktemp("paper")
    main = tiny_study([StudyRow("clearview", main=True), *version_rows()], reference="clearview", name="cloud-main")
    grid = tiny_study([StudyRow("v0", main=True), *version_rows()[-3:]], reference="v0", name="glf-cr-grid")
    afsst = tiny_study([StudyRow("afsst", main=True), StudyRow("msfem-off")], reference="afsst", name="afsst")
    for study in (main, grid, afsst):
        write(folder / study.name, study, lambda row: 25.0 + len(row.name) / 10, strata=("texture",))
    table = evaluation_table({"clearview": 30.0, "inpaint": 25.0}, strata=("distance",))
    write_evaluation(folder / "cloud-strata", table)
    write_comparison(folder / "cloud-costs", {"clearview": 300_000, "inpaint": 100})
    sources = read_sources(
        [folder / name for name in ("cloud-main", "glf-cr-grid", "afsst", "cloud-strata", "cloud-costs")]
    )
    return {name: folder / "generated" / name for name in write_generated(folder, report_sections(sources))}


def test_the_report_writes_all_that_the_paper_asks_for(generated) -> None:
    text = (PAPER / "main.tex").read_text()
    for kind, suffix in (("table", ".tex"), ("figure", ".pdf")):
        asked = set(re.findall(rf"^\\result{kind}\{{([a-z0-9-]+)\}}", text, re.MULTILINE))
        assert asked
        assert {name for name in asked if f"{name}{suffix}" not in generated} <= RESTORED


def test_what_the_report_writes_is_well_formed(generated) -> None:
    for name, path in generated.items():
        if name.endswith(".tex"):
            check_structure(path.read_text(encoding="utf-8"))
            path.read_text(encoding="utf-8").encode("latin-1")  # what inputenc and lmodern know
    main = generated["cloud-main-main-rows.tex"].read_text(encoding="utf-8")
    columns = re.search(r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}", main)[1]
    rows = re.findall(r"^(?:\S.*) \\\\$", main, re.MULTILINE)
    assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(columns)}
