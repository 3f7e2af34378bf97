"""What a study reads, and the results that it has already."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from genremill.jobs.studies.grid import Cell, CellResult, recorded
from genremill.jobs.studies.settings import Config
from genremill.jobs.training.sources import TrainingInputs


@dataclass(frozen=True)
class StudyInputs:
    """What a study reads, and its settings."""

    settings: Config
    training: TrainingInputs
    code: str
    """Digest of the training code."""

    @property
    def made_from(self) -> dict[str, str]:
        """The record of what the result of a cell depends on, in addition to the cell itself."""
        shared = dataclasses.replace(self.training.settings, resume=True)
        return dataclasses.replace(self.training, settings=shared).made_from | {"code": self.code}

    @property
    def folder(self) -> str:
        """The folder of the study: studies with equal inputs share their results."""
        record = json.dumps(self.made_from, sort_keys=True).encode()
        return self.training.warehouse.path("studies", hashlib.sha256(record).hexdigest()[:20])

    def known_and_missing(self) -> tuple[dict[Cell, CellResult], list[Cell]]:
        """The results of the cells that were trained before, and the cells that have to be trained."""
        cells = self.settings.cells
        known = recorded(self.folder, cells) if self.settings.train.resume else {}
        return known, [cell for cell in cells if cell not in known]
