"""Makes a small catalog to try genremill on: seeded, and statistically like a real track table.

Artists with a style of their own, tracks under several genres, re-releases under another id, tracks without
a label, and a few rows that no careful job would take. Some tracks have a short clip of audio.

    genremill demo --out build/demo/tracks.csv
"""

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genremill.infra import storage
from genremill.infra.flag_types import Uri
from genremill.jobs import command
from genremill.jobs.synthetic import SYNTHETIC_COLUMN
from genremill.jobs.synthetic.clips import clip_name, write_clip

GENRES = (
    *("ambient", "black-metal", "bluegrass", "blues", "classical", "country", "death-metal", "deep-house"),
    *(
        "drum-and-bass",
        "dubstep",
        "folk",
        "funk",
        "gospel",
        "grunge",
        "hard-rock",
        "hip-hop",
        "house",
        "indie",
    ),
    *("jazz", "k-pop", "opera", "piano", "pop", "punk", "reggae", "rock", "salsa", "samba", "soul", "techno"),
)
HEADER = (
    *("track_id", "artists", "album_name", "track_name", "popularity", "duration_ms", "explicit"),
    *("danceability", "energy", "key", "loudness", "mode", "speechiness", "acousticness", "instrumentalness"),
    *("liveness", "valence", "tempo", "time_signature", "track_genre", "audio_uri"),
)
TRAITS = 10
"""Hidden traits that a genre, an artist and a track share; the audio features are read off them."""
WORDS = (
    *(
        "amber",
        "blue",
        "borrowed",
        "broken",
        "city",
        "cold",
        "dancing",
        "dust",
        "echo",
        "electric",
        "evening",
    ),
    *("fire", "ghost", "golden", "harbour", "heart", "hollow", "house", "iron", "letters", "light", "lonely"),
    *("midnight", "mirror", "moon", "morning", "neon", "northern", "ocean", "paper", "rain", "red", "river"),
    *(
        "road",
        "salt",
        "silver",
        "sleep",
        "slow",
        "small",
        "snow",
        "stone",
        "storm",
        "summer",
        "velvet",
        "wild",
    ),
)


@dataclass(frozen=True)
class Options:
    """Where the catalog is written, and how large it is."""

    out: Uri
    """CSV file to write."""
    tracks: int = 6000
    """Number of recordings; re-releases and bad rows are added to them."""
    clips: int = 240
    """Number of recordings with a clip of audio, in the folder `clips` beside the CSV file."""
    seed: int = 0
    """Random seed of the catalog."""


@dataclass(frozen=True)
class Clip:
    """A clip that a track of the catalog names."""

    number: int
    genre: int


