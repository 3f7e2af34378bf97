"""Where the tracks of a catalog come from: a track table, or a folder of audio files."""

from dataclasses import dataclass
from functools import cached_property

from genremill.infra import storage
from genremill.infra.audio.listing import audio_files
from genremill.infra.errors import StorageRefused, UsageError
from genremill.infra.flag_types import OptionalUri
from genremill.infra.storage import Inventory
from genremill.infra.stores.objects import StoredObject
from genremill.jobs.catalog.source_files import source_files
from genremill.udfs.decoding import metadata

TABLE, FOLDER = "--tracks", "--tracks-from-audio"


@dataclass(frozen=True)
class CatalogSource:
    """The flag that names the tracks, and the full URI of the table or folder; as text, both."""

    flag: str
    uri: str

    def __str__(self) -> str:
        return f"{self.flag} {self.uri}"

    @property
    def is_folder(self) -> bool:
        """Whether the tracks are the audio files of a folder."""
        return self.flag == FOLDER

    @cached_property
    def audio_files(self) -> list[StoredObject]:
        """The audio files of the folder at the first call; raises `UsageError` if there are none."""
        try:
            files = audio_files(self.uri)
        except (UsageError, StorageRefused) as err:
            raise type(err)(f"{self.flag}: {err}") from err
        if not files:
            raise UsageError(f"{self}: found no audio files; expected names such as song.mp3")
        return files

    def inventory(self) -> Inventory:
        """Number, size and digest of the files; raises `UsageError` if there are none."""
        if self.is_folder:
            return Inventory.of(self.audio_files)
        try:
            return storage.inventory(self.uri)
        except UsageError as err:
            raise UsageError(f"{self.flag} {err}") from err
        except StorageRefused as err:
            raise UsageError(f"{self.flag}: {err}") from err

    def check(self) -> None:
        """Raises `UsageError` on errors that can be seen without Spark."""
        if self.is_folder:
            metadata.require(self.flag)
            self.inventory()
        else:
            source_files(self.uri)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The flags that name the tracks; exactly one is needed."""

    tracks: OptionalUri = None
    """Path or URI of the track table: CSV, Excel or Parquet."""
    tracks_from_audio: OptionalUri = None
    """Folder or URI prefix of audio files, instead of a track table: one track for each file, with title,
    artists, album, genre, year and ISRC from its tags; needs the extra genremill[tag]."""

    @property
    def source(self) -> CatalogSource:
        """The source that the flags name; raises `UsageError` if they name none or two."""
        named = {TABLE: self.tracks, FOLDER: self.tracks_from_audio}
        sources = [CatalogSource(flag, storage.absolute_uri(uri)) for flag, uri in named.items() if uri]
        if len(sources) != 1:
            found = " and ".join(source.flag for source in sources) or "none of them"
            raise UsageError(f"expected {TABLE} TABLE or {FOLDER} FOLDER, and found {found}")
        return sources[0]
