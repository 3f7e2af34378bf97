"""A model report with hostile texts, for the tests of pages."""

from dataclasses import replace

import numpy as np

from genremill.infra.pages.parts import Header
from genremill.infra.warehouse import Snapshot
from genremill.jobs.evaluation.page import Report
from genremill.jobs.evaluation.pictures import ClusterMap, Correlations
from genremill.models import zoo
from genremill.models.evaluation.calibration import coverage_curve, reliability, tag_figures
from genremill.models.evaluation.held_out import HeldOut, Labels
from genremill.models.evaluation.metrics import Subject, measure
from genremill.models.evaluation.scores import confusion, mean_probability
from genremill.models.evaluation.split import SplitBy
from genremill.models.features import FeatureSpec
from genremill.models.model_card import Epoch, ModelCard

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


def snapshot(*features: dict[str, object]) -> Snapshot:
    split = {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0, "file": None}
    details = {"features": [{"kind": "numeric"} | feature for feature in features], "split": split}
    return Snapshot("r1", "tracks/run=r1", 1, "", {}, "", "", details)


def model_card(*features: FeatureSpec) -> ModelCard:
    size = zoo.entry("linear").size(100)
    return ModelCard("linear", ("a", "b"), features, size, 0, "genre", False, {}, {})
