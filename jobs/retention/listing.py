"""All files of a warehouse, and which of its jobs are running."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from genremill.infra import background, lease, storage
from genremill.infra.run_ids import RUN_ID
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
    def of(cls, warehouse: Warehouse, min_age_hours: float, now_s: float) -> "Listing":
        """The present contents of a warehouse; `now_s` is the time of the clock of its storage."""
        uploads = storage.uploads(warehouse.uri)  # first: an upload that ends now is among the objects then
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
    def modified_s(self) -> dict[str, float]:
        """When each object was written, by its name."""
        return {stored.name: stored.modified_s for stored in self.objects}

    @cached_property
    def running(self) -> set[str]:
        """Ids of the runs whose heartbeat is recent, or which hold a lease."""
        beats = [beat for beat in self.objects if re.fullmatch(f"_tmp/[^/]+/{background.ALIVE}", beat.name)]
        beating = {beat.name.split("/")[1] for beat in beats if self._is_recent(beat)}
        return beating | set(self.leases.values())

    @cached_property
    def leases(self) -> dict[str, str]:
        """Run id of the holder by name of the lease, for leases whose holder is alive."""
        found = [stored for stored in self.objects if stored.name.endswith(lease.SUFFIX)]
        holders = {stored: lease.holder_of(self.warehouse.path(stored.name)) for stored in found}
        return {
            stored.name: holder.run_id
            for stored, holder in holders.items()
            if holder and (self._is_recent(stored) if holder.is_alive is None else holder.is_alive)
        }

    def _is_recent(self, sign: StoredObject) -> bool:
        """Whether a job has written a sign of life in the last minutes."""
        return sign.modified_s > self.now_s - background.ALIVE_S

    def is_idle(self, path: str, modified_s: Iterable[float]) -> bool:
        """Whether everything under a path is old, and the path does not belong to a running job."""
        is_old = max(modified_s, default=0.0) < self.before_s
        is_held = any(name.startswith(f"{path}/") for name in self.leases)
        return is_old and not is_held and not self.running & set(RUN_ID.findall(path))

    def idle(self, folders: dict[str, list[StoredObject]]) -> dict[str, list[StoredObject]]:
        """The folders that no running job writes to and that are old enough."""
        return {
            path: objects
            for path, objects in folders.items()
            if self.is_idle(path, [stored.modified_s for stored in objects])
        }
