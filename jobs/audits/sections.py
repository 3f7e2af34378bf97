"""What pages show of audits, churn and drift, made from the summary of `publish` in `run.json`."""

from collections.abc import Mapping
from typing import Any

MOST_ROWS = 20
"""Genres and features that a table shows, the largest change first."""
VERDICTS = ("refused", "flagged", "not measured", "passed")


def publication(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What the template `publication.html.j2` shows, in its order."""
    churn = summary.get("churn") or {}
    genres = [
        genre for genre in churn.get("genres", ()) if genre["left"] or genre["before"] != genre["after"]
    ]
    now, trained = (
        {shift["feature"]: shift["index"] for shift in summary.get(name, ())}
        for name in ("drift", "training_drift")
    )
    features = sorted(now | trained, key=lambda name: (-now.get(name, 0.0), -trained.get(name, 0.0), name))
    return {
        "audits": sorted(
            summary.get("audits", {}).items(), key=lambda entry: VERDICTS.index(entry[1]["verdict"])
        ),
        "churn": churn,
        "genres": sorted(genres, key=lambda genre: (-genre["left"], genre["label"]))[:MOST_ROWS],
        "drift": [(name, now.get(name), trained.get(name)) for name in features[:MOST_ROWS]],
    }
