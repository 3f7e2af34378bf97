"""Genres named after a country only. They describe the origin of a track, not its sound."""

COUNTRY_GENRES = frozenset(
    ("brazil", "british", "french", "german", "indian", "iranian", "malay", "spanish", "swedish", "turkish")
)
"""From the Kaggle Spotify table, without names that also describe a style (k-pop, cantopop, afrobeat)."""
