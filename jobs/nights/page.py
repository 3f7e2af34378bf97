"""The page of a night, `night.html`: what ran and why, what it rejected, what changed, and how good it is."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from genremill.infra.pages import charts, parts
from genremill.infra.pages.charts import Axis, Series
from genremill.infra.pages.markup import Markup, element, join
from genremill.jobs.audits import sections
from genremill.jobs.evaluation.figures import percent
from genremill.jobs.nights.record import Night, State

Figure: TypeAlias = Mapping[str, float] | float
"""A figure alone, or with its 95 % interval."""
NIGHTS = 5
"""Earlier nights that a page compares with."""
FIGURES = {"top1": "top-1", "top5": "top-5", "any_label": "any label"}
VERDICTS = {0: "done", 2: "refused", 3: "done, with rejects over the limit", 4: "failed, worth a retry"}


def render(night: Night, earlier: Sequence[Night]) -> str:
    """The page as one self-contained HTML document; `earlier` nights are newest first."""
    publication = night.step("publish")
    said: dict[str, Any] = publication.summary if publication else {}
    return parts.page(
        f"Night of {night.started_at[:10]} · genremill",
        parts.masthead("genremill · night", f"Night of {night.started_at[:10]}", _lead(night)),
        *([parts.warning("It ended early.", night.error)] if night.error else []),
        _headline(night, said),
        parts.section("Steps", _steps(night)),
        parts.section("Tables", _tables(night)),
        parts.section("Rejects", _rejects(night)),
        *_publication(said),
        parts.section("The model in use", _model(night, earlier)),
        parts.section("Nights", _nights([night, *earlier])),
        parts.section("This run", parts.facts(_facts(night))),
    )


def _lead(night: Night) -> str:
    ran = [one.name for one in night.steps if one.state is State.RAN]
    verdict = VERDICTS.get(night.exit_code, "failed")
    if not ran and not night.error:
        return "Nothing has changed since the night before: nothing was read again, nothing written."
    return f"{verdict.capitalize()}. Ran: {', '.join(ran) or 'nothing'}."


def _headline(night: Night, said: dict[str, Any]) -> Markup:
    ingest = night.step("ingest")
    changes = ingest.summary.get("changes") if ingest else None
    tags = next((one for one in night.tables if one.name == "tags"), None)
    churn = said.get("churn")
    rejected = sum(one.count for one in night.rejects)
    stats = [
        parts.stat("ended", VERDICTS.get(night.exit_code, "failed"), f"exit code {night.exit_code}"),
        parts.stat("took", _duration(night.seconds), f"on {night.cores} cores"),
        parts.stat(
            "tags",
            f"{tags.rows_after:,}" if tags else "none",
            *([f"{tags.rows_before:,} before"] if tags else []),
        ),
    ]
    if changes:
        stats.append(
            parts.stat(
                "new tracks",
                f"{changes['new']:,}",
                f"{changes['changed']:,} changed, {changes['vanished']:,} vanished",
            )
        )
    if churn and churn["tracks"]:
        stats.append(
            parts.stat(
                "changed tags", percent(churn["changed"] / churn["tracks"]), f"{churn['changed']:,} tracks"
            )
        )
    stats.append(parts.stat("rejected", f"{rejected:,}", "rows and files, new tonight"))
    return parts.stats(*stats)


def _steps(night: Night) -> Markup:
    rows = [
        (
            one.name,
            one.state.value,
            "" if one.state is State.SKIPPED else _duration(one.seconds),
            one.cause or "nothing has changed",
        )
        for one in night.steps
    ]
    columns = parts.columns("Step", "State", "Took", "Why", text=("Step", "State", "Why"))
    return parts.table("A step runs where what it depends on has changed.", columns, rows)


def _tables(night: Night) -> Markup:
    if not night.tables:
        return parts.absent("No table is current yet.")
    rows = [
        (
            one.name,
            f"{one.rows_before:,}",
            f"{one.rows_after:,}",
            one.run_after or "–",
            "as before" if one.run_after == one.run_before else "new",
        )
        for one in night.tables
    ]
    columns = parts.columns(
        "Table", "Rows before", "Rows now", "Current run", "", text=("Table", "Current run", "")
    )
    return parts.table("What readers get.", columns, rows)


def _rejects(night: Night) -> Markup:
    if not night.rejects:
        return parts.absent("Nothing was newly rejected.")
    rows = [
        (
            one.reason,
            one.stage,
            f"{one.count:,}",
            join(*_lines([f"{key}: {detail}" if detail else key for key, detail in one.examples])),
        )
        for one in night.rejects
    ]
    columns = parts.columns("Reason", "Job", "Number", "Such as", text=("Reason", "Job", "Such as"))
    return parts.table("Rows of the table and audio files that were not taken.", columns, rows)


def _lines(texts: list[str]) -> list[Markup]:
    return [part for text in texts for part in (join(text), element("br"))][:-1]


def _publication(said: dict[str, Any]) -> list[Markup]:
    if not said.get("audits"):
        return []
    return [
        parts.section("Audits", sections.audits(said)),
        sections.churn(said),
        sections.drift(said),
    ]


def _model(night: Night, earlier: Sequence[Night]) -> Markup:
    if not night.metrics:
        return parts.absent("The model whose tags are current has no report in this warehouse.")
    figures = [
        parts.stat(label, percent(_value(night.metrics[name])), _bounds(night.metrics[name]))
        for name, label in FIGURES.items()
        if name in night.metrics
    ]
    link = _link(str(night.metrics["report"]).rpartition("reports/")[2])
    past = [one for one in reversed([night, *earlier]) if one.metrics]
    return join(
        parts.prose(f"{night.metrics['model_version']}, {night.metrics['split']} split. ", link),
        parts.stats(*figures),
        *([_trend(past)] if len(past) > 1 else []),
    )


def _link(path: str) -> Markup:
    return element("a", "Its report", href=f"../{path}")


def _trend(past: Sequence[Night]) -> Markup:
    """Accuracy of the model in use, night by night."""
    series = [
        Series(
            label,
            [(at + 1, _value(one.metrics[name])) for at, one in enumerate(past) if name in one.metrics],
            marks=True,
        )
        for name, label in FIGURES.items()
    ]
    series = [one for one in series if one.points]
    y = Axis.over("", [value for one in series for _, value in one.points], percent=True)
    x = Axis("nights, the last is this one", 1, len(past), whole=True)
    caption = "Held-out accuracy of the model in use, as its own report has it."
    return parts.figure(charts.line_chart("Accuracy over nights", caption, x, y, series), caption)


def _nights(nights: Sequence[Night]) -> Markup:
    rows = [
        (
            one.started_at.replace("T", " ").replace("Z", ""),
            VERDICTS.get(one.exit_code, "failed"),
            _duration(one.seconds),
            ", ".join(step.name for step in one.steps if step.state is State.RAN) or "nothing",
            percent(_changed(one)),
            str(one.metrics.get("model_version", "–")),
        )
        for one in nights
    ]
    columns = parts.columns(
        "Started (UTC)",
        "Ended",
        "Took",
        "Ran",
        "Changed tags",
        "Model",
        text=("Started (UTC)", "Ended", "Ran", "Model"),
    )
    return join(parts.table("This night and those before it.", columns, rows), _churn_trend(nights))


def _churn_trend(nights: Sequence[Night]) -> Markup:
    """Share of tags that changed, night by night."""
    shares = [(at + 1.0, _changed(one)) for at, one in enumerate(reversed(nights))]
    points = [(at, share) for at, share in shares if share is not None]
    if len(points) < 2:
        return join()
    caption = "Share of the tracks whose tag changed; nights that published nothing have no mark."
    x = Axis("nights, the last is this one", 1, len(nights), whole=True)
    y = Axis.over("", [0.0, *(share for _, share in points)], percent=True)
    series = [Series("changed tags", points, marks=True)]
    return parts.figure(charts.line_chart("Changed tags over nights", caption, x, y, series), caption)


def _changed(night: Night) -> float | None:
    """Share of the tracks whose tag changed."""
    step = night.step("publish")
    churn = step.summary.get("churn") if step else None
    return churn["changed"] / churn["tracks"] if churn and churn["tracks"] else None


def _facts(night: Night) -> dict[str, str]:
    return {
        "Run": night.run_id,
        "Started": night.started_at,
        "Code": night.code_version,
        "Record": "run.json beside this page",
    }


def _value(figure: Figure) -> float:
    return float(figure["value"] if isinstance(figure, Mapping) else figure)


def _bounds(figure: Figure) -> str:
    if not isinstance(figure, Mapping) or figure.get("low") is None:
        return "held-out artists"
    return f"{percent(figure['low'])} to {percent(figure['high'])}"


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> _duration(4.2), _duration(75), _duration(4000)
    ('4.2 s', '1 min 15 s', '1 h 6 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
