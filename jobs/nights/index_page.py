"""The list of all pages of a warehouse, `reports/index.html`: nights, models and studies, newest first."""

import itertools
from dataclasses import dataclass

from genremill.infra import storage
from genremill.infra.errors import StorageError
from genremill.infra.log import LOGGER
from genremill.infra.pages.formats import duration, percent
from genremill.infra.pages.rendering import render_template
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights import record as night_record
from genremill.jobs.nights.page import header_of, verdict
from genremill.jobs.nights.record import Night

FILE = "index.html"
MOST = 100
"""Pages of each kind that are listed."""


@dataclass(frozen=True)
class Entry:
    """A page in the list: the text of its link, its place relative to `reports/`, and what it says."""

    name: str
    link: str
    cells: tuple[str, ...]


def write(warehouse: Warehouse, night: Night) -> None:
    """Writes the page; a storage error is only logged."""
    try:
        nights = [_night(each) for each in night_record.earlier(warehouse, MOST)]
        page = render_template(
            "genremill/jobs/nights/index.html.j2",
            kind="reports",
            title="Reports",
            lead="Nights, models and studies of this warehouse, the newest first.",
            header=header_of(warehouse, night),
            lists={
                "Nights": (("Started", "Result", "Time", "Model"), nights),
                "Models": (("Model", "Top-1 accuracy", "Measured in run"), _models(warehouse)),
                "Studies": (("Study",), _studies(warehouse)),
            },
        )
        storage.write_atomic(warehouse.path("reports", FILE), page.encode())
    except StorageError as err:
        LOGGER.warning("%s could not be written: %s", FILE, err)


def _night(night: Night) -> Entry:
    model = str(night.metrics.get("model_version", ""))
    cells = (verdict(night), duration(night.seconds), model)
    return Entry(night.started_at, f"{night.run_id}/{night_record.PAGE}", cells)


def _models(warehouse: Warehouse) -> list[Entry]:
    """The reports on models; damaged ones are skipped with a warning."""
    found = []
    for run_id, metrics in itertools.islice(night_record.reports(warehouse), MOST):
        try:
            top1 = percent(float(metrics["top1"]["value"]))
        except (KeyError, TypeError, ValueError) as err:
            LOGGER.warning("the list leaves out the report of run %s: %r", run_id, err)
            continue
        found.append(Entry(str(metrics.get("model_version")), f"{run_id}/report.html", (top1, run_id)))
    return found


def _studies(warehouse: Warehouse) -> list[Entry]:
    pages = [page for page in storage.objects(warehouse.path("studies")) if page.name.endswith("/study.html")]
    pages.sort(key=lambda page: page.modified_s, reverse=True)
    return [Entry(page.name.partition("/")[0], f"../studies/{page.name}", ()) for page in pages[:MOST]]
