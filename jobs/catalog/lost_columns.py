"""The columns of the current tracks that a new track table lacks, or that are no longer what they were."""

import contextlib
from dataclasses import dataclass

from genremill.infra.errors import AuditRefused, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Warehouse
from genremill.jobs import model_registry
from genremill.jobs.catalog.columns import NONE, ROLES, Columns
from genremill.jobs.catalog.measurements import Chosen
from genremill.jobs.catalog.tracks import OTHER_CATALOG
from genremill.jobs.catalog.vectors import set_name
from genremill.jobs.snapshot_details import ColumnUse, Feature, Kind, TracksDetails
from genremill.models.features import VECTORS
from genremill.models.model_card import read_card

SHOWN = 5
"""Columns that the message describes."""


@dataclass(frozen=True)
class LostColumn:
    """A column that was a feature or had a role in the current tracks, and no longer is or has."""

    name: str
    was: str
    why: str

    def __str__(self) -> str:
        return f"{self.name!r} was {self.was}: {self.why}"


def lost_columns(before: TracksDetails, chosen: Chosen) -> list[LostColumn]:
    """What a table has lost since the current tracks: features, roles and vectors that no flag removes."""
    understanding = chosen.understanding
    columns, roles = understanding.columns, understanding.roles
    uses = {use.column: use for use in understanding.uses}
    kinds = {feature.name: feature.kind for feature in chosen.features}
    features = {
        feature.name: LostColumn(feature.name, f"a {feature.kind} feature", _why(feature, kinds, uses))
        for feature in before.features
        if kinds.get(feature.name) != feature.kind and not _is_wanted(feature, kinds, columns)
    }
    with_roles = {
        use.column: LostColumn(use.column, f"the {role}", "the table has no column with this role")
        for use in before.columns
        for role in ROLES
        if role.replace("_", " ") in use.uses and getattr(roles, role) is None
        if getattr(columns, role) != NONE
    }
    widths = {column.name: column.width for column in chosen.vectors.columns}
    unwanted = {set_name(name) for name in (*columns.ignore, *columns.keep)}
    vectors = {
        VECTORS + each.name: LostColumn(
            VECTORS + each.name, f"vectors of {each.width:,} values", _why_no_vectors(widths.get(each.name))
        )
        for each in before.vectors
        if widths.get(each.name) != each.width and each.name not in unwanted
    }
    return [*(with_roles | features | vectors).values()]


def _why_no_vectors(width: int | None) -> str:
    return "there are no vectors of this name" if width is None else f"they have {width:,} values now"


def _is_wanted(feature: Feature, kinds: dict[str, Kind], columns: Columns) -> bool:
    """Whether flags say that a feature has another kind, or is none."""
    if feature.name in kinds:
        return columns.categorical != Columns.categorical
    others = (getattr(columns, role) for role in ROLES if role not in ("popularity", "duration"))
    named = {*columns.ignore, *columns.inputs, *columns.keep, *others}
    return bool(columns.features) or feature.name in named


def _why(feature: Feature, kinds: dict[str, Kind], uses: dict[str, ColumnUse]) -> str:
    """Why a column is no longer this feature, with the share of its values that do not fit."""
    if feature.name in kinds:
        return f"it is a {kinds[feature.name]} feature now"
    use = uses.get(feature.name)
    if use is None:
        return "the table has no such column"
    unfit = 1 - (use.parsed or 0.0)
    if not unfit or not use.examples:
        return use.reason
    return f"{use.reason}; {unfit:.1%} of its values do not fit, such as {', '.join(map(repr, use.examples))}"


def check(
    warehouse: Warehouse,
    source: object,
    before: TracksDetails,
    chosen: Chosen,
    limit: int,
    summary: dict[str, object],
) -> None:
    """Raises `AuditRefused` if more columns than the limit are lost; fewer are only logged."""
    lost = lost_columns(before, chosen)
    if not lost:
        return
    summary["lost_columns"] = {column.name: column.why for column in lost}
    text = f"{_described(before, chosen, lost)}{_of_model(warehouse, lost)}"
    if len(lost) <= limit:
        LOGGER.warning("accepted because of --max-lost-columns %d: %s", limit, text)
        return
    raise AuditRefused(
        f"{source}: {len(lost):,} of the columns that the current tracks use are lost; expected at "
        f"most --max-lost-columns {limit}. {text}. `tracks` is unchanged. Correct the table, or accept this "
        f"change by running once with --max-lost-columns {len(lost)}. {OTHER_CATALOG}",
        summary,
    )


def _described(before: TracksDetails, chosen: Chosen, lost: list[LostColumn]) -> str:
    """The lost columns, and the columns that are new and may have their values."""
    text = "; ".join(map(str, lost[:SHOWN])) + (f"; and {len(lost) - SHOWN} more" if lost[SHOWN:] else "")
    known = {use.column for use in before.columns}
    new = [repr(use.column) for use in chosen.understanding.uses if use.column not in known]
    return text + (f". New columns: {', '.join(new[:SHOWN])}" if known and new else "")


def _of_model(warehouse: Warehouse, lost: list[LostColumn]) -> str:
    """Which of the columns the model in use reads."""
    with contextlib.suppress(UsageError):
        version, folder = model_registry.of_night(warehouse)
        card = read_card(folder)
        needed = {*model_registry.table_features(card)}
        needed |= {*card.inputs}
        if read := [repr(column.name) for column in lost if column.name in needed]:
            return f". The model in use, {version}, reads {', '.join(read[:SHOWN])}"
    return ""
