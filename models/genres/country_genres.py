"""Genres that are named after a country, and after no style: where a track is from, not how it sounds."""

COUNTRY_GENRES = frozenset(
    ("brazil", "british", "french", "german", "indian", "iranian", "malay", "spanish", "swedish", "turkish")
)
"""Those of the Kaggle Spotify table; names that say a style too (k-pop, cantopop, afrobeat) are left out."""
