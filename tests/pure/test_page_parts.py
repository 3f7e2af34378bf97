"""Templates, tables, charts and headers of pages; the comparison and the audit page."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from jinja2 import UndefinedError

import genremill.infra.pages
from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.maps import MapPoint, heat_map, name_map
from genremill.infra.pages.parts import Header, PageTable, TableCell
from genremill.infra.pages.rendering import _environment, render_template
from genremill.infra.warehouse import Warehouse
from genremill.jobs.audits import page as audit_page, paired_accuracy
from genremill.jobs.audits.audit import Audit, AuditInputs
from genremill.jobs.audits.findings import Findings
from genremill.jobs.evaluation import comparison
from genremill.jobs.evaluation.comparison import Compared, Cost
from genremill.models.evaluation.metrics import Interval
from tests.pure.page_cases import HEADER, model_card, report, snapshot
from tests.pure.page_reader import read, texts

STUDY: dict[str, object] = {
    "kind": "study",
    "title": "T",
    "lead": "L",
    "header": HEADER,
    "best": None,
    "charts": {},
    "ranked": [],
}


def test_templates_escape_text_and_reject_names_that_are_not_given() -> None:
    facts = {"<i>": "\ud800\x00\u202e&#x202e;"}
    page = render_template("genremill/jobs/studies/study.html.j2", **STUDY | {"facts": facts})
    assert "<dt>&lt;i&gt;</dt><dd>\ufffd\ufffd\ufffd&amp;#x202e;</dd>" in page
    with pytest.raises(UndefinedError, match="'facts' is undefined"):
        render_template("genremill/jobs/studies/study.html.j2", **STUDY)


def test_templates_load_from_a_zip_of_the_code(tmp_path: Path) -> None:
    package = Path(genremill.infra.pages.__file__).parent
    with ZipFile(tmp_path / "code.zip", "w") as code:
        code.writestr("genremill/__init__.py", "")
        for file in [*package.parent.rglob("*.py"), *package.glob("*.j2")]:
            code.write(file, f"genremill/infra/{file.relative_to(package.parent)}")
    script = (
        "from genremill.infra.pages import rendering\n"
        "assert 'code.zip' in rendering.__file__\n"
        "print(rendering._environment().globals['parts'].absent('<'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(tmp_path / "code.zip")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["<p", 'class="absent">&lt;</p>']


def test_each_line_of_a_cell_that_looks_like_a_formula_gets_an_apostrophe() -> None:
    assert TableCell("\t=cmd()\n-1.5 %\n@x").safe_text == "'\t=cmd()\n-1.5 %\n'@x"


def test_a_table_leaves_out_empty_columns_and_rejects_a_row_of_another_width() -> None:
    table = PageTable(["a", "b", "c"], [["", "–", "1"], ["", "", "–"]])
    assert table.columns == [("a", "number"), ("c", "number")]
    assert [[cell.text for cell, _ in row] for row in table.rows] == [["", "1"], ["", "–"]]
    with pytest.raises(ValueError, match="argument"):
        PageTable(["a", "b"], [["1", "2"], ["1"]])


@pytest.mark.parametrize(
    ("text", "shown", "kind"),
    [
        ("k" * 20_000, "k" * 299 + "…", "text long"),
        ("a word " * 3_000, ("a word " * 3_000)[:299] + "…", "text"),
        ("=" * 20_000, "'" + "=" * 298 + "…", "text long"),
        ("k" * 301 + "\nsecond: missing", "k" * 299 + "…\nsecond: missing", "text long"),
        ("k" * 41, "k" * 41, "text long"),
        ("k" * 40, "k" * 40, "text"),
        ("a title of 300 letters ".ljust(300, "."), "a title of 300 letters ".ljust(300, "."), "text long"),
        ("7lmeHLHBe4nmXzuXc0HDjk", "7lmeHLHBe4nmXzuXc0HDjk", "text"),
    ],
    ids=lambda text: text[:20],
)
def test_a_long_text_is_cut_and_its_title_is_the_whole_text(text: str, shown: str, kind: str) -> None:
    parts: Any = _environment().globals["parts"]
    page = parts.table("T", ["Key", "Detail"], [[text, text]])
    assert texts(page, "th")[-1] == texts(page, "td")[0] == shown
    cells = [found for tag, found in read(page).elements if tag == "td" or found.get("scope") == "row"]
    whole = "'" + text if text.startswith("=") else text
    for cell in cells:
        assert cell["class"] == kind
        assert cell.get("title") == (None if shown == text else whole)


def test_the_title_of_a_cut_text_is_escaped() -> None:
    parts: Any = _environment().globals["parts"]
    page = parts.table("T", ["Key"], [['" onmouseover="alert(1)' + "k" * 400]])
    assert not [found for _, found in read(page).elements if "onmouseover" in found]


def test_line_chart_places_points_between_its_axes() -> None:
    axis = Axis("share", 0.0, 1.0)
    series = [Series("guide", [(0, 0)], guide=True), Series("s", [(0, 0), (1, 1)])]
    chart = line_figure("T", "D", axis, axis, series).chart
    paths = {found["class"]: found["d"] for tag, found in read(chart).elements if tag == "path"}
    assert paths["line series-0"] == "M54.0 226.0L318.0 34.0"
    assert texts(chart, "title") == ["T"]
    assert texts(chart, "desc") == ["D"]


def test_the_legend_of_a_chart_stays_within_its_width() -> None:
    axis = Axis("share", 0.0, 1.0)
    names = ("Top-1 accuracy", "Top-5 accuracy", "Track accuracy")
    chart = line_figure("T", "D", axis, axis, [Series(name, [(0, 0)]) for name in names]).chart
    legend = [found for tag, found in read(chart).elements if found.get("class") == "legend"]
    assert [found["y"] for found in legend] == ["12.0", "12.0", "27.0"]
    assert max(float(found["x"] or 0) for found in legend) + 14 * 6.6 < 342


def test_heat_map_shades_each_cell_by_its_size_and_sign() -> None:
    values = [[0.9, 0.0], [-0.9, 0.02]]
    chart = heat_map("T", "D", ["a", "b"], values, (0.01, 0.1, 0.2, 0.3, 0.4, 0.5), str)
    paths = [
        (found["d"], found["class"], found["fill-opacity"])
        for tag, found in read(chart).elements
        if tag == "path"
    ]
    assert sorted(paths) == [
        ("M0 0h1v1h-1z", "heat", "1"),
        ("M0 1h1v1h-1z", "heat-negative", "1"),
        ("M1 1h1v1h-1z", "heat", "0.1"),
    ]


def test_heat_map_of_114_genres_stays_small_and_shortens_long_names() -> None:
    names = ["x" * 300] + [f"genre-{index}" for index in range(113)]
    chart = heat_map("T", "D", names, np.full((114, 114), 0.2).tolist(), (0.01, 0.1, 0.2, 0.3, 0.4, 0.5), str)
    assert len(chart) < 300_000
    assert max(map(len, texts(chart, "text"))) == 26


def test_name_map_leaves_out_a_name_that_would_cover_another() -> None:
    crowd = [MapPoint(f"a long name {index}", 0.5, 0.5, group=0) for index in range(40)]
    chart = name_map("T", "D", [*crowd, MapPoint("far", 9.0, 9.0, group=1)])
    named = [text for text in texts(chart, "text") if text.startswith("a long")]
    assert 0 < len(named) < 40
    assert "far" in texts(chart, "text")
    assert len(texts(chart, "title")) == 1 + 41


def test_a_bar_stays_within_its_bounds() -> None:
    parts: Any = _environment().globals["parts"]
    rows = [["x", TableCell("1", share)] for share in (-1.0, 0.5, 2.0)]
    elements = read(parts.table("T", ["a", "b"], rows)).elements
    widths = [found["width"] for _, found in elements if found.get("class") == "meter-fill"]
    assert widths == ["0", "36", "72"]


def test_the_header_of_a_page_names_the_track_table_and_the_demo() -> None:
    settings = json.dumps({"tracks": "s3a://bucket/a/tracks.csv?key=secret"})
    tracks = replace(snapshot(), inputs={"settings": settings}, details={"synthetic": True})
    header = Header.of(Warehouse("file:///wh"), "r2", tracks, "2026-11-21T10:54:00Z")
    assert header == Header(
        "r2", "2026-11-21 10:54 UTC", "file:///wh", "tracks of run r1 from tracks.csv", synthetic=True
    )
    assert Header.of(Warehouse("file:///wh"), "r2", None).table == "no tracks yet"


def test_the_comparison_highlights_the_best_model_of_each_figure_and_says_which_it_is() -> None:
    metrics = report().metrics
    figures = metrics.figures
    better = replace(
        metrics,
        subject=replace(metrics.subject, model_version="mlp/8"),
        figures=replace(figures, top1=Interval(0.9, 0.85, 0.95), top5=Interval(0.1, 0.05, 0.15)),
    )
    costs = Cost(10.0, 2.0, 1.0), Cost(5.0, 3.0, 1.0)
    page = comparison.render([Compared(metrics, costs[0]), Compared(better, costs[1])], HEADER)
    assert re.search(r'<p class="lead">mlp/8 is the most accurate: it is right on 90.0 %', page)
    best = re.findall(r'class="number best">([^<]*)', page)
    assert "90.0 %" in best
    assert "10.0 %" not in best
    assert [text for text in best if text.endswith(" s")] == ["2.0 s", "5 s"]
    assert "All models are measured on the same 120 pairs." in page
    assert "Pairs" not in texts(page, "th")


def test_the_audit_page_says_that_nothing_was_published_and_why() -> None:
    churn = Audit("churn", 0.4, 0.3, note="<b>")
    examples = [("id1", "=cmd()", "title", "rock", "pop", "new model")]
    page = audit_page.render("r2", Findings((churn,)), examples, HEADER)
    assert "The new tags were not published, and nothing else has changed." in page
    assert "churn 0.4 (limit 0.3): &lt;b&gt;" in page
    assert "'=cmd()" in texts(page, "td")


@pytest.mark.parametrize(
    ("gain", "note"),
    [
        (
            Interval(-0.2106, -0.2431, -0.18),
            "21.06 points lower than that of no model; 95 % bound 24.31 points lower",
        ),
        (
            Interval(0.01, -0.002, 0.03),
            "1.00 points higher than that of no model; 95 % bound 0.20 points lower",
        ),
    ],
)
def test_the_note_on_two_models_shows_a_difference_of_percentages_in_points(
    gain: Interval, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paired_accuracy, "difference", lambda spark, inputs: gain)
    inputs = AuditInputs(Warehouse("file:///wh"), model_card(), snapshot(), snapshot(), None, None)
    spark: Any = None
    found, audit = paired_accuracy.audit(spark, inputs, 0.025)
    assert found == gain
    assert (audit.name, audit.limit) == ("loss on held-out artists", 0.025)
    assert (audit.value, audit.note) == (-(gain.low or 0), f"any-label accuracy {note}")
