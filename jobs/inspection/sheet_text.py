"""The sheet of a track as text for a terminal."""

from collections.abc import Mapping

from genremill.infra.terminal import plain
from genremill.jobs.inspection.sheet import AudioFeatures, Tag, TrackSheet
from genremill.models.features import PROSE, TAGS

WIDTH, LABEL_WIDTH, GAP = 112, 12, "   "
"""Characters of a line, of a label, and between two columns."""


def lines_of(sheet: TrackSheet) -> list[str]:
    """The sheet as lines for a terminal, without control characters."""
    facts = {
        "title": sheet.title or "unknown",
        "artists": ", ".join(sheet.artists) or "unknown",
        "album": sheet.album or "unknown",
        "track_id": sheet.track_id,
        "genres": ", ".join(sheet.genres) or "none: the track has no label",
        "split": sheet.split,
        "duration": "unknown" if sheet.duration_s is None else f"{sheet.duration_s:.1f} s",
        "audio": sheet.audio_uri or "none: the track has no audio_uri",
    }
    facts |= {TAGS + name: _cut(", ".join(tags)) for name, tags in sheet.tags.items()}
    facts |= {PROSE + name: _cut(text) for name, text in sheet.texts.items()}
    lines = [fact(name, value) for name, value in facts.items()]
    table = "table features" if sheet.table_features else fact("table", "no table features")
    lines += ["", *_tag_lines(sheet.tag), "", table, *_listing(sheet.table_features)]
    for features in sheet.audio_features:
        lines += ["", *_audio_lines(features)]
    return lines if sheet.audio_features else [*lines, "", fact("features", "no audio features")]


def _audio_lines(features: AudioFeatures) -> list[str]:
    if not features.windows:
        return [fact(features.name, f"none: {features.reason}")]
    first, *others = features.windows
    which = f"the first of {len(features.windows)} windows" if others else "one window"
    return [plain(f"{features.name}, {which}, fingerprint {features.fingerprint}"), *_listing(first)]


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


def fact(name: str, value: str) -> str:
    """One line: a label and its value."""
    return plain(f"{name:<{LABEL_WIDTH - 1}} {value}")


def tag_text(tag: Tag | None) -> str:
    """Label and confidence of a tag.

    >>> tag_text(Tag("rock", 0.625, "tagged", {"rock": 0.625}, 3, ("table",), "linear/1"))
    'rock (62 %)'
    >>> tag_text(None)
    'not tagged yet'
    """
    if tag is None:
        return "not tagged yet"
    if tag.label is None or tag.confidence is None:
        return tag.status.replace("_", " ")
    return f"{tag.label} ({100 * tag.confidence:.0f} %)"


def _tag_lines(tag: Tag | None) -> list[str]:
    if tag is None:
        return [fact("tag", tag_text(tag))]
    facts = {
        "tag": tag_text(tag),
        "status": tag.status,
        "cluster": "none" if tag.cluster_id is None else str(tag.cluster_id),
        "model": f"{tag.model_version}, inputs: {', '.join(tag.inputs) or 'none'}",
        "blend": tag.blend,
        "likeliest": _percentages(tag.top) or "no label",
        "clusters": _percentages(tag.clusters),
        **{f"by {name}": _percentages(top) for name, top in tag.by_input.items()},
        **{f"because of {name}": _evidence(tokens) for name, tokens in tag.tokens.items()},
    }
    return [fact(name, value) for name, value in facts.items() if value]


def _evidence(tokens: Mapping[str, float]) -> str:
    return ", ".join(f"{token!r} {evidence:+.2f}" for token, evidence in tokens.items())


def _percentages(probabilities: Mapping[str, float] | Mapping[int, float]) -> str:
    return ", ".join(f"{name} {100 * probability:.1f} %" for name, probability in probabilities.items())


def _listing(values: Mapping[str, float] | Mapping[str, float | None]) -> list[str]:
    """Names and values in as many columns as fit into a line, column by column."""
    if not values:
        return []
    name_width = max(map(len, values))
    shown = {name: "missing" if value is None else f"{value:.4g}" for name, value in values.items()}
    cells = [plain(f"{name:<{name_width}} {value:>10}") for name, value in shown.items()]
    columns = max(1, WIDTH // (len(cells[0]) + len(GAP)))
    height = -(-len(cells) // columns)
    return [GAP + GAP.join(cells[row::height]) for row in range(height)]
