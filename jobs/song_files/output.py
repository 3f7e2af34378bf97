"""The results of `tag` as JSON, as CSV and as a table for a terminal."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from genremill.infra.terminal import plain
from genremill.jobs.song_files.labels import Status, Tags

HEADER = ("path", "status", "reason", "rank", "label", "probability")
WIDEST = 48
"""Characters of the column of paths; of a longer path, the end is shown."""


def document(results: Mapping[str, Tags]) -> dict[str, Any]:
    """The JSON document for results by path."""
    return {
        "files": [
            {
                "path": path,
                "labels": [asdict(label) for label in tags.labels],
                "reason": tags.reason,
                "status": tags.status,
            }
            for path, tags in results.items()
        ]
    }


def csv_text(results: Mapping[str, Tags]) -> str:
    r"""One line for each label, or one without a label. A dot stands for characters that are not printable.

    >>> from genremill.jobs.song_files.labels import Label
    >>> print(csv_text({"a,\n.mp3": Tags(Status.TAGGED, (Label("jazz", 0.51),))}))
    path,status,reason,rank,label,probability
    "a,·.mp3",tagged,,1,jazz,0.5100
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for path, tags in results.items():
        start = (plain(path), tags.status, tags.reason or "")
        for rank, each in enumerate(tags.labels, start=1):
            writer.writerow((*start, rank, plain(each.label), f"{each.probability:.4f}"))
        if not tags.labels:
            writer.writerow((*start, "", "", ""))
    return text.getvalue().rstrip("\n")


def table_text(results: Mapping[str, Tags]) -> str:
    """One line for each file.

    >>> from genremill.jobs.song_files.labels import Label
    >>> print(table_text({"a.mp3": Tags(Status.TAGGED, (Label("jazz", 0.51), Label("funk", 0.2)))}))
    file   labels
    a.mp3  jazz 0.51, funk 0.20
    """
    paths = [_end(plain(path)) for path in results]
    width = max(map(len, ["file", *paths]))
    lines = [f"{'file':<{width}}  labels"]
    lines += [
        f"{path:<{width}}  {plain(_labels(tags))}" for path, tags in zip(paths, results.values(), strict=True)
    ]
    return "\n".join(lines)


def _end(path: str) -> str:
    return path if len(path) <= WIDEST else f"…{path[1 - WIDEST :]}"


def _labels(tags: Tags) -> str:
    if tags.reason is not None:
        return f"rejected: {tags.reason}" + (f" ({tags.detail})" if tags.detail else "")
    labels = ", ".join(f"{each.label} {each.probability:.2f}" for each in tags.labels)
    if tags.status is Status.TAGGED:
        return labels
    why = "not sure enough" if tags.status is Status.ABSTAINED else "unlike the tracks of the model"
    return f"{tags.status}, {why}" + (f": {labels}" if labels else "")
