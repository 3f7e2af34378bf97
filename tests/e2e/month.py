"""Thirty nights on one warehouse: what a feed does to it, and what must hold in the morning.

A night's feed is a CSV file that is written over: the whole catalog as of that night, 1 % more than the night
before. On the way one feed is cut short, one has drifted, the extractor is upgraded, one night is killed, and
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

from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli
from genremill.jobs.nights.record import Night, State, earlier

Row = dict[str, str]
NIGHTS = 30
CUT_SHORT, UPGRADE, DRIFTED, KILLED, ROLLED_BACK = 8, 12, 16, 20, 24
FIRST_SHARE = 0.77
"""Of the tracks, those of the first night; the others come in equal parts."""
UPGRADED = ("--extract.seconds", "2")
"""What the extractor's upgrade changes."""


@dataclass(frozen=True)
class Feed:
    """All rows that a source ever sends, by track in the order of their release."""

    header: list[str]
    tracks: list[list[Row]]

    def as_of(self, night: int) -> list[list[Row]]:
        """The tracks of a night."""
        first = FIRST_SHARE * len(self.tracks)
        return self.tracks[: round(first + (len(self.tracks) - first) * (night - 1) / (NIGHTS - 1))]

    def write(self, path: Path, night: int, change: Callable[[Row], Row] = dict, share: float = 1.0) -> None:
        """The file of a night; changed row by row, or cut short."""
        tracks = self.as_of(night)
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, self.header)
            writer.writeheader()
            for rows in tracks[: round(share * len(tracks))]:
                writer.writerows(change(row) for row in rows)

    def audio(self, night: int) -> set[str]:
        """The distinct audio of a night."""
        return {uri for rows in self.as_of(night) for row in rows if (uri := row.get("audio_uri"))}


def drifted(row: Row) -> Row:
    """The row as a source sends it that has turned its loudness up and lost its key."""
    return row | {"loudness": str(float(row["loudness"]) + 6.0), "energy": str(float(row["energy"]) ** 0.5)}


@dataclass
class Month:
    """A warehouse, its feed, and what its nights have said."""

    folder: Path
    feed: Feed
    flags: Sequence[str] = ()
    nights: list[Night] = field(default_factory=list)

    @property
    def warehouse(self) -> Warehouse:
        """Where the nights work."""
        return Warehouse.at(str(self.folder / "warehouse"))

    @property
    def file(self) -> Path:
        """Where the feed lies."""
        return self.folder / "feed.csv"

    def command(self, number: int) -> list[str]:
        """A night's command line."""
        upgrade = UPGRADED if number >= UPGRADE else ()
        where = ["--warehouse", self.warehouse.uri, "--tracks", str(self.file), "--json"]
        return ["nightly", *where, "--audio-root", str(self.folder), *self.flags, *upgrade]

    def night(self, number: int, expected_code: int = 0) -> Night:
        """Runs a night on the feed as it lies there, and gives its record."""
        code = cli.main(self.command(number))
        night = earlier(self.warehouse, "~", most=1)[0]
        assert code == expected_code == night.exit_code, f"night {number}: exit code {code}: {night.error}"
        self.nights.append(night)
        return night

    def usual(self, number: int) -> Night:
        """A night on its own feed, whose tags must be right in the morning."""
        self.feed.write(self.file, number)
        night = self.night(number)
        self.check_tags(number)
        return night

    def current(self, table: str) -> Snapshot:
        """What readers get of a table."""
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
        """Every track of the night's feed has its tag, no other has, and they name the tracks they tag."""
        tags, tracks = self.current("tags"), self.current("tracks")
        assert tags.details["tracks_run"] == tracks.run_id, f"night {number}"
        assert set(self.tags()) == self.ids(number), f"night {number}"

    def ids(self, number: int) -> set[str]:
        """Tracks of a night's feed that are no rejects: those of the current tracks that the feed has."""
        tracks = {row["track_id"] for row in self.rows(self.current("tracks"), "track_id")}
        sent = {rows[0]["track_id"] for rows in self.feed.as_of(number)}
        assert tracks <= sent
        assert len(tracks) > 0.95 * len(sent)
        return tracks

    def killed(self, number: int) -> None:
        """A night that is killed while it scores."""
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
        """Objects that the nights say they have decoded, by fingerprint."""
        found: Counter[str] = Counter()
        for night in self.nights:
            step = night.step("extract")
            for one in step.summary["features"].values() if step and step.state is State.RAN else ():
                found[one["fingerprint"]] += one["decoded"]
        return found


def run(month: Month, say: Callable[[int, Night], None] = lambda number, night: None, first: int = 1) -> None:
    """Thirty nights, or those from `first` on; raises AssertionError at the first thing that is wrong."""
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
        assert causes.keys() <= {"new model", "new features"}
        assert len(changed) == sum(causes.values()), f"night {number}: {len(changed)} changed, told {causes}"
    _check_decoding(month)


def _causes(night: Night) -> dict[str, int]:
    """Why tags have changed, as the night says, and how many of them."""
    published = night.step("publish")
    return dict(published.summary["churn"]["causes"]) if published else {}


def _check_decoding(month: Month) -> None:
    """Each clip was decoded once a fingerprint; what the killed night has done is in no record."""
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
    assert max(Counter(rows).values()) == 2, "a row a fingerprint"


def _cut_short(month: Month, number: int) -> None:
    """A feed that lacks half of the catalog: refused, and nothing has changed."""
    before = (month.current("tracks"), month.current("tags"))
    month.feed.write(month.file, number, share=0.5)
    night = month.night(number, expected_code=2)
    assert "--max-vanished" in night.error
    assert (month.current("tracks"), month.current("tags")) == before


def _drifted(month: Month, number: int) -> None:
    """A feed whose features have moved: its tags are refused, with a page that shows why; twice."""
    before = month.current("tags")
    month.feed.write(month.file, number, change=drifted)
    for _ in range(2):
        night = month.night(number, expected_code=2)
        assert "drift of features" in night.error
        assert month.current("tags") == before
        page = night.step("publish").summary["report"].removeprefix("file://")  # type: ignore[union-attr]
        assert Path(page).read_text().count("loudness = ") == 10
    again = [one.name for one in month.nights[-1].steps if one.state is not State.SKIPPED]
    assert again in (["publish"], ["extract", "publish"])
    month.usual(number)  # the source has mended it


def _killed(month: Month, number: int) -> None:
    """A night that dies half-way, and is started again."""
    before = month.current("tags")
    month.feed.write(month.file, number)
    month.killed(number)
    assert month.current("tags") == before
    month.night(number)
    month.check_tags(number)


def _rolled_back(month: Month, number: int) -> None:
    """Tags that somebody rolls back stay so, until the inputs change."""
    before = month.current("tags")
    month.usual(number)
    where = ["--warehouse", month.warehouse.uri, "--json"]
    assert cli.main(["publish", *where, "--rollback"]) == 0
    assert month.current("tags").run_id == before.run_id
    month.night(number)
    assert cli.main(["score", *where]) == 0
    assert cli.main(["publish", *where]) == 2, "the same tags under another run id"
    month.night(number)
    assert month.current("tags").run_id == before.run_id
