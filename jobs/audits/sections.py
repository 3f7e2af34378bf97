"""Audits, churn and drift as parts of a page, from what a publication says of itself in `run.json`."""

from collections.abc import Mapping
from typing import Any

from genremill.infra.pages import charts, parts
from genremill.infra.pages.markup import Markup, join
from genremill.jobs.evaluation.figures import percent

GENRES, FEATURES = 20, 20
"""Rows of a table that are shown, the largest first."""
Said = Mapping[str, Any]


def audits(said: Said) -> Markup:
    """Every audit with its measured value, its limit and its verdict."""
    rows = [
        (name, one["verdict"], _figure(one["value"]), _figure(one["limit"]), one["note"])
        for name, one in said.get("audits", {}).items()
    ]
    if not rows:
        return parts.absent("Nothing was audited.")
    rows.sort(key=lambda row: ("refused", "flagged", "not measured", "passed").index(row[1]))
    headings = ("Audit", "Verdict", "Measured", "Limit", "Note")
    columns = parts.columns(*headings, text=("Audit", "Verdict", "Note"))
    return parts.table("What is over its limit is refused; what is flagged is only told.", columns, rows)


def churn(said: Said) -> Markup:
    """How many tags change, why, and of which genres."""
    found = said.get("churn")
    if not found:
        return parts.section("Changed tags", parts.absent("No tags were current before."))
    tracks, changed = max(found["tracks"], 1), found["changed"]
    stats = [parts.stat("changed", percent(changed / tracks), f"{changed:,} of {tracks:,} tracks")]
    for cause, count in found["causes"].items():
        stats.append(parts.stat(cause, f"{count:,}", f"{percent(count / tracks)} of the tracks"))
    stats.append(parts.stat("new tracks", f"{found['new_tracks']:,}", f"{found['vanished']:,} vanished"))
    return parts.section("Changed tags", parts.stats(*stats), _genres(found), _flows(found))


def _genres(found: Said) -> Markup:
    genres = [one for one in found["genres"] if one["left"] or one["before"] != one["after"]]
    genres.sort(key=lambda one: (-one["left"], one["label"]))
    rows = []
    for one in genres[:GENRES]:
        share = one["left"] / max(one["before"], 1)
        counts = (f"{one[name]:,}" for name in ("before", "after", "left"))
        rows.append((one["label"], *counts, join(charts.meter(share), " ", percent(share))))
    if not rows:
        return parts.absent("No genre won or lost a track.")
    columns = parts.columns("Genre", "Before", "After", "Left it", "Share that left", text=("Genre",))
    return parts.table("Genres, those that most tracks left first.", columns, rows)


def _flows(found: Said) -> Markup:
    rows = [(f"{before} → {after}", f"{count:,}") for before, after, count in found["flows"]]
    if not rows:
        return join()
    columns = parts.columns("From, to", "Tracks", text=("From, to",))
    return parts.table("The most frequent changes.", columns, rows)


def drift(said: Said) -> Markup:
    """How far each feature has moved, against the current snapshot and the training split."""
    now = {one["feature"]: one["index"] for one in said.get("drift", ())}
    trained = {one["feature"]: one["index"] for one in said.get("training_drift", ())}
    names = sorted(now | trained, key=lambda name: (-now.get(name, 0.0), -trained.get(name, 0.0), name))
    if not names:
        why = parts.absent("There is nothing to compare the features with.")
        return parts.section("Drift of features", why)
    rows = [(name, *(_index(one.get(name)) for one in (now, trained))) for name in names[:FEATURES]]
    return parts.section(
        "Drift of features",
        parts.table(
            "Population stability index: under 0.1 no shift, over 0.25 a major one; a full bar is 0.5.",
            parts.columns("Feature", "Since the current tags", "Since training", text=("Feature",)),
            rows,
        ),
    )


def _index(index: float | None) -> Markup:
    if index is None:
        return join("–")
    return join(charts.meter(index / 0.5), f" {index:.3f}")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
