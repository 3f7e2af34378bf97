"""What the names of columns say: roles, popularity, and numbers that are codes."""

from typing import Any

import pyarrow as pa
import pytest

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.proposal import guesses
from genremill.jobs.catalog.role_values import fits
from tests.pure.table_cases import Read, sample_of

VALUES = {"artists": ["Ada", "Bo"], "genre": ["rock", "pop"], "title": ["A", "B"], "duration": [201, 315]}
TEMPO = [90.5, 91.5, 90.25]


@pytest.mark.parametrize(
    ("role", "names"),
    [
        (
            "artists",
            "Künstler|Kunstler|Interprète|Intérprete|INTERPRÈTE|Performed By|Singers|Band Name|album_artist|"
            "composer|artist_1|performer_name|artists_list|artist/band|main artist(s)|AlbumArtists|Artista",
        ),
        (
            "genre",
            "Género|style|class|tags|subgenre|Genre 1|genre_list|parent_genre|genre_name|label|"
            "Music Style(s)|artist_genres|playlist_subgenre",
        ),
        ("title", "Título|Canción|Track Names|Spotify Track Name|song_title_clean|TITULO"),
        (
            "duration",
            "Duration (mins)|Durée|Time|seconds|ms|Length (mm:ss)|Länge|track time|Total Seconds|Duración",
        ),
    ],
)
def test_a_column_whose_words_name_a_role_is_refused(role: str, names: str) -> None:
    for name in names.split("|"):
        with pytest.raises(UsageError) as refused:
            Read({name: VALUES[role], "tempo": TEMPO})
        assert f"--columns.{role} {name!r}".replace("'", "") in str(refused.value).replace("'", "")


@pytest.mark.parametrize("name", ["Durée", "Time", "Länge (mm:ss)"])
def test_a_duration_may_be_written_with_colons(name: str) -> None:
    with pytest.raises(UsageError, match=r"--columns\.duration"):
        Read({name: ["3:45", "2:10"]})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("time_signature", [3, 4]),
        ("time", ["2026-11-27 08:15:00", "2026-11-28 09:30:00"]),
        ("Time", [1_700_000_000, 1_700_000_100]),
        ("start_time", [1.5, 2.5]),
        ("min", [0.5, 0.25]),
        ("artist_popularity", [5, 10]),
        ("artist_followers", ["5", "10"]),
        ("artist_hotttnesss", [0.5, 0.25]),
        ("artist_uri", ["spotify:artist:1", "spotify:artist:2"]),
        ("artistIDs", ["a", "b"]),
        ("Artist ID(s)", ["a", "b"]),
        ("artist_count", [1, 2]),
        ("n_artists", [1, 2]),
        ("num_singers", [1, 2]),
        ("is_solo_artist", [True, False]),
        ("mel_band_1", [0.5, 0.25]),
        ("genre_rock", [0, 1]),
        ("style_energy", [0.5, 0.25, 0.125]),
        ("genre_id", ["a", "b"]),
        ("record_label", ["x", "y"]),
        ("Album Title Length", [3, 4]),
        ("artisanal", ["a", "b"]),
        ("歌手", ["a", "b"]),
        ("%", ["a", "b"]),
    ],
)
def test_a_column_whose_words_only_look_like_a_role_is_not_refused(name: str, values: Any) -> None:
    Read({name: values, "tempo": TEMPO})


def test_a_table_with_the_default_column_is_not_asked() -> None:
    table = {"artists": ["Ada"], "album_artist": ["Bo"], "track_genre": ["pop"], "style": ["x"], "Time": [1]}
    assert Read(table | {"duration_ms": [200_000, 210_000]}).columns["artists"] == [["Ada"], ["Ada"]]


@pytest.mark.parametrize(
    ("columns", "role", "expected"),
    [
        (["album_artist", "Artist"], "artists", "Artist"),
        (["composer", "album_artist"], "artists", "album_artist"),
        (["label", "genre_name", "Top Genre"], "genre", "Top Genre"),
        (["label", "genre_name"], "genre", "genre_name"),
        (["Spotify Track Name", "Título"], "title", "Título"),
    ],
)
def test_a_usual_name_is_likelier_than_one_that_only_has_the_word(
    columns: list[str], role: str, expected: str
) -> None:
    table = {"track_id": ["a", "b", "c"]} | {name: ["x", "y", "z"] for name in columns}
    guess = next(guess for guess in guesses(sample_of(table)) if guess.role == role)
    assert guess.column == expected
    with pytest.raises(UsageError, match=f"'{expected}'.* may be the {role}"):
        Read(table)


