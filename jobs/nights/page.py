"""The nightly report, `night.html`: what ran and why, what it rejected and changed, how good the model is."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from genremill.infra.errors import StorageError
from genremill.infra.pages.charts import Axis, Series, line_chart
from genremill.infra.pages.formats import MISSING, duration, percent
from genremill.infra.pages.parts import Figure, Header, Stat, Table
from genremill.infra.pages.rendering import render_template
from genremill.infra.warehouse import Warehouse
from genremill.jobs.audits.sections import publication
from genremill.jobs.nights.record import Night, State

Measured: TypeAlias = Mapping[str, float] | float
"""A figure alone, or with its 95 % interval."""
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
    """Where the page comes from; a storage that is down does not hide why the run ended."""
    try:
        tracks = warehouse.current("tracks")
    except StorageError:
        tracks = None
    return Header.of(warehouse, night.run_id, tracks.snapshot if tracks else None, night.started_at)


def render(night: Night, earlier: Sequence[Night], header: Header) -> str:
    """The page as one self-contained HTML document; `earlier` runs are newest first."""
    publish = night.step("publish")
    summary: dict[str, Any] = publish.summary if publish else {}
    with_model = [one for one in reversed([night, *earlier]) if one.metrics]
    return render_template(
        "genremill/jobs/nights/night.html.j2",
        kind="nightly report",
        title=f"Nightly run of {night.started_at[:10]}",
        lead=_lead(night),
        header=header,
        error=night.error,
        headline=_headline(night, summary.get("churn")),
        steps=_steps(night),
        tables=_tables(night),
        rejects=_rejects(night),
        publication=publication(summary) if summary.get("audits") else None,
        model=night.metrics,
        report=str(night.metrics.get("report", "")).rpartition("reports/")[2],
        model_figures=[
            Stat(label, percent(_value(night.metrics[name])), [_bounds(night.metrics[name])])
            for name, label in FIGURES.items()
            if name in night.metrics
        ],
        accuracy_trend=_accuracy_trend(with_model) if len(with_model) > 1 else None,
        runs=_runs([night, *earlier]),
        churn_trend=_churn_trend([night, *earlier]),
        facts={
            "Run": night.run_id,
            "Started": night.started_at,
            "Code": night.code_version,
            "Record": "run.json beside this page",
        },
    )


def _verdict(night: Night) -> str:
    return VERDICTS.get(night.exit_code, "failed")


def _lead(night: Night) -> str:
    """How the run ended and what readers get, in a sentence."""
    if not night.error and all(one.state is not State.RAN for one in night.steps):
        return "Nothing has changed since the last run, so no step ran and readers get the same tags."
    tags = next((f"{one.rows_after:,} tracks" for one in night.tables if one.name == "tags"), None)
    if night.error:
        kept = f"readers still get the earlier tags of {tags}" if tags else "there are no tags yet"
        return f"The run {_verdict(night)} after {duration(night.seconds)}, and {kept}."
    churn = _changed(night)
    changed = "" if churn is None else f", and {percent(churn)} of the earlier tags changed"
    return (
        f"The run {_verdict(night)} in {duration(night.seconds)}: {tags or 'no tracks'} have tags{changed}."
    )


def _headline(night: Night, churn: Mapping[str, Any] | None) -> list[Stat]:
    ingest = night.step("ingest")
    changes = ingest.summary.get("changes") if ingest else None
    tags = next((one for one in night.tables if one.name == "tags"), None)
    rejected = sum(one.count for one in night.rejects)
    stats = [
        Stat("result", _verdict(night), [f"exit code {night.exit_code}"]),
        Stat("time", duration(night.seconds), [f"on {night.cores} cores"]),
        Stat("tracks with tags", f"{tags.rows_after:,}", [f"{tags.rows_before:,} before"])
        if tags
        else Stat("tags", "none"),
    ]
    if changes:
        details = [f"{changes['changed']:,} changed, {changes['vanished']:,} vanished"]
        stats.append(Stat("new tracks", f"{changes['new']:,}", details))
    if churn and churn["tracks"]:
        share = percent(churn["changed"] / churn["tracks"])
        stats.append(Stat("changed tags", share, [f"{churn['changed']:,} tracks"]))
    return [*stats, Stat("rejected", f"{rejected:,}", ["rows and files, new in this run"])]


def _steps(night: Night) -> Table:
    rows = [
        {
            "Step": one.name,
            "State": one.state.value,
            "Time": "" if one.state is State.SKIPPED else duration(one.seconds),
            "Reason": one.cause or "nothing has changed",
        }
        for one in night.steps
    ]
    return Table(
        rows, ("Step", "State", "Reason"), caption="A step runs if something that it depends on has changed."
    )


def _tables(night: Night) -> Table:
    rows = [
        {
            "Table": one.name,
            "Rows before": f"{one.rows_before:,}",
            "Rows now": f"{one.rows_after:,}",
            "Current run": one.run_after or MISSING,
            "State": "unchanged" if one.run_after == one.run_before else "new",
        }
        for one in night.tables
    ]
    return Table(
        rows,
        ("Table", "Current run", "State"),
        caption="What readers get." if rows else "No table is current yet.",
    )


def _rejects(night: Night) -> Table:
    rows = [
        {
            "Reason": one.reason,
            "Job": one.stage,
            "Number": f"{one.count:,}",
            "Examples": "\n".join(f"{key}: {detail}" if detail else key for key, detail in one.examples),
        }
        for one in night.rejects
    ]
    caption = (
        "Rows of the track table and audio files that this run rejected."
        if rows
        else "Nothing was newly rejected."
    )
    return Table(rows, ("Reason", "Job", "Examples"), caption=caption)


def _accuracy_trend(nights: Sequence[Night]) -> Figure:
    """Accuracy of the model in use, run by run."""
    lines = [
        Series(
            label,
            [(at, _value(one.metrics[name])) for at, one in enumerate(nights, 1) if name in one.metrics],
            marks=True,
        )
        for name, label in FIGURES.items()
    ]
    return _trend(
        "Accuracy by run", "Held-out accuracy of the model in use, from its own report.", lines, len(nights)
    )


def _churn_trend(nights: Sequence[Night]) -> Figure | None:
    """Share of tags that changed, run by run; None for fewer than two runs that published."""
    shares = [(float(at), _changed(one)) for at, one in enumerate(reversed(nights), 1)]
    points = [(at, share) for at, share in shares if share is not None]
    if len(points) < 2:
        return None
    caption = "Share of the tracks whose tag changed. A run that published nothing has no mark."
    return _trend(
        "Changed tags by run", caption, [Series("changed tags", points, marks=True)], len(nights), 0.0
    )


def _trend(name: str, caption: str, lines: Sequence[Series], runs: int, *shown: float) -> Figure:
    lines = [line for line in lines if line.points]
    y = Axis.over("", [*shown, *(value for line in lines for _, value in line.points)], percent=True)
    x = Axis("runs, this one is the last", 1, runs, whole=True)
    return Figure(name, line_chart(name, caption, x, y, lines), caption)


def _runs(nights: Sequence[Night]) -> Table:
    rows = [
        {
            "Started (UTC)": one.started_at.replace("T", " ").replace("Z", ""),
            "Result": _verdict(one),
            "Time": duration(one.seconds),
            "Steps that ran": ", ".join(step.name for step in one.steps if step.state is State.RAN) or "none",
            "Changed tags": percent(_changed(one)),
            "Model": str(one.metrics.get("model_version", MISSING)),
        }
        for one in nights
    ]
    return Table(
        rows,
        ("Started (UTC)", "Result", "Steps that ran", "Model"),
        caption="This run and the runs before it.",
    )


def _changed(night: Night) -> float | None:
    """Share of the tracks whose tag changed."""
    step = night.step("publish")
    churn = step.summary.get("churn") if step else None
    return churn["changed"] / churn["tracks"] if churn and churn["tracks"] else None


def _value(figure: Measured) -> float:
    return float(figure["value"] if isinstance(figure, Mapping) else figure)


def _bounds(figure: Measured) -> str:
    if not isinstance(figure, Mapping) or figure.get("low") is None:
        return "held-out artists"
    return f"{percent(figure['low'])} to {percent(figure['high'])}"
