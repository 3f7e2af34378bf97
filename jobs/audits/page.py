"""The audit page, `audit.html`, about tags that were refused: every audit, the changes, and examples."""

from pyspark.sql import DataFrame, SparkSession

from genremill.infra import storage
from genremill.infra.pages.parts import Header
from genremill.infra.pages.rendering import render_template
from genremill.infra.warehouse import Snapshot
from genremill.jobs import command
from genremill.jobs.audits.examples import TellingTrack, telling
from genremill.jobs.audits.measure import Findings
from genremill.jobs.audits.sections import publication
from genremill.jobs.snapshot_details import TagsDetails
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
    """Writes the page to `reports/<run_id>/` and returns its URI."""
    examples = telling(spark, work.warehouse, candidate, card, findings, both)
    tracks = work.warehouse.finished("tracks", TagsDetails.of(candidate).tracks_run)
    page = render(candidate.run_id, findings, examples, Header.of(work.warehouse, work.run_id, tracks))
    uri = work.warehouse.path("reports", work.run_id, PAGE)
    storage.write_atomic(uri, page.encode())
    return uri


def render(run_id: str, findings: Findings, examples: list[TellingTrack], header: Header) -> str:
    """The page as one self-contained HTML document."""
    reasons = "; ".join(str(one) for one in findings.refused)
    kept = "readers still get the earlier tags" if findings.churn else "no new tags became current"
    return render_template(
        "genremill/jobs/audits/audit.html.j2",
        kind="audit",
        title=f"Tags of run {run_id} were refused",
        lead=f"The new tags were not published, and {kept}. Over the limit: {reasons}.",
        header=header,
        publication=publication(findings.as_json()),
        examples=examples,
    )