def test_a_name_that_only_has_the_word_is_to_be_checked() -> None:
    def is_certain(*names: str) -> bool:
        found = guesses(sample_of({name: ["a", "b"] for name in names}))
        return next(guess.is_certain for guess in found if guess.role == "artists")

    assert not is_certain("album_artist", "Titre")
    assert is_certain("Interprète", "album_artist", "artist_location")
    assert not is_certain("Interprète", "performer")


@pytest.mark.parametrize(
    ("role", "values", "expected"),
    [
        ("genre", [0, 1, 2, 1], True),
        ("genre", ["0", "1", "1"], False),
        ("artists", ["311", "Ada", "Bo"], True),
        ("artists", pa.array([["Ada"], ["Bo"]]), True),
        ("artists", pa.array([None, None], pa.string()), True),
        ("duration", pa.array([None, None], pa.string()), False),
        ("duration", ["3:45", "?", "2:10"], True),
        ("duration", pa.array([["Ada"], ["Bo"]]), False),
    ],
)
def test_values_that_fit_a_role(role: str, values: Any, expected: bool) -> None:
    assert fits(sample_of({"x": values}), role, "x") is expected


@pytest.mark.parametrize(
    "names",
    [
        "Shazam Counts|Spotify Playlist Count|Spotify Playlist Reach|SiriusXM Spins|TikTok Posts|Track Score",
        "hits|rating|votes|chart_position|peak_position|weeks_on_board|fans|nb_fan|subscribers|like_count",
        "listener_count|download_count|favorite_count|scrobble_count|playlist_count|upvotes|saves|spins|users",
        "song_pop|artist_pop|view|nstreams|youtubeviews|followerscount|artistpopularity|AirPlay Spins",
        "popularité|Popularität|Beliebtheit|Aufrufe|popolare_hits|Ratings|fan_count|Vote Counts",
        "monthlyListeners|artist_hotttnesss|play count|Rank|in_apple_charts|commentCount",
    ],
)
def test_a_name_for_how_much_a_track_is_heard_is_no_feature(names: str) -> None:
    for name in names.split("|"):
        table = Read({"tempo": TEMPO, name: [5, 10, 5, 10]})
        assert table.features == ["tempo"], name
        assert table.reason(name).startswith("popularity"), name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "liveness",
            "valence",
            "spectral_centroid",
            "key",
            "danceability",
            "popcorn",
            "score_mean",
            "peak_db",
        ),
        *("spectral_peak_mean", "indie_pop", "synth-pop", "post_rock", "beats_count", "count", "weeks"),
        *("display", "uncharted", "chroma_share"),
    ],
)
def test_a_name_of_a_measurement_is_a_feature(name: str) -> None:
    assert name in Read({"tempo": TEMPO, name: [0.5, 0.25, 0.5]}).features


def test_popularity_alone_is_still_asked_for() -> None:
    with pytest.raises(UsageError, match=r"--columns\.popularity pop"):
        Read({"pop": [0, 1]})


@pytest.mark.parametrize("name", ["Key", "KEY", "Time Signature", "timeSignature", "key"])
def test_codes_are_found_whatever_the_case_and_the_punctuation(name: str) -> None:
    understood = Read({"tempo": TEMPO, name: [0, 4, 4]}).understood
    (use,) = (use for use in understood.uses if use.column == name)
    assert (use.uses, understood.feature(name, 0).kind) == (("one-hot feature",), "categorical")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("keyboard", Columns()),
        ("time", Columns(duration="none")),
        ("Key", Columns(categorical=("tempo",))),
        ("signature", Columns()),
    ],
)
def test_other_numbers_are_no_codes(name: str, flags: Columns) -> None:
    understood = Read({"tempo": TEMPO, name: [0, 4, 4]}, flags).understood
    assert understood.feature(name, 0).kind == "numeric"


@pytest.mark.parametrize(
    "values", [["", " "], ["nan", "?"], pa.array([None], pa.float64()), pa.array([None], pa.bool_())]
)
def test_a_column_without_values_is_said_to_have_none(values: Any) -> None:
    table = Read({"tempo": TEMPO, "x": values})
    (use,) = (use for use in table.understood.uses if use.column == "x")
    assert (use.uses, use.reason) == (("ignored",), "no values in the first rows")
    assert (use.parsed, use.missing) == (None, 1)
    assert table.features == ["tempo", "x"], "later rows may have values"


def test_a_column_with_one_value_has_values() -> None:
    table = Read({"tempo": TEMPO, "x": ["", "1.5", ""], "duration_ms": ["", "", ""]})
    uses = {use.column: use for use in table.understood.uses}
    assert (uses["x"].uses, uses["x"].parsed) == (("numeric feature",), 1)
    assert uses["duration_ms"].uses == ("duration", "numeric feature")
    assert uses["duration_ms"].parsed is None
