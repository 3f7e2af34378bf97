"""The nightly report, `night.html`: what ran and why, what it rejected and changed, how good the model is."""

from collections.abc import Mapping, Sequence
from typing import Any

from genremill.infra.errors import StorageError
from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.formats import duration, percent
from genremill.infra.pages.parts import Figure, Header
from genremill.infra.pages.rendering import render_template
from genremill.infra.warehouse import Warehouse
from genremill.jobs.audits.page import publication
from genremill.jobs.catalog import column_table
from genremill.jobs.nights.record import Night, State

NIGHTS = 5
"""Earlier runs that a page compares with."""
FIGURES = {"top1": "Top-1 accuracy", "top5": "Top-5 accuracy", "any_label": "Track accuracy"}
VERDICTS = {
    0: "succeeded",
    2: "was refused",
    3: "succeeded, but rejected too many audio files",
    4: "failed, retry it",
}


def header_of(warehouse: Warehouse, night: Night) -> Header:
    """The header of the page. If the storage is down, it lacks the tracks; the page still shows the error."""
    try:
        tracks = warehouse.current("tracks")
    except StorageError:
        tracks = None
    return Header.of(warehouse, night.run_id, tracks.snapshot if tracks else None, night.started_at)


def render(night: Night, earlier: Sequence[Night], header: Header) -> str:
    """The page as one self-contained HTML document; `earlier` runs are newest first."""
    publish, ingest = night.step("publish"), night.step("ingest")
    summary: dict[str, Any] = publish.summary if publish else {}
    with_model = [run for run in reversed([night, *earlier]) if run.metrics]
    return render_template(
        "genremill/jobs/nights/night.html.j2",
        kind="nightly report",
        title=f"Nightly run of {night.started_at[:10]}",
        lead=_lead(night),
        header=header,
        night=night,
        verdict=verdict,
        changed=_changed,
        tags=next((table for table in night.tables if table.name == "tags"), None),
        changes=ingest.summary.get("changes") if ingest else None,
        publication=publication(summary) if summary.get("audits") else None,
        columns=[column_table.cells_of(use) for use in night.columns],
        column_headings=[heading.capitalize() for heading in column_table.HEADINGS],
        figures={label: night.metrics[name] for name, label in FIGURES.items() if name in night.metrics},
        report=str(night.metrics.get("report", "")).rpartition("reports/")[2],
        accuracy_trend=_accuracy_trend(with_model) if len(with_model) > 1 else None,
        runs=[night, *earlier],
        churn_trend=_churn_trend([night, *earlier]),
    )


def verdict(night: Night) -> str:
    """How a night ended, in a few words."""
    return VERDICTS.get(night.exit_code, "failed")


def _lead(night: Night) -> str:
    """How the run ended and what readers get, in a sentence."""
    if not night.error and all(step.state is not State.RAN for step in night.steps):
        return "Nothing has changed since the last run, so no step ran and readers get the same tags."
    tags = next((f"{table.rows_after:,} tracks" for table in night.tables if table.name == "tags"), None)
    ended, time = f"The run {verdict(night)}", duration(night.seconds)
    if night.error:
        kept = f"readers still get the earlier tags of {tags}" if tags else "there are no tags yet"
        return f"{ended} after {time}, and {kept}."
    churn = _changed(night)
    changed = "" if churn is None else f", and {percent(churn)} of the earlier tags changed"
    return f"{ended} in {time}: {tags or 'no tracks'} have tags{changed}."


def _accuracy_trend(nights: Sequence[Night]) -> Figure:
    """Accuracy of the model in use, run by run."""
    lines = []
    for name, label in FIGURES.items():
        figures = {number: run.metrics[name] for number, run in enumerate(nights, 1) if name in run.metrics}
        values = {n: each["value"] if isinstance(each, Mapping) else each for n, each in figures.items()}
        points = [(number, float(value)) for number, value in values.items()]
        lines.append(Series(label, points, marks=True))
    caption = "Held-out accuracy of the model in use, from its own report."
    return _trend("Accuracy by run", caption, lines, len(nights))


def _churn_trend(nights: Sequence[Night]) -> Figure | None:
    """Share of tags that changed, run by run; None for fewer than two runs that published."""
    shares = [(float(number), _changed(run)) for number, run in enumerate(reversed(nights), 1)]
    points = [(number, share) for number, share in shares if share is not None]
    if len(points) < 2:
        return None
    caption = "Share of the tracks whose tag changed. A run that published nothing has no mark."
    lines = [Series("changed tags", points, marks=True)]
    return _trend("Changed tags by run", caption, lines, len(nights), 0.0)


def _trend(name: str, caption: str, lines: Sequence[Series], runs: int, *shown: float) -> Figure:
    lines = [line for line in lines if line.points]
    y = Axis.over("", [*shown, *(value for line in lines for _, value in line.points)], percent=True)
    x = Axis("runs, this one is the last", 1, runs, whole=True)
    return line_figure(name, caption, x, y, lines)


def _changed(night: Night) -> float | None:
    """Share of the tracks whose tag changed."""
    step = night.step("publish")
    churn = step.summary.get("churn") if step else None
    return churn["changed"] / churn["tracks"] if churn and churn["tracks"] else None
