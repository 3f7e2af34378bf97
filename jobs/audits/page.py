"""The page of tags that were refused, `audit.html`: every audit, what would have changed, telling tracks."""

from pyspark.sql import DataFrame, SparkSession

from genremill.infra import storage
from genremill.infra.pages import parts
from genremill.infra.pages.markup import Markup
from genremill.infra.warehouse import Snapshot
from genremill.jobs import command
from genremill.jobs.audits import sections
from genremill.jobs.audits.examples import TellingTrack, telling
from genremill.jobs.audits.measure import Findings
from genremill.models.model_card import ModelCard

PAGE = "audit.html"


def write(
    spark: SparkSession,
    work: command.Run,
    candidate: Snapshot,
    card: ModelCard,
    findings: Findings,
    both: DataFrame | None,
) -> str:
    """Writes the page under `reports/<run_id>/`, and gives its URI."""
    tracks = telling(spark, work.warehouse, candidate, card, findings, both)
    uri = work.warehouse.path("reports", work.run_id, PAGE)
    storage.write_atomic(uri, render(candidate.run_id, findings, tracks).encode())
    return uri


def render(run_id: str, findings: Findings, tracks: list[TellingTrack]) -> str:
    """The page as one self-contained HTML document."""
    record = findings.as_json()
    reasons = "; ".join(str(one) for one in findings.refused)
    return parts.page(
        f"Tags of run {run_id} refused · genremill",
        parts.masthead("genremill · audit", f"Tags of run {run_id} were refused", f"{reasons}."),
        parts.section("Audits", sections.audits(record)),
        sections.churn(record),
        sections.drift(record),
        parts.section("Telling tracks", _table(tracks)),
    )


def _table(tracks: list[TellingTrack]) -> Markup:
    if not tracks:
        return parts.absent("No single track shows what was refused.")
    headings = ("Track", "Artist", "Title", "Tag before", "Tag refused", "Why")
    return parts.table(
        "Rows that are wrong, values far out, and the surest of the tags that would have changed.",
        parts.columns(*headings, text=headings),
        [(one.track_id, one.artists, one.title, one.before, one.after, one.why) for one in tracks],
    )