def rows(count: int, clips: int, seed: int) -> tuple[list[list[object]], list[Clip]]:
    """The catalog's rows, in `HEADER`'s order, and the clips they name."""
    rng = np.random.default_rng(seed)
    centres = _genre_centres(rng)
    artists = _artists(rng, max(count // 8, 2))
    found: list[list[object]] = []
    made: list[Clip] = []
    for number in range(count):
        name, style, home = artists[int(rng.integers(len(artists)))]
        genre = home if rng.random() < 0.85 else int(rng.integers(len(GENRES)))
        traits = centres[genre] + style + 0.55 * rng.normal(size=TRAITS)
        track = [_track_id(rng), *_names(rng, name, artists), *_features(rng, traits, genre)]
        labels = _labels(rng, centres, genre)
        audio = ""
        if number * clips // count < (number + 1) * clips // count:  # evenly over the catalog
            made.append(Clip(len(made), genre))
            audio = clip_name(made[-1].number)
        found += [[*track, label, audio] for label in labels]
        if rng.random() < 0.08:  # a re-release: another id, album and popularity, the same sound
            copy = [_track_id(rng), track[1], _title(rng), track[3], int(rng.integers(60)), *track[5:]]
            found.append([*copy, labels[0], audio])
        if number % 400 == 399:
            found.append(_bad_row(rng, [*track, labels[0], ""]))
    return [found[at] for at in rng.permutation(len(found))], made


def _genre_centres(rng: np.random.Generator) -> list[np.ndarray]:
    """Genres in six families, so that clusters are there to be found."""
    families = 1.6 * rng.normal(size=(6, TRAITS))
    return [families[at % 6] + 0.8 * rng.normal(size=TRAITS) for at in range(len(GENRES))]


def _artists(rng: np.random.Generator, count: int) -> list[tuple[str, np.ndarray, int]]:
    names = {
        f"The {_word(rng)} {_word(rng)}s" if rng.random() < 0.4 else f"{_word(rng)} {_word(rng)}"
        for _ in range(2 * count)
    }
    return [
        (name, 0.5 * rng.normal(size=TRAITS), int(rng.integers(len(GENRES))))
        for name in sorted(names)[:count]
    ]


def _word(rng: np.random.Generator) -> str:
    return WORDS[int(rng.integers(len(WORDS)))].capitalize()


def _title(rng: np.random.Generator) -> str:
    return " ".join(_word(rng) for _ in range(int(rng.integers(1, 4))))


def _track_id(rng: np.random.Generator) -> str:
    letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return "".join(letters[at] for at in rng.integers(len(letters), size=22))


def _names(
    rng: np.random.Generator, name: str, artists: list[tuple[str, np.ndarray, int]]
) -> tuple[str, str, str]:
    guest = f";{artists[int(rng.integers(len(artists)))][0]}" if rng.random() < 0.15 else ""
    title = _title(rng) + (' - "Live"' if rng.random() < 0.03 else "")
    return name + guest, _title(rng), title


def _labels(rng: np.random.Generator, centres: list[np.ndarray], genre: int) -> list[str]:
    """Its genre, now and then its neighbours too, and for some tracks none at all."""
    if rng.random() < 0.05:
        return [""]
    near = np.argsort([float(np.sum((centres[genre] - other) ** 2)) for other in centres])
    extra = int(rng.choice(4, p=(0.82, 0.12, 0.04, 0.02)))
    return [GENRES[int(at)] for at in near[: 1 + extra]]


def _features(rng: np.random.Generator, traits: np.ndarray, genre: int) -> list[object]:
    share = 1 / (1 + np.exp(-traits))
    return [
        int(np.clip(rng.normal(20 + genre, 15), 0, 100)),
        int(np.clip(np.exp(12.3 + 0.25 * traits[0] + 0.15 * rng.normal()), 30_000, 3_600_000)),
        str(bool(rng.random() < share[1] * 0.4)),
        *(round(float(share[at]), 3) for at in (2, 3)),
        int(rng.integers(12)),
        round(float(-3 - 14 * (1 - share[3]) + rng.normal()), 3),
        int(rng.random() < 0.35 + 0.4 * share[4]),
        *(round(float(share[at] ** 3), 4) for at in (5, 4)),
        round(float(max(share[6] ** 4 - 0.05, 0)), 6),
        *(round(float(share[at]), 3) for at in (7, 8)),
        round(float(60 + 120 * share[9] + 8 * rng.normal()), 3),
        int(rng.choice((1, 3, 4, 5), p=(0.01, 0.08, 0.89, 0.02))),
    ]


def _bad_row(rng: np.random.Generator, row: list[object]) -> list[object]:
    """A copy of a row, spoiled in one of the ways that feeds are."""
    bad = list(row)
    bad[0] = _track_id(rng)
    kind = int(rng.integers(5))
    if kind == 4:
        return bad[:-3]
    column, value = ((0, ""), (5, 0), (10, "loud"), (17, "NaN"))[kind]
    bad[column] = value
    return bad


def write(common: command.NoFlags, options: Options) -> command.Outcome:
    """Writes the catalog."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*HEADER, SYNTHETIC_COLUMN])
    found, clips = rows(options.tracks, min(options.clips, options.tracks), options.seed)
    writer.writerows([*row, "yes"] for row in found)
    out = storage.absolute_uri(options.out)
    for one in clips:
        write_clip(out.rpartition("/")[0], one.number, one.genre, len(GENRES), options.seed)
    storage.write_atomic(out, text.getvalue().encode())
    return command.Outcome({})


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    return command.plain_main("demo", __doc__, Options, write, argv, command.NoFlags)


if __name__ == "__main__":
    sys.exit(main())
