"""The report page: well formed, self-contained, safe against text from data, and complete."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from jinja2 import UndefinedError

import genremill.infra.pages
from genremill.infra.pages.charts import Axis, Series, line_chart
from genremill.infra.pages.heat_map import heat_map
from genremill.infra.pages.name_map import MapPoint, name_map
from genremill.infra.pages.parts import Cell, Header, Table
from genremill.infra.pages.rendering import _environment, render_template
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs.evaluation.confidence import ClusterTags
from genremill.jobs.evaluation.measure import popularity
from genremill.jobs.evaluation.page import Report, render
from genremill.jobs.evaluation.pictures import ClusterMap, Correlations
from genremill.models import zoo
from genremill.models.evaluation.abstention import tag_figures
from genremill.models.evaluation.calibration import coverage_curve, reliability
from genremill.models.evaluation.held_out import HeldOut, Labels
from genremill.models.evaluation.metrics import Subject, confusion, mean_probability, measure
from genremill.models.evaluation.split import SplitBy
from genremill.models.features import FeatureSpec
from genremill.models.model_card import Epoch, ModelCard
from tests.pure.page_reader import read, texts

GENRES = (
    "rock",
    "<script>alert(1)</script>",
    "=cmd()|' /C calc'!A0",
    "\x1b[31mred\u202e",
    'a" onload="x',
    "pop",
    "brazil",
)
HEADER = Header("20261121T105400-3fa9c1", "2026-11-21 10:54 UTC", "/wh/<b>", "tracks of run r1")

STUDY: dict[str, object] = {
    **{
        "kind": "study",
        "title": "T",
        "lead": "L",
        "header": HEADER,
        "best": None,
        "charts": {},
        "ranked": [],
    },
}


def report(split: SplitBy = SplitBy.ARTIST, genres: tuple[str, ...] = GENRES) -> Report:
    rng, tracks, classes = np.random.default_rng(0), 120, len(genres)
    label_T = rng.integers(classes, size=tracks)
    sample = HeldOut(
        split,
        genres,
        rng.dirichlet(np.ones(classes), tracks).astype(np.float32),
        pair_track_P=np.arange(tracks),
        pair_label_P=label_T,
        artist_T=rng.integers(30, size=tracks),
        unseen_T=rng.random(tracks) < 0.5,
        cluster_of_class_C=np.arange(classes) % 2,
        cluster_names=("loud <b>", "quiet"),
    )
    return Report(
        metrics=replace(
            measure(sample, Subject("mlp/7", Labels.GENRE, ("table", "text"), False), replicates=20),
            tags=tag_figures(sample, np.arange(tracks) < 3, sample.confidence_T < 0.3),
        ),
        header=HEADER,
        confusion_CC=confusion(label_T, sample.top_T, classes),
        probability_CC=mean_probability(sample),
        reliability=reliability(sample.confidence_T, sample.right_T),
        coverage=coverage_curve(sample.confidence_T, sample.right_T),
        epochs=[Epoch(e, 9.0 / e, 0.1 * e, 3.5 / e, 0.08 * e, 1e-3, 4.0, 99, 3.0 / e) for e in (1, 2, 3)],
        clusters=ClusterMap(
            {0: "loud <b>", 1: "quiet"},
            {genre: c % 2 for c, genre in enumerate(genres)},
            {genre: (float(c), float(c % 3)) for c, genre in enumerate(genres)},
        ),
        correlations=Correlations(("energy", "popularity"), np.array([[1.0, -0.4], [-0.4, np.nan]])),
        facts={"Seed": "0", "Tracks snapshot": "run=<i>1</i>"},
    )


def pages() -> Iterator[Report]:
    whole = report()
    yield whole
    yield replace(
        whole, thresholds=[ClusterTags("loud <b>", 0.4, 9, 3, 2), ClusterTags("quiet", 2.0, 0, 0, 0)]
    )
    yield report(SplitBy.ROWS)
    yield report(genres=("one", "two"))
    yield replace(whole, epochs=(), clusters=None, correlations=None, facts={})
    yield replace(whole, metrics=replace(whole.metrics, unseen_artists=None))
    yield replace(whole, epochs=whole.epochs[:1])
    nan = float("nan")
    unknown = [replace(one, validation_loss=None, train_cross_entropy=nan) for one in whole.epochs]
    yield replace(whole, epochs=unknown)
    yield replace(whole, epochs=[replace(one, train_cross_entropy=None) for one in whole.epochs])
    yield replace(whole, header=replace(HEADER, synthetic=True), fits_input_weights=True)
    yield replace(whole, metrics=replace(whole.metrics, unseen_artists=whole.metrics.figures))


@pytest.mark.parametrize("case", list(pages()))
def test_page_is_well_formed_and_loads_nothing_from_other_hosts(case: Report) -> None:
    page = render(case)
    reader = read(page)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", page)
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    attributes = [name for _, found in reader.elements for name in found]
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert "nan" not in page.lower()
    page.encode("utf-8")


def test_text_from_data_stays_text() -> None:
    page = render(report())
    reader = read(page)
    shown = [text for _, text in reader.texts]
    assert "<script>alert(1)</script>" in shown
    assert "'=cmd()|' /C calc'!A0" in texts(page, "th")  # the apostrophe keeps a spreadsheet from running it
    assert 'a" onload="x' in shown
    assert "run=<i>1</i>" in shown
    assert "i" not in {tag for tag, _ in reader.elements}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", page)


def test_split_and_version_stand_in_title_and_heading() -> None:
    for split, name in [
        (SplitBy.ARTIST, "artist split"),
        (SplitBy.ROWS, "rows split"),
        (SplitBy.FILE, "file"),
    ]:
        page = render(report(split))
        for heading in (texts(page, "title")[0], texts(page, "h1")[0]):
            assert name in heading
            assert "mlp/7" in heading


def test_only_the_rows_split_is_called_not_honest() -> None:
    warned = {split for split in SplitBy if "Not an honest estimate" in render(report(split))}
    assert warned == {SplitBy.ROWS}


def test_figures_stand_beside_their_ceiling_chance_and_interval() -> None:
    one = report()
    figures, cells = one.metrics.figures, texts(render(one), "td")
    assert figures.closeness is not None
    assert figures.closeness_chance is not None
    for share in (
        figures.top1.value,
        figures.ceiling_top1,
        figures.closeness.value,
        figures.closeness_chance,
    ):
        assert f"{100 * share:.1f} %" in cells
    assert f"{100 * (figures.top1.low or 0):.1f} to {100 * (figures.top1.high or 0):.1f} %" in cells
    assert f"{figures.nll.value:.3f}" in cells


def test_abstaining_stands_beside_the_most_it_could_bring() -> None:
    one = report()
    lift, tags = one.metrics.figures.lift_share, one.metrics.tags
    assert lift is not None
    assert tags is not None
    page = render(one)
    assert f"{100 * lift.value:.1f} % of the possible gain" in page
    accuracy, surest = one.coverage[-1].accuracy, one.metrics.figures.surest_accuracy.value
    cells = texts(page, "td")
    for share in (surest, accuracy / 0.8, tags.tagged, tags.outlier):
        assert f"{100 * share:.1f} %" in cells
    assert "Thresholds" not in page
    rows = [ClusterTags("loud <b>", 0.4, 9, 3, 2), ClusterTags("quiet", 2.0, 0, 0, 0)]
    assert "unreachable" in texts(render(replace(one, thresholds=rows)), "td")


def test_countries_land_among_styles_alone() -> None:
    one = report(genres=("brazil", "french", "rock", "samba"))
    probability_CC = np.array([[0.4, 0.1, 0.2, 0.3], [0.2, 0.5, 0.3, 0.0], *[[0.25] * 4] * 2])
    page = render(replace(one, probability_CC=probability_CC))
    row = re.search(
        r">brazil</th>(?:<td[^>]*>[^<]*</td>){4}<td[^>]*>([^<]*)<", page[page.index(">Countries<") :]
    )
    assert row is not None
    assert row[1] == "samba 30.0 %, rock 20.0 %"


def test_a_clusters_homogeneity_is_counted_on_its_pairs() -> None:
    one = report(genres=("a", "b", "c", "d"))  # a and c are loud, b and d quiet
    counts_CC = np.array([[6, 1, 2, 1], [0, 5, 0, 5], [4, 0, 6, 0], [0, 0, 0, 10]])
    page = render(replace(one, confusion_CC=counts_CC))
    row = re.search(r">loud &lt;b&gt;</th>(.*?)</tr>", page[page.index("Quality of clusters") :])
    assert row is not None
    # Number, genres, share, largest, evenness, right genre, right cluster, purity, closeness, chance.
    cells = re.findall(r"<td[^>]*>([^<]*)", row[1])
    assert cells == [
        "0",
        "2",
        "50.0 %",
        "a, 50.0 %",
        "1.000",
        "60.0 %",
        "90.0 %",
        "100.0 %",
        "75.0 %",
        "45.0 %",
    ]


def test_what_is_missing_is_said_in_a_line() -> None:
    whole = report()
    bare = render(replace(whole, epochs=(), clusters=None, correlations=None))
    assert bare.count('class="absent"') == 5
    assert 'class="absent"' not in render(whole)


def test_most_frequent_confusion_stands_first() -> None:
    counts_CC = np.zeros((7, 7), dtype=np.int64)
    counts_CC[5, 0], counts_CC[0, 5], counts_CC[5, 5] = 7, 3, 3
    page = render(replace(report(), confusion_CC=counts_CC))
    first = r"The 2 most frequent confusions.*?<tbody><tr><th[^>]*>pop</th><td[^>]*>rock</td>"
    assert re.search(first, page, re.DOTALL)
    assert "70.0 %" in texts(page, "td")


def test_a_cluster_model_is_not_compared_by_cluster() -> None:
    one = report(genres=("calm", "wild"))
    subject = replace(one.metrics.subject, labels=Labels.CLUSTER)
    page = render(replace(one, metrics=replace(one.metrics, subject=subject)))
    assert "Each cluster" in texts(page, "h2")
    assert "Clusters are not compared" in page
    assert page.count("<strong>Confusion matrix by cluster") == 1


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
    assert Cell("\t=cmd()\n-1.5 %\n@x").safe_text == "'\t=cmd()\n-1.5 %\n'@x"


def test_a_table_leaves_out_empty_columns_and_rejects_a_row_of_another_width() -> None:
    table = Table(["a", "b", "c"], [["", "–", "1"], ["", "", "–"]])
    assert table.columns == [("a", "number"), ("c", "number")]
    assert [[cell.text for cell, _ in row] for row in table.rows] == [["", "1"], ["", "–"]]
    with pytest.raises(ValueError, match="argument"):
        Table(["a", "b"], [["1", "2"], ["1"]])


def test_line_chart_places_points_between_its_axes() -> None:
    axis = Axis("share", 0.0, 1.0)
    chart = line_chart(
        "T", "D", axis, axis, [Series("guide", [(0, 0)], guide=True), Series("s", [(0, 0), (1, 1)])]
    )
    paths = {found["class"]: found["d"] for tag, found in read(chart).elements if tag == "path"}
    assert paths["line series-0"] == "M48.0 226.0L312.0 34.0"
    assert texts(chart, "title") == ["T"]
    assert texts(chart, "desc") == ["D"]


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
    rows = [["x", Cell("1", share)] for share in (-1.0, 0.5, 2.0)]
    elements = read(parts.table("T", ["a", "b"], rows)).elements
    widths = [found["width"] for _, found in elements if found.get("class") == "meter-fill"]
    assert widths == ["0", "36", "72"]


def test_the_lead_says_how_good_the_model_is_and_what_is_possible() -> None:
    whole = report()
    unseen = whole.metrics.unseen_artists
    assert unseen is not None
    assert unseen.any_label is not None
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', render(whole))
    assert (
        f"gives {100 * unseen.any_label.value:.1f} % of the tracks by unseen artists one of their genres"
        in lead
    )
    assert f"the best possible score is {100 * unseen.ceiling_top1:.1f} %" in lead
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', render(report(SplitBy.ROWS)))
    assert "of the pairs of track and genre" in lead


def test_the_header_names_run_time_warehouse_and_table_and_says_what_is_synthetic() -> None:
    page = render(report())
    for text in (HEADER.run_id, HEADER.time, "/wh/&lt;b&gt;", HEADER.table):
        assert text in page
    assert "Synthetic catalog" not in page
    assert "Synthetic catalog" in render(replace(report(), header=replace(HEADER, synthetic=True)))


def test_if_all_artists_are_unseen_the_report_says_so_once() -> None:
    whole = report()
    assert "Unseen artists" in texts(render(whole), "th")
    page = render(replace(whole, metrics=replace(whole.metrics, unseen_artists=whole.metrics.figures)))
    assert "Unseen artists" not in texts(page, "th")
    assert sum("All held-out tracks are by unseen artists" in text for text in texts(page, "p")) == 1


def test_learning_curves_compare_the_cross_entropy_of_train_and_validation() -> None:
    whole = report()
    page = render(whole)
    assert "last step" not in page
    assert "last step" in render(replace(whole, fits_input_weights=True))
    old = render(replace(whole, epochs=[replace(one, train_cross_entropy=None) for one in whole.epochs]))
    assert "did not record it for train pairs" in old
    loss, old_loss = (one[one.index("<title>Loss by epoch") :].partition("</svg>")[0] for one in (page, old))
    assert texts(f"<svg>{loss[loss.index('<line') :]}</svg>", "text")[-2:] == ["train", "validation"]
    assert "train" not in texts(f"<svg>{old_loss[old_loss.index('<line') :]}</svg>", "text")
    assert ">9<" not in loss  # the sum over networks that training minimizes


def test_clusters_have_the_numbers_of_the_tables() -> None:
    whole = report()
    clusters = ClusterMap(
        {3: "loud", 7: "quiet"}, {"rock": 3, "pop": 7}, {"rock": (0.0, 1.0), "pop": (2.0, 3.0)}
    )
    page = render(replace(whole, clusters=clusters))
    section = page[page.index("<h2>Clusters") : page.index("<h2>Quality of clusters")]
    assert re.findall(r'class="number">(\d+)</th>', section) == ["3", "7"]
    assert re.findall(r'class="place-number">(\d+)<', section) == ["7", "3"]


def test_popularity_is_only_called_no_input_if_the_table_has_it_and_the_model_does_not_use_it() -> None:
    card = model_card(FeatureSpec("tempo", False))
    with_column = snapshot({"name": "popularity", "is_popularity": True})
    assert popularity(card, with_column) == {"Popularity": "not an input"}
    assert popularity(card, snapshot({"name": "tempo", "is_popularity": False})) == {}
    assert popularity(replace(card, use_popularity=True), with_column) == {"Popularity": "an input"}
    other = model_card(FeatureSpec("track_popularity", False))
    (said,) = popularity(other, snapshot({"name": "track_popularity", "is_popularity": False})).values()
    assert said.startswith("track_popularity is an input")


def model_card(*features: FeatureSpec) -> ModelCard:
    size = zoo.entry("linear").size(100)
    return ModelCard("linear", ("a", "b"), features, size, 0, "genre", False, {}, {})


def snapshot(*features: dict[str, object]) -> Snapshot:
    split = {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0}
    return Snapshot("r1", "tracks/run=r1", 1, "", {}, "", "", {"features": features, "split": split})


def test_the_header_of_a_page_names_the_track_table_and_the_demo() -> None:
    settings = json.dumps({"tracks": "s3a://bucket/a/tracks.csv?key=secret"})
    tracks = replace(snapshot(), inputs={"settings": settings}, details={"synthetic": True})
    header = Header.of(Warehouse("file:///wh"), "r2", tracks, "2026-11-21T10:54:00Z")
    assert header == Header(
        "r2", "2026-11-21 10:54 UTC", "file:///wh", "tracks of run r1 from tracks.csv", synthetic=True
    )
    assert Header.of(Warehouse("file:///wh"), "r2", None).table == "no tracks yet"
