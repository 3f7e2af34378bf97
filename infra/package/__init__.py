"""Spark batch jobs that re-tag large music catalogs with genres, night after night."""

from importlib.metadata import version

__version__ = version("genremill")
