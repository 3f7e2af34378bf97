"""The demo catalog and its clips of audio."""

SYNTHETIC_COLUMN = "synthetic_catalog"
"""A column of this name marks a track table as made up: `ingest` records that, and pages say so."""
