"""All files of a warehouse, and which of its jobs are running."""

import re
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from genremill.infra import background, storage
from genremill.infra.stores.objects import StoredObject, Upload
from genremill.infra.warehouse import Warehouse


@dataclass(frozen=True)
class Listing:
    """The objects and uploads of a warehouse at one time; what was written after `before_s` is kept."""

    warehouse: Warehouse
    objects: tuple[StoredObject, ...]
    uploads: tuple[Upload, ...]
    now_s: float
    before_s: float

    @classmethod
    def of(cls, warehouse: Warehouse, min_age_hours: float) -> "Listing":
        """The present contents of a warehouse."""
        uploads = storage.uploads(warehouse.uri)  # first: an upload that ends now is among the objects then
        now_s = time.time()
        objects = tuple(storage.objects(warehouse.uri))
        return cls(warehouse, objects, tuple(uploads), now_s, now_s - min_age_hours * 3600)

    def folders(self, *levels: str) -> dict[str, list[StoredObject]]:
        """Objects by folder, for folders whose path matches: one regular expression for each level."""
        pattern = re.compile("/".join(f"({level})" for level in levels) + "/")
        folders = defaultdict(list)
        for stored in self.objects:
            if match := pattern.match(stored.name):
                folders[match[0].removesuffix("/")].append(stored)
        return dict(folders)

    @cached_property
    def running(self) -> set[str]:
        """Ids of the runs whose heartbeat is recent."""
        alive_s = self.now_s - background.ALIVE_S
        beats = [beat for beat in self.objects if re.fullmatch(f"_tmp/[^/]+/{background.ALIVE}", beat.name)]
        return {beat.name.split("/")[1] for beat in beats if beat.modified_s > alive_s}

    def is_idle(self, path: str, modified_s: Iterable[float]) -> bool:
        """Whether everything under a path is old, and the path does not name a running job."""
        is_old = max(modified_s, default=0.0) < self.before_s
        return is_old and not self.running & set(re.findall(r"\d{8}T\d{6}-[0-9a-f]{6}", path))

    def idle(self, folders: dict[str, list[StoredObject]]) -> dict[str, list[StoredObject]]:
        """The folders that no running job writes to and that are old enough."""
        return {
            path: objects
            for path, objects in folders.items()
            if self.is_idle(path, [stored.modified_s for stored in objects])
        }
