"""Audits, churn and drift as parts of a page, made from the summary of `publish` in `run.json`."""

from collections.abc import Mapping
from typing import Any

from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.infra.pages.parts import Cell, Stat, Table

MOST_ROWS = 20
"""Genres and features that a table shows, the largest change first."""
VERDICTS = ("refused", "flagged", "not measured", "passed")
Summary = Mapping[str, Any]


def publication(summary: Summary) -> dict[str, object]:
    """What the template `publication.html.j2` shows."""
    churn = summary.get("churn")
    return {
        "audits": _audits(summary),
        "churn_stats": _churn_stats(churn) if churn else [],
        "genres": _genres(churn) if churn else None,
        "flows": _flows(churn) if churn else None,
        "drift": _drift(summary),
    }


def _audits(summary: Summary) -> Table:
    """Every audit with its measured value, its limit and its verdict."""
    audits = sorted(summary.get("audits", {}).items(), key=lambda entry: VERDICTS.index(entry[1]["verdict"]))
    if not audits:
        return Table([], caption="Nothing was audited.")
    return Table(
        [
            {
                "Audit": name,
                "Verdict": audit["verdict"],
                "Measured": MISSING if audit["value"] is None else f"{audit['value']:.4g}",
                "Limit": f"{audit['limit']:.4g}",
                "Note": audit["note"],
            }
            for name, audit in audits
        ],
        ("Audit", "Verdict", "Note"),
        caption="Tags are not published if an audit refuses them; a flagged value is only reported.",
    )


def _churn_stats(churn: Summary) -> list[Stat]:
    """How many tags change, and why."""
    tracks, changed = max(churn["tracks"], 1), churn["changed"]
    return [
        Stat("changed tags", percent(changed / tracks), [f"{changed:,} of {tracks:,} tracks"]),
        *(
            Stat(cause, f"{count:,}", [f"{percent(count / tracks)} of the tracks"])
            for cause, count in churn["causes"].items()
        ),
        Stat("new tracks", f"{churn['new_tracks']:,}", [f"{churn['vanished']:,} vanished"]),
    ]


def _genres(churn: Summary) -> Table:
    genres = [one for one in churn["genres"] if one["left"] or one["before"] != one["after"]]
    genres.sort(key=lambda one: (-one["left"], one["label"]))
    rows = []
    for one in genres[:MOST_ROWS]:
        share = one["left"] / max(one["before"], 1)
        counts = {"Before": one["before"], "After": one["after"], "Left": one["left"]}
        rows.append(
            {"Genre": one["label"]}
            | {name: f"{count:,}" for name, count in counts.items()}
            | {"Share that left": Cell(percent(share), share)}
        )
    caption = "Tracks by tag, the genres that lost most tracks first. Left: tracks that now have another tag."
    return Table(rows, ("Genre",), caption=caption if rows else "No genre gained or lost a track.")


def _flows(churn: Summary) -> Table:
    rows = [
        {"From, to": f"{before} → {after}", "Tracks": f"{count:,}"} for before, after, count in churn["flows"]
    ]
    return Table(rows, ("From, to",), caption="The most frequent changes.")


def _drift(summary: Summary) -> Table:
    """How far each feature has moved since the current tags and since training."""
    now = {one["feature"]: one["index"] for one in summary.get("drift", ())}
    trained = {one["feature"]: one["index"] for one in summary.get("training_drift", ())}
    names = sorted(now | trained, key=lambda name: (-now.get(name, 0.0), -trained.get(name, 0.0), name))
    if not names:
        return Table([], caption="There is nothing to compare the features with.")
    return Table(
        [
            {
                "Feature": name,
                "Since the current tags": _index(now.get(name)),
                "Since training": _index(trained.get(name)),
            }
            for name in names[:MOST_ROWS]
        ],
        ("Feature",),
        caption="Population stability index: below 0.1 no shift, above 0.25 a major one. A full bar is 0.5.",
    )


def _index(index: float | None) -> Cell:
    return Cell(decimal(index), None if index is None else index / 0.5)
