"""The model report: well formed, self-contained, safe against text from data, and complete."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from genremill.jobs.evaluation.figures import ClusterTags
from genremill.jobs.evaluation.measure import popularity, weights
from genremill.jobs.evaluation.page import Report, render
from genremill.jobs.evaluation.pictures import ClusterMap
from genremill.models.evaluation.held_out import Labels
from genremill.models.evaluation.split import SplitBy
from genremill.models.features import FeatureSpec
from genremill.models.model_card import TrainingRecord
from genremill.models.recipe import Recipe
from tests.pure.page_cases import HEADER, model_card, report, snapshot
from tests.pure.page_reader import read, texts


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
def test_the_page_is_well_formed_and_loads_nothing_from_other_hosts(case: Report) -> None:
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


def test_title_and_heading_contain_the_split_and_the_version() -> None:
    for split, name in [
        (SplitBy.ARTIST, "artist split"),
        (SplitBy.ROWS, "rows split"),
        (SplitBy.FILE, "file"),
    ]:
        page = render(report(split))
        for heading in (texts(page, "title")[0], texts(page, "h1")[0]):
            assert name in heading
            assert "mlp/7" in heading


def test_only_the_rows_split_has_a_warning() -> None:
    warned = {split for split in SplitBy if "Not an honest estimate" in render(report(split))}
    assert warned == {SplitBy.ROWS}


def test_figures_are_shown_with_their_ceiling_chance_and_interval() -> None:
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


def test_the_gain_of_abstaining_is_shown_with_the_greatest_possible_gain() -> None:
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


def test_the_table_of_countries_only_shows_styles() -> None:
    one = report(genres=("brazil", "french", "rock", "samba"))
    probability_CC = np.array([[0.4, 0.1, 0.2, 0.3], [0.2, 0.5, 0.3, 0.0], *[[0.25] * 4] * 2])
    page = render(replace(one, probability_CC=probability_CC))
    row = re.search(
        r">brazil</th>(?:<td[^>]*>[^<]*</td>){4}<td[^>]*>([^<]*)<", page[page.index(">Countries<") :]
    )
    assert row is not None
    assert row[1] == "samba 30.0 %, rock 20.0 %"


def test_the_quality_of_a_cluster_is_computed_on_its_pairs() -> None:
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


def test_missing_parts_are_replaced_by_a_line_of_text() -> None:
    whole = report()
    bare = render(replace(whole, epochs=(), clusters=None, correlations=None))
    assert bare.count('class="absent"') == 5
    assert 'class="absent"' not in render(whole)


def test_the_most_frequent_confusion_is_first() -> None:
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


def test_the_lead_states_the_accuracy_and_the_best_possible_score() -> None:
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


@pytest.mark.parametrize(
    ("patience", "loss", "why"),
    [
        (
            None,
            1.5,
            "of epoch 3 of 3: the last epoch's weights are kept, because training does not stop early",
        ),
        (
            5,
            None,
            "of epoch 3 of 3: the last epoch's weights are kept, because there are no validation tracks",
        ),
        (5, 1.5, "of epoch 3 of 3: those with the best validation loss"),
    ],
)
def test_the_report_says_which_weights_are_kept_and_why(
    patience: int | None, loss: float | None, why: str
) -> None:
    epochs = tuple(replace(one, validation_loss=loss) for one in report().epochs)
    recipe = Recipe(epochs=9, batch=64, learning_rate=0.1, patience=patience)
    assert weights(TrainingRecord(recipe, best_epoch=3, history=epochs)) == why
