"""The demo catalog: seeded rows that are statistically like a real track table."""

import numpy as np

from genremill.jobs.synthetic.clips import clip_name

GENRES = (
    *("ambient", "black-metal", "bluegrass", "blues", "classical", "country", "death-metal", "deep-house"),
    *("drum-and-bass", "dubstep", "folk", "funk", "gospel", "grunge", "hard-rock", "hip-hop", "house"),
    *("indie", "jazz", "k-pop", "opera", "piano", "pop", "punk", "reggae", "rock", "salsa", "samba"),
    *("soul", "techno"),
)
HEADER = (
    *("track_id", "artists", "album_name", "track_name", "popularity", "duration_ms", "explicit"),
    *("danceability", "energy", "key", "loudness", "mode", "speechiness", "acousticness"),
    *("instrumentalness", "liveness", "valence", "tempo", "time_signature", "track_genre", "audio_uri"),
)
TRAITS = 10
"""Hidden traits that a genre, an artist and a track share; the audio features are computed from them."""
WORDS = (
    *("amber", "blue", "borrowed", "broken", "city", "cold", "dancing", "dust", "echo", "electric"),
    *("evening", "fire", "ghost", "golden", "harbour", "heart", "hollow", "house", "iron", "letters"),
    *("light", "lonely", "midnight", "mirror", "moon", "morning", "neon", "northern", "ocean", "paper"),
    *("rain", "red", "river", "road", "salt", "silver", "sleep", "slow", "small", "snow", "stone", "storm"),
    *("summer", "velvet", "wild"),
)


def rows(count: int, clips: int, seed: int) -> tuple[list[list[object]], list[int]]:
    """The rows of the catalog, in the order of `HEADER`, and the genres of the clips that they refer to."""
    rng = np.random.default_rng(seed)
    # Genres form six families, which `cluster` can find.
    families = 1.6 * rng.normal(size=(6, TRAITS))
    centers = [families[genre % 6] + 0.8 * rng.normal(size=TRAITS) for genre in range(len(GENRES))]
    artists = _artists(rng, max(count // 8, 2))
    table: list[list[object]] = []
    genres_of_clips: list[int] = []
    for number in range(count):
        name, style, home = artists[int(rng.integers(len(artists)))]
        genre = home if rng.random() < 0.85 else int(rng.integers(len(GENRES)))
        traits = centers[genre] + style + 0.55 * rng.normal(size=TRAITS)
        track: list[object] = [_track_id(rng)]
        guest = f";{artists[int(rng.integers(len(artists)))][0]}" if rng.random() < 0.15 else ""
        title = _title(rng) + (' - "Live"' if rng.random() < 0.03 else "")
        track += [name + guest, _title(rng), title, *_features(rng, traits, genre)]
        labels = _labels(rng, centers, genre)
        audio = ""
        if number * clips // count < (number + 1) * clips // count:  # clips are spread evenly
            audio = clip_name(len(genres_of_clips))
            genres_of_clips.append(genre)
        table += [[*track, label, audio] for label in labels]
        if rng.random() < 0.08:  # a re-release differs in id, album and popularity
            copy = [_track_id(rng), track[1], _title(rng), track[3], int(rng.integers(60)), *track[5:]]
            table.append([*copy, labels[0], audio])
        if number % 400 == 399:
            table.append(_bad_row(rng, [*track, labels[0], ""]))
    return [table[position] for position in rng.permutation(len(table))], genres_of_clips


def _artists(rng: np.random.Generator, count: int) -> list[tuple[str, np.ndarray, int]]:
    """Name, style and genre of each artist."""
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
    return "".join(letters[number] for number in rng.integers(len(letters), size=22))


def _labels(rng: np.random.Generator, centers: list[np.ndarray], genre: int) -> list[str]:
    """The genre of a track, sometimes with genres that are near it; some tracks have no label."""
    if rng.random() < 0.05:
        return [""]
    near = np.argsort([float(np.sum((centers[genre] - other) ** 2)) for other in centers])
    extra = int(rng.choice(4, p=(0.82, 0.12, 0.04, 0.02)))
    return [GENRES[int(number)] for number in near[: 1 + extra]]


def _features(rng: np.random.Generator, traits: np.ndarray, genre: int) -> list[object]:
    share = 1 / (1 + np.exp(-traits))
    return [
        int(np.clip(rng.normal(20 + genre, 15), 0, 100)),
        int(np.clip(np.exp(12.3 + 0.25 * traits[0] + 0.15 * rng.normal()), 30_000, 3_600_000)),
        str(bool(rng.random() < share[1] * 0.4)),
        *(round(float(share[number]), 3) for number in (2, 3)),
        int(rng.integers(12)),
        round(float(-3 - 14 * (1 - share[3]) + rng.normal()), 3),
        int(rng.random() < 0.35 + 0.4 * share[4]),
        *(round(float(share[number] ** 3), 4) for number in (5, 4)),
        round(float(max(share[6] ** 4 - 0.05, 0)), 6),
        *(round(float(share[number]), 3) for number in (7, 8)),
        round(float(60 + 120 * share[9] + 8 * rng.normal()), 3),
        int(rng.choice((1, 3, 4, 5), p=(0.01, 0.08, 0.89, 0.02))),
    ]


def _bad_row(rng: np.random.Generator, row: list[object]) -> list[object]:
    """A copy of a row with one of five errors that are common in real tables."""
    bad: list[object] = [_track_id(rng), *row[1:]]
    kind = int(rng.integers(5))
    if kind == 4:
        return bad[:-3]
    column, value = ((0, ""), (5, 0), (10, "loud"), (17, "NaN"))[kind]
    return [*bad[:column], value, *bad[column + 1 :]]
