"""What the name of a column says about its meaning."""

import itertools
import re
from collections.abc import Sequence

ALIASES = {
    "id": (
        *(
            "trackid",
            "songid",
            "spotifyid",
            "recordingid",
            "trackuri",
            "spotifytrackuri",
            "spotifyuri",
            "uri",
        ),
        *("id", "uuid", "guid", "isrc", "mbid", "trackmbid", "spotifytrackid", "idtrack", "trackkey"),
    ),
    "title": (
        *(
            "trackname",
            "tracktitle",
            "songname",
            "songtitle",
            "title",
            "track",
            "song",
            "name",
            "titel",
            "titre",
        ),
        *("titulo", "cancion", "recordingtitle", "recordingname"),
    ),
    "album": (
        *("albumname", "albumtitle", "trackalbumname", "album", "release", "releasename", "releasetitle"),
        "spotifyalbumname",
    ),
    "artists": (
        *("artists", "artistnames", "artistname", "trackartists", "trackartist", "artist", "artistsname"),
        *(
            "allartists",
            "performers",
            "performer",
            "interpret",
            "interpreten",
            "interprete",
            "singer",
            "band",
        ),
        *("artista", "artistas", "musician", "songartist", "maincredit", "primaryartist", "mainartist"),
    ),
    "genre": (
        *("trackgenre", "genre", "genres", "topgenre", "genretop", "musicgenre", "maingenre", "primarygenre"),
        *("trackgenres", "songgenre", "playlistgenre", "artistgenres", "artistgenre", "genero", "stil"),
    ),
    "popularity": (
        *("trackpopularity", "popularity", "songpopularity", "trackpop", "pop", "spotifypopularity"),
        *("popularityscore", "spotifytrackpopularity"),
    ),
    "duration": (
        *("durationms", "trackdurationms", "duration", "trackduration", "lengthduration", "length"),
        *("tracklength", "songlength", "songdurationms", "songduration", "durations", "durationsec"),
        *("durationseconds", "durationinms", "durationmin", "durationminutes", "lengthms", "lengths"),
        *("lengthsec", "lengthseconds", "playtime", "runtime", "dauer", "laenge", "duree", "duracion"),
    ),
    "audio_uri": (
        *(
            "audiouri",
            "audiopath",
            "audiofile",
            "audiofilepath",
            "audiourl",
            "audiofilename",
            "audiolocation",
        ),
        "pathtoaudio",
    ),
}
"""Names that people give to the column of a role, reduced as by `reduced`, the likeliest first."""

_POPULAR = frozenset(
    {
        *("popularity", "popular", "followers", "follower", "plays", "play", "playcount", "playcounts"),
        *("streams", "stream", "streamcount", "listeners", "listens", "listen", "views", "viewcount"),
        *(
            "likes",
            "dislikes",
            "scrobbles",
            "hotttnesss",
            "hotness",
            "familiarity",
            "favorites",
            "favourites",
        ),
        *("charts", "playlists", "downloads", "shares", "comments", "interest", "sales", "pageviews"),
        *("rank", "ranking"),
    }
)
"""Words for how much a track is heard or liked on the day when the table is made."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "milliseconds", "millisecond"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sekunden"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuten"), "min"),
}


def reduced(name: str) -> str:
    """A name without case, blanks and punctuation.

    >>> reduced("Artist(s)"), reduced("Length (Duration)"), reduced("trackName")
    ('artists', 'lengthduration', 'trackname')
    """
    return "".join(character for character in name.casefold() if character.isalnum())


def words(name: str) -> list[str]:
    """The words of a name in lower case.

    >>> words("in_spotifyPlaylists"), words("Beats Per Minute (BPM)")
    (['in', 'spotify', 'playlists'], ['beats', 'per', 'minute', 'bpm'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def look_alikes(role: str, names: Sequence[str]) -> list[str]:
    """The columns whose names say that they may have a role, the likeliest first.

    >>> look_alikes("artists", ["artist_id", "Artist", "performer"])
    ['Artist', 'performer']
    """
    order = {alias: position for position, alias in enumerate(ALIASES[role])}
    found = [name for name in names if reduced(name) in order]
    if role == "popularity":
        found += [
            name for name in names if name not in found and words(name)[:1] in (["pop"], ["popularity"])
        ]
    return sorted(found, key=lambda name: order.get(reduced(name), len(order)))


def is_popularity(name: str) -> bool:
    """Whether a name says that the column holds how much a track is heard or liked.

    >>> is_popularity("artist_followers"), is_popularity("playCount"), is_popularity("tempo")
    (True, True, False)
    """
    found = words(name)
    pairs = {first + second for first, second in itertools.pairwise(found)}
    return bool(_POPULAR & {*found, *pairs}) or found == ["pop"]


def is_id(name: str) -> bool:
    """Whether a name says that the column holds ids.

    >>> is_id("album_id"), is_id("trackId"), is_id("valid"), is_id("ID")
    (True, True, False, True)
    """
    return words(name)[-1:] in (["id"], ["ids"], ["uuid"], ["guid"], ["isrc"], ["upc"], ["ean"], ["barcode"])


def unit_of_time(name: str) -> str | None:
    """The unit that the name of a duration states: ms, s or min.

    >>> unit_of_time("duration_ms"), unit_of_time("Length (sec)"), unit_of_time("length")
    ('ms', 's', None)
    """
    return next((_UNITS[word] for word in reversed(words(name)) if word in _UNITS), None)
