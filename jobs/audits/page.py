"""The audit page, `audit.html`, about tags that were refused: every audit, the changes, and examples."""

from pyspark.sql import DataFrame, SparkSession

from genremill.infra import storage
from genremill.infra.pages.parts import Header
from genremill.infra.pages.rendering import render_template
from genremill.jobs import command
from genremill.jobs.audits import examples
from genremill.jobs.audits.examples import ExampleTrack
from genremill.jobs.audits.findings import Findings
from genremill.jobs.audits.inputs import AuditInputs
from genremill.jobs.audits.sections import publication

PAGE = "audit.html"


def write(
    spark: SparkSession,
    work: command.Run,
    inputs: AuditInputs,
    findings: Findings,
    comparison: DataFrame | None,
) -> str:
    """Writes the page to `reports/<run_id>/` and returns its URI."""
    tracks = examples.select(spark, inputs, findings, comparison)
    header = Header.of(work.warehouse, work.run_id, inputs.tracks)
    page = render(inputs.staged.run_id, findings, tracks, header)
    uri = work.warehouse.path("reports", work.run_id, PAGE)
    storage.write_atomic(uri, page.encode())
    return uri


def render(run_id: str, findings: Findings, tracks: list[ExampleTrack], header: Header) -> str:
    """The page as one self-contained HTML document."""
    reasons = "; ".join(str(audit) for audit in findings.refused)
    kept = "readers still get the earlier tags" if findings.churn else "nothing else has changed"
    return render_template(
        "genremill/jobs/audits/audit.html.j2",
        kind="audit",
        title=f"Tags of run {run_id} were refused",
        lead=f"The new tags were not published, and {kept}. Over the limit: {reasons}.",
        header=header,
        publication=publication(findings.as_json()),
        examples=tracks,
    )
