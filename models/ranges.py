"""Types of fields of records with the range of their values, which msgspec checks when it reads a record."""

from typing import Annotated

from msgspec import Meta

Name = Annotated[str, Meta(min_length=1, max_length=10_000)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Positive = Annotated[int, Meta(ge=1, le=1 << 53)]
Share = Annotated[float, Meta(ge=0, le=1)]
FrequencyDeviation = Annotated[float, Meta(ge=0, le=1000)]
NotNegative = Annotated[float, Meta(ge=0)]
Temperature = Annotated[float, Meta(ge=0.01, le=100)]
Confidence = Annotated[float, Meta(ge=0, le=2)]
"""A threshold of confidences; above 1 if no prediction becomes a tag."""
Sha256 = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")]
"""64 digits; empty in a card that is not saved yet."""
Time = Annotated[str, Meta(pattern=r"^([0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z)?$")]
"""A time of `storage.utc_now`, or empty."""
LabelKind = Annotated[str, Meta(pattern="^(genre|cluster)$")]
