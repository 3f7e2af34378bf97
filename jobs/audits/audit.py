"""An audit measures staged tags and has a limit; tags over a limit do not become current."""

import enum
import math
from dataclasses import asdict, dataclass
from typing import Any

from genremill.infra.errors import UsageError


class Verdict(enum.StrEnum):
    """The result of an audit."""

    PASSED = "passed"
    FLAGGED = "flagged"  # over its limit, but this audit does not block publication
    REFUSED = "refused"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Audit:
    """One audit. Smaller values are better."""

    name: str
    value: float | None
    """None if it could not be measured; `note` says why."""
    limit: float
    refuses: bool = True
    """Whether a value over the limit blocks publication, or is only reported."""
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit, or could not be measured."""
        return self.value is None or self.value <= self.limit

    @property
    def verdict(self) -> Verdict:
        """The result."""
        if self.value is None:
            return Verdict.NOT_MEASURED
        if self.passed:
            return Verdict.PASSED
        return Verdict.REFUSED if self.refuses else Verdict.FLAGGED

    def as_json(self) -> dict[str, Any]:
        """The audit in the summary of `publish`."""
        return asdict(self) | {"verdict": self.verdict.value}

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.4g} (limit {self.limit:.4g})"
        return f"{self.name} {value}" + (f": {self.note}" if self.note else "")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one publication may change."""

    max_churn: float = 0.3
    """Largest share of tracks whose tag may change when model, features and genre map are the same."""
    max_churn_new: float = 0.75
    """Largest share of tracks whose tag may change when the model, the features or the genre map are
    new."""
    max_drift: float = 0.25
    """Largest population stability index of a feature, compared with the tracks of the current tags."""
    max_class_shift: float = 0.25
    """Largest population stability index of the predicted labels, compared with the current tags."""
    max_untagged_rise: float = 0.1
    """Largest rise of the share of tracks without a tag."""
    max_loss: float = 0.025
    """Largest any-label accuracy that a new model may lose on held-out artists, at the 95 % bound."""

    def check(self) -> None:
        """Raises if a limit is out of range."""
        for flag in ("max_churn", "max_churn_new", "max_untagged_rise", "max_loss"):
            if not 0 <= (share := getattr(self, flag)) <= 1:
                raise UsageError(f"--{flag.replace('_', '-')} {share:g}: expected a share from 0 to 1")
        for flag in ("max_drift", "max_class_shift"):
            if not 0 <= (index := getattr(self, flag)) < math.inf:
                raise UsageError(f"--{flag.replace('_', '-')} {index:g}: expected 0 or more")
