"""What the name of a column says about its meaning."""

import itertools
import re
import unicodedata

_POPULAR = frozenset(
    {
        *(
            "play",
            "listen",
            "view",
            "pageviews",
            "likes",
            "likecount",
            "dislikes",
            "hit",
            "fan",
            "user",
            "save",
        ),
        *(
            "hotness",
            "familiarity",
            "interest",
            "sale",
            "reach",
            "spin",
            "airplay",
            "shazam",
            "tiktok",
            "posts",
        ),
        *("shares", "sharecount", "comments", "commentcount", "vote", "upvote", "downvote", "rating"),
        *("rank", "ranking", "chart", "peakposition", "peakpos", "weekon", "trackscore"),
        *("trackpop", "songpop", "artistpop", "albumpop", "beliebtheit", "aufrufe"),
    }
)
"""Terms for how much a track is heard or liked on the day when the table is made."""
_POPULAR_PARTS = (
    *("popular", "follower", "listener", "subscriber", "playcount", "playlist", "stream", "scrobble"),
    *("favorit", "favourit", "download", "views", "hotttnes"),
)
"""Parts of words that say the same, also where a name is written without blanks."""
_WORD = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|\d+")
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "milliseconds", "millisecond"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sekunden"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes", "minuten"), "min"),
}
_AROUND_DURATION = frozenset(
    {
        *("track", "song", "audio", "recording", "total", "play", "playing", "run", "in", "of"),
        *("h", "hh", "m", "mm", "s", "min"),
    }
)
_DURATION = _UNITS.keys() - _AROUND_DURATION | {
    *("length", "lengths", "duration", "durations", "time", "playtime", "runtime", "dauer", "lange", "ss"),
}
"""Words that only the name of a duration has. The words in `_AROUND_DURATION` can stand beside them."""


def _without_accents(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def reduced(name: str) -> str:
    """A name without case, accents, blanks and punctuation.

    >>> reduced("Artist(s)"), reduced("Length (Duration)"), reduced("trackName"), reduced("Durée")
    ('artists', 'lengthduration', 'trackname', 'duree')
    """
    return "".join(character for character in _without_accents(name).casefold() if character.isalnum())


def words(name: str) -> list[str]:
    """The words of a name in lower case, without accents.

    >>> words("in_spotifyPlaylists"), words("Beats Per Minute (BPM)"), words("artistIDs")
    (['in', 'spotify', 'playlists'], ['beats', 'per', 'minute', 'bpm'], ['artist', 'ids'])
    """
    return [word.lower() for word in _WORD.findall(_without_accents(name))]


def terms(name: str) -> set[str]:
    """The words of a name, also in the singular, the pairs of neighboring words, and the whole name.

    >>> sorted(terms("Track Names"))
    ['name', 'names', 'track', 'trackname', 'tracknames']
    """
    found = words(name)
    singular = [word.removesuffix("s") for word in found]
    pairs = {first + second for first, second in itertools.pairwise(singular)}
    return {*found, *singular, *pairs, reduced(name)}


def is_popularity(name: str) -> bool:
    """Whether a name says that the column holds how much a track is heard or liked.

    >>> is_popularity("artist_followers"), is_popularity("playCount"), is_popularity("tempo")
    (True, True, False)
    """
    whole = reduced(name)
    is_popular = whole == "pop" or bool(_POPULAR & terms(name))
    return is_popular or any(part in whole for part in _POPULAR_PARTS)


def is_id(name: str) -> bool:
    """Whether a name says that the column holds ids.

    >>> is_id("album_id"), is_id("trackId"), is_id("valid"), is_id("ID")
    (True, True, False, True)
    """
    return words(name)[-1:] in (["id"], ["ids"], ["uuid"], ["guid"], ["isrc"], ["upc"], ["ean"], ["barcode"])


def is_duration(name: str) -> bool:
    """Whether a name has only words that the name of a duration has.

    >>> is_duration("Length (mm:ss)"), is_duration("total seconds"), is_duration("time_signature")
    (True, True, False)
    """
    found = {*words(name)}
    return bool(found & _DURATION) and found <= _DURATION | _AROUND_DURATION


def unit_of_time(name: str) -> str | None:
    """The unit that the name of a duration states: ms, s or min.

    >>> unit_of_time("duration_ms"), unit_of_time("Length (sec)"), unit_of_time("length")
    ('ms', 's', None)
    """
    return next((_UNITS[word] for word in reversed(words(name)) if word in _UNITS), None)
