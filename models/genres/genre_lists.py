"""Genres named after a country, and the manual map of genre to group of report A."""

COUNTRY_GENRES = frozenset(
    ("brazil", "british", "french", "german", "indian", "iranian", "malay", "spanish", "swedish", "turkish")
)
"""These genres describe the origin of a track, not its sound. They are those of the Kaggle Spotify table,
without names that also describe a style (k-pop, cantopop, afrobeat)."""

_GENRES_OF = {
    "country": "acoustic country folk guitar honky-tonk sertanejo singer-songwriter songwriter",
    "electronic": "afrobeat ambient breakbeat chicago-house chill deep-house detroit-techno disco"
    " drum-and-bass dub dubstep edm electro electronic hardcore hardstyle house idm minimal-techno"
    " new-age pagode progressive-house techno trance trip-hop",
    "latin": "brazil dancehall latin latino reggae reggaeton salsa samba ska tango",
    "pop": "cantopop indie-pop j-pop k-pop mandopop pop pop-film power-pop synth-pop",
    "rock": "alt-rock emo garage grindcore grunge hard-rock j-rock psych-rock punk punk-rock rock"
    " rock-n-roll rockabilly",
}

REPORT_A_MAP = {genre: group for group, genres in _GENRES_OF.items() for genre in genres.split()}
"""Genre to one of five groups, from the report's notebook. It trains on the five largest groups only: r-n-b,
metal, kids, classical and hip-hop have no group. `latino` is in two of its lists; here it is in latin."""
