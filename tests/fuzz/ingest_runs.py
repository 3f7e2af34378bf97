"""The job `ingest` on whole tables, in the Spark session of the tests."""

import contextlib
import io
import shutil

from hypothesis import strategies as st

from genremill.infra.errors import ExitCode
from genremill.jobs import ingest
from tests.fuzz.harness import Target, scratch
from tests.fuzz.table_inputs import csv_inputs, excel_inputs, parquet_inputs


def ingest_table(data: bytes) -> str:
    """Runs the job; a retry would not help, so the exit code must say that it is done or that it refuses.

    The job itself checks that every row is in a track or rejected.
    """
    folder = scratch("ingest")
    (folder / "table").write_bytes(data)
    shutil.rmtree(folder / "warehouse", ignore_errors=True)
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
        code = ingest.main([f"--warehouse={folder}/warehouse", f"--tracks={folder}/table"])
    assert code in (ExitCode.DONE, ExitCode.USAGE), printed.getvalue()[-3000:]
    assert "Traceback" not in printed.getvalue()
    return "published" if code == ExitCode.DONE else "refused"


def targets() -> list[Target]:
    inputs = st.one_of(csv_inputs(), csv_inputs(), parquet_inputs(), excel_inputs())
    return [Target("ingest", inputs, ingest_table, seconds=120.0, examples=40, share=4)]
