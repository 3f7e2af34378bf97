"""The report page: well formed, self-contained, safe against text from data, and complete."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from genremill.infra.pages.charts import Axis, Series, line_chart, meter
from genremill.infra.pages.heat_map import heat_map
from genremill.infra.pages.markup import Markup, element, escape
from genremill.infra.pages.name_map import Place, name_map
from genremill.infra.pages.parts import Column, table
from genremill.jobs.evaluation.confidence import ClusterTags
from genremill.jobs.evaluation.page import Report, render
from genremill.jobs.evaluation.pictures import ClusterMap, Correlations, Epoch
from genremill.models.evaluation.abstention import tag_figures
from genremill.models.evaluation.calibration import coverage_curve, reliability
from genremill.models.evaluation.held_out import HeldOut, Labels, SplitBy
from genremill.models.evaluation.metrics import Subject, confusion, mean_probability, measure
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
        confusion_CC=confusion(label_T, sample.top_T, classes),
        probability_CC=mean_probability(sample),
        reliability=reliability(sample.confidence_T, sample.right_T),
        coverage=coverage_curve(sample.confidence_T, sample.right_T),
        epochs=[Epoch(e, 3.0 / e, 0.1 * e, 3.5 / e, 0.08 * e, 1e-3, 4.0) for e in (1, 2, 3)],
        clusters=ClusterMap(
            ("loud <b>", "quiet"),
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
    yield replace(
        whole, epochs=[replace(one, validation_loss=None, train_loss=float("nan")) for one in whole.epochs]
    )


@pytest.mark.parametrize("one", list(pages()))
def test_page_is_well_formed_and_asks_nothing_of_others(one: Report) -> None:
    page = render(one)
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
    assert f"{100 * lift.value:.1f} % of the gain there could be" in page
    accuracy, surest = one.coverage[-1].accuracy, one.metrics.figures.surest_accuracy.value
    cells = texts(page, "td")
    for share in (surest, accuracy / 0.8, tags.tagged, tags.outlier):
        assert f"{100 * share:.1f} %" in cells
    assert "Thresholds" not in page
    rows = [ClusterTags("loud <b>", 0.4, 9, 3, 2), ClusterTags("quiet", 2.0, 0, 0, 0)]
    assert "out of reach" in texts(render(replace(one, thresholds=rows)), "td")


def test_countries_land_among_styles_alone() -> None:
    one = report(genres=("brazil", "french", "rock", "samba"))
    probability_CC = np.array([[0.4, 0.1, 0.2, 0.3], [0.2, 0.5, 0.3, 0.0], *[[0.25] * 4] * 2])
    page = render(replace(one, probability_CC=probability_CC))
    row = re.search(
        r">brazil</th>(?:<td[^>]*>[^<]*</td>){4}<td[^>]*>([^<]*)<", page[page.index("Countries") :]
    )
    assert row is not None
    assert row[1] == "samba 30.0 %, rock 20.0 %"


def test_a_clusters_homogeneity_is_counted_on_its_pairs() -> None:
    one = report(genres=("a", "b", "c", "d"))  # a and c are loud, b and d quiet
    counts_CC = np.array([[6, 1, 2, 1], [0, 5, 0, 5], [4, 0, 6, 0], [0, 0, 0, 10]])
    page = render(replace(one, confusion_CC=counts_CC))
    row = re.search(r">loud &lt;b&gt;</th>(.*?)</tr>", page[page.index("How good clusters are") :])
    assert row is not None
    # Genres, share, largest, evenness, right genre, right cluster, purity, closeness, chance.
    cells = re.findall(r"<td[^>]*>([^<]*)", row[1])
    assert cells == ["2", "50.0 %", "a, 50.0 %", "1.000", "60.0 %", "90.0 %", "100.0 %", "75.0 %", "45.0 %"]


def test_what_is_missing_is_said_in_a_line() -> None:
    whole = report()
    bare = render(replace(whole, epochs=(), clusters=None, correlations=None))
    assert bare.count('class="absent"') == 5
    assert 'class="absent"' not in render(whole)


def test_most_frequent_confusion_stands_first() -> None:
    counts_CC = np.zeros((7, 7), dtype=np.int64)
    counts_CC[5, 0], counts_CC[0, 5], counts_CC[5, 5] = 7, 3, 3
    page = render(replace(report(), confusion_CC=counts_CC))
    assert re.search(r"The 2 most frequent confusions.*?<tbody><tr><th[^>]*>pop</th><td[^>]*>rock</td>", page)
    assert "70.0 %" in texts(page, "td")


def test_a_cluster_model_is_not_compared_by_cluster() -> None:
    one = report(genres=("calm", "wild"))
    subject = replace(one.metrics.subject, labels=Labels.CLUSTER)
    page = render(replace(one, metrics=replace(one.metrics, subject=subject)))
    assert "Each cluster" in texts(page, "h2")
    assert "Clusters are not compared" in page
    assert page.count("<figcaption>By cluster") == 1


def test_markup_escapes_all_but_markup() -> None:
    assert element("p", "<i>", element("b", "&"), title='"') == '<p title="&quot;">&lt;i&gt;<b>&amp;</b></p>'
    assert escape(Markup("<br>")) == "<br>"
    assert escape("\ud800\x00") == "\ufffd\ufffd"


def test_table_refuses_a_row_of_another_width() -> None:
    with pytest.raises(ValueError, match="argument"):
        table("", [Column("a"), Column("b")], [["1"]])


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
    crowd = [Place(f"a long name {index}", 0.5, 0.5, group=0) for index in range(40)]
    chart = name_map("T", "D", [*crowd, Place("far", 9.0, 9.0, group=1)])
    named = [text for text in texts(chart, "text") if text.startswith("a long")]
    assert 0 < len(named) < 40
    assert "far" in texts(chart, "text")
    assert len(texts(chart, "title")) == 1 + 41


def test_meter_stays_in_its_bounds() -> None:
    widths = [read(meter(share)).elements[2][1]["width"] for share in (-1.0, 0.5, 2.0)]
    assert widths == ["0", "36", "72"]
