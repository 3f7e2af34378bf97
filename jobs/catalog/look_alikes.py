"""The columns whose names say that they may have a role."""

from collections.abc import Callable, Sequence

from genremill.jobs.catalog.column_names import is_duration, is_id, is_popularity, reduced, terms, words

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

_TERMS = {
    "title": ("trackname", "tracktitle", "songname", "songtitle", "recordingname", "recordingtitle"),
    "artists": (
        *("artist", "artiste", "performer", "performed", "singer", "bandname", "interpret", "musician"),
        *("kunstler", "kuenstler", "composer"),
    ),
    "genre": ("genre", "subgenre", "style", "tag"),
}
"""Terms in the names of columns that may have a role, the likeliest first."""
_VAGUE = {"genre": ("label", "class")}
"""Names that may as well mean something else."""
_OTHER_WORDS = frozenset(
    {
        *("id", "ids", "mbid", "uri", "uris", "url", "urls", "href", "link"),
        *("count", "counts", "number", "num", "nb", "n", "is", "has"),
    }
)
"""Words in the names of columns that hold neither names nor labels."""


def look_alikes(role: str, names: Sequence[str], fits: Callable[[str, str], bool]) -> list[str]:
    """The columns whose names say that they may have a role, the likeliest first.

    `fits` says whether the values of a column may have a role; it is only asked where the name is not clear.

    >>> look_alikes("artists", ["artist_id", "album_artist", "Artist", "performer"], lambda role, name: True)
    ['Artist', 'performer', 'album_artist']
    """
    ranks = {name: rank for name in names if (rank := _rank(role, name)) is not None}
    found = [name for name in ranks if is_clear(role, name) or fits(role, name)]
    return sorted(found, key=ranks.__getitem__)


def is_clear(role: str, name: str) -> bool:
    """Whether a name is one that people usually give to the column of a role.

    >>> is_clear("artists", "Artist(s)"), is_clear("artists", "album_artist")
    (True, False)
    """
    is_popular = role == "popularity" and words(name)[:1] in (["pop"], ["popularity"])
    return is_popular or reduced(name) in ALIASES[role]


def _rank(role: str, name: str) -> int | None:
    """How likely a name has a role: 0 is the likeliest; None if the name does not suggest the role."""
    aliases, likely, vague = ALIASES[role], _TERMS.get(role, ()), _VAGUE.get(role, ())
    if (whole := reduced(name)) in aliases:
        return aliases.index(whole)
    if is_clear(role, name) or (role == "duration" and is_duration(name)):
        return len(aliases)
    if whole in vague:
        return len(aliases) + len(likely) + vague.index(whole)
    found = terms(name)
    if role not in _TERMS or not _holds_names(role, name):
        return None
    return next((len(aliases) + place for place, term in enumerate(likely) if term in found), None)


def _holds_names(role: str, name: str) -> bool:
    """Whether no word of a name says that the column holds ids, addresses, counts or a popularity."""
    found = words(name)
    is_genre = role == "artists" and bool({"genre", "subgenre"} & terms(name))
    return not (is_genre or is_id(name) or _OTHER_WORDS & {*found} or any(map(is_popularity, found[-1:])))
