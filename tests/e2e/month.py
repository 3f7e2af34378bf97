"""Runs thirty nights on one warehouse and checks the tags after each night.

The feed is a CSV file with the whole catalog. Each night overwrites it with 1 % more tracks. In one night the
feed is truncated, in one its values have drifted, in one the extractor is upgraded, one night is killed, and
one publication is rolled back.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from genremill.infra import storage
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli
from genremill.jobs.nights.record import Night, State, earlier

Row = dict[str, str]
NIGHTS = 30
CUT_SHORT, UPGRADE, DRIFTED, KILLED, ROLLED_BACK = 8, 12, 16, 20, 24
FIRST_SHARE = 0.77
"""Share of the tracks in the first night; each later night adds the same number."""
UPGRADED = ("--extract.seconds", "2")
"""The flags that change with the upgrade of the extractor."""


@dataclass(frozen=True)
class Feed:
    """All rows of all nights, by track, in the order of release."""

    header: list[str]
    tracks: list[list[Row]]

    def as_of(self, night: int) -> list[list[Row]]:
        """The tracks of a night."""
        first = FIRST_SHARE * len(self.tracks)
        return self.tracks[: round(first + (len(self.tracks) - first) * (night - 1) / (NIGHTS - 1))]

    def write(self, path: Path, night: int, change: Callable[[Row], Row] = dict, share: float = 1.0) -> None:
        """Writes the file of a night, with `change` applied to each row, or truncated."""
        tracks = self.as_of(night)
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, self.header)
            writer.writeheader()
            for rows in tracks[: round(share * len(tracks))]:
                writer.writerows(change(row) for row in rows)

    def audio(self, night: int) -> set[str]:
        """The distinct audio URIs of a night."""
        return {uri for rows in self.as_of(night) for row in rows if (uri := row.get("audio_uri"))}


def drifted(row: Row) -> Row:
    """The row with a higher loudness and energy."""
    return row | {"loudness": str(float(row["loudness"]) + 6.0), "energy": str(float(row["energy"]) ** 0.5)}


@dataclass
class Month:
    """A warehouse, its feed, and the records of its nights."""

    folder: Path
    feed: Feed
    flags: Sequence[str] = ()
    nights: list[Night] = field(default_factory=list)

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse of the nights."""
        return Warehouse.at(str(self.folder / "warehouse"))

    @property
    def file(self) -> Path:
        """The path of the feed."""
        return self.folder / "feed.csv"

    def command(self, number: int) -> list[str]:
        """A night's command line."""
        upgrade = UPGRADED if number >= UPGRADE else ()
        where = ["--warehouse", self.warehouse.uri, "--tracks", str(self.file), "--json"]
        return ["nightly", *where, "--audio-root", str(self.folder), *self.flags, *upgrade]

    def night(self, number: int, expected_code: int = 0) -> Night:
        """Runs a night on the current feed and returns its record."""
        code = cli.main(self.command(number))
        night = earlier(self.warehouse, most=1)[0]
        assert code == expected_code == night.exit_code, f"night {number}: exit code {code}: {night.error}"
        self.nights.append(night)
        return night

    def usual(self, number: int) -> Night:
        """Writes the feed of a night, runs the night and checks its tags."""
        self.feed.write(self.file, number)
        night = self.night(number)
        self.check_tags(number)
        return night

    def current(self, table: str) -> Snapshot:
        """The current snapshot of a table."""
        found = self.warehouse.current(table)
        assert found is not None
        return found.snapshot

    def rows(self, snapshot: Snapshot, *columns: str) -> list[dict[str, Any]]:
        """Rows of a run."""
        path = self.warehouse.path(snapshot.path).removeprefix("file://")
        table = ds.dataset(path, format="parquet", ignore_prefixes=["_", "."])
        found: list[dict[str, Any]] = table.to_table(columns=list(columns)).to_pylist()
        return found

    def tags(self) -> dict[str, str | None]:
        """The current label of each track."""
        rows = self.rows(self.current("tags"), "track_id", "label")
        found = {row["track_id"]: row["label"] for row in rows}
        assert len(found) == len(rows), "a track has two tags"
        return found

    def check_tags(self, number: int) -> None:
        """Every track of the feed has a tag, no other track has one, and the tags name the run of tracks."""
        tags, tracks = self.current("tags"), self.current("tracks")
        assert tags.details["tracks_run"] == tracks.run_id, f"night {number}"
        assert set(self.tags()) == self.ids(number), f"night {number}"

    def ids(self, number: int) -> set[str]:
        """The ids of the current tracks, which are the tracks of the feed without the rejects."""
        tracks = {row["track_id"] for row in self.rows(self.current("tracks"), "track_id")}
        sent = {rows[0]["track_id"] for rows in self.feed.as_of(number)}
        assert tracks <= sent
        assert len(tracks) > 0.95 * len(sent)
        return tracks

    def killed(self, number: int) -> None:
        """Runs a night and kills it while it scores."""
        runs = self.folder / "warehouse" / "tags"
        before = set(runs.iterdir())
        command = [sys.executable, "-m", "genremill.jobs.cli", *self.command(number)]
        with (self.folder / "killed.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            while process.poll() is None and set(runs.iterdir()) == before:
                time.sleep(0.05)
            assert process.poll() is None, (self.folder / "killed.log").read_text()[-2000:]
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def decoded(self) -> Counter[str]:
        """The number of decoded objects in the records of the nights, by fingerprint."""
        found: Counter[str] = Counter()
        for night in self.nights:
            step = night.step("extract")
            for one in step.summary["features"].values() if step and step.state is State.RAN else ():
                found[one["fingerprint"]] += one["decoded"]
        return found


def run(month: Month, say: Callable[[int, Night], None] = lambda number, night: None, first: int = 1) -> None:
    """Runs the thirty nights, or those from `first` on; raises AssertionError at the first error."""
    specials = {
        CUT_SHORT: _cut_short,
        DRIFTED: _drifted,
        KILLED: _killed,
        ROLLED_BACK: _rolled_back,
    }
    for number in range(first, NIGHTS + 1):
        before = month.tags() if number > 1 else {}
        if number in specials:
            specials[number](month, number)
        else:
            month.usual(number)
        say(number, month.nights[-1])
        if number not in (1, UPGRADE):
            trained = month.nights[-1].step("train")
            assert trained is None or trained.state is State.SKIPPED, "new tracks are no reason to train"
        changed = [one for one, label in month.tags().items() if one in before and label != before[one]]
        causes = _causes(month.nights[-1]) if number == UPGRADE else {}  # it trains a new model
        assert causes.keys() <= {"new model", "new features", "other tracks of the artist"}
        assert len(changed) == sum(causes.values()), f"night {number}: {len(changed)} changed, told {causes}"
    _check_decoding(month)


def _causes(night: Night) -> dict[str, int]:
    """The number of changed tags by cause, from the record of a night."""
    published = night.step("publish")
    return dict(published.summary["churn"]["causes"]) if published else {}


def _check_decoding(month: Month) -> None:
    """Each clip was decoded once per fingerprint; the work of the killed night is in no record."""
    before, after = sorted(month.decoded().values())
    first, last = len(month.feed.audio(UPGRADE - 1)), len(month.feed.audio(NIGHTS))
    unrecorded = len(month.feed.audio(KILLED) - month.feed.audio(KILLED - 1))
    assert before == first
    assert last - unrecorded <= after <= last
    features = ds.dataset(
        str(month.folder / "warehouse" / "features"), format="parquet", ignore_prefixes=["_", "."]
    )
    rows = [
        tuple(one.values())
        for one in features.to_table(["track_id", "audio_uri", "window", "etag"]).to_pylist()
    ]
    assert max(Counter(rows).values()) == 2, "expected one row per fingerprint"


def _cut_short(month: Month, number: int) -> None:
    """A feed without half of the catalog is refused, and nothing changes."""
    before = (month.current("tracks"), month.current("tags"))
    month.feed.write(month.file, number, share=0.5)
    night = month.night(number, expected_code=2)
    assert "--ingest.max-vanished" in night.error
    assert (month.current("tracks"), month.current("tags")) == before


def _drifted(month: Month, number: int) -> None:
    """The tags of a drifted feed are refused twice, with a page that shows the reason."""
    before = (month.current("tracks"), month.current("tags"))
    month.feed.write(month.file, number, change=drifted)
    for _ in range(2):
        night = month.night(number, expected_code=2)
        assert "drift of features" in night.error
        assert (month.current("tracks"), month.current("tags")) == before
        page = month.warehouse.path(night.step("publish").summary["report"])  # type: ignore[union-attr]
        assert storage.read_bytes(page).count(b"loudness = ") == 10
    again = [one.name for one in month.nights[-1].steps if one.state is not State.SKIPPED]
    assert again in (["publish"], ["extract", "publish"])
    month.usual(number)  # the source has corrected the feed


def _killed(month: Month, number: int) -> None:
    """A night is killed while it scores, and runs again."""
    before = month.current("tags")
    month.feed.write(month.file, number)
    month.killed(number)
    assert month.current("tags") == before
    month.night(number)
    month.check_tags(number)


def _rolled_back(month: Month, number: int) -> None:
    """Tags that were rolled back are not published again until the inputs change."""
    before = month.current("tags")
    month.usual(number)
    where = ["--warehouse", month.warehouse.uri, "--json"]
    assert cli.main(["score", *where]) == 0
    assert cli.main(["publish", *where, "--rollback"]) == 0
    assert month.current("tags").run_id == before.run_id
    assert month.current("tracks").run_id == before.details["tracks_run"]
    month.night(number)
    assert cli.main(["publish", *where]) == 2, "the same tags under another run id"
    month.night(number)
    assert month.current("tags").run_id == before.run_id
