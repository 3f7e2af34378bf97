"""A trained model of genremill on audio files: what `score` predicts for each of their tracks alone."""

from collections.abc import Sequence

import pyarrow as pa

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.store import AudioObject
from genremill.jobs.song_files import model_sets
from genremill.jobs.song_files.labels import Label, Reading, Status, Tags
from genremill.models import artifact
from genremill.models.encoders.text_tokens import text_columns
from genremill.models.features import TABLE, WINDOWS
from genremill.models.model_card import ModelCard, read_card
from genremill.models.zoo import entry
from genremill.udfs import compiled
from genremill.udfs.audio_windows import Row, windows_of
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.style_mix import Styles
from genremill.udfs.tagging import Predicted, tags_of

LEAST_PROBABILITY = 0.01
"""Labels with a lower probability are left out."""
_VALUES = pa.list_(pa.float32())
_TEXTS = {
    "artists": pa.list_(pa.string()),
    "texts": pa.map_(pa.string(), pa.string()),
    "tags": pa.map_(pa.string(), pa.list_(pa.string())),
}
"""Types of the columns with text that are not strings."""


class TrainedTagger:
    """A model version, and how the features that it needs are computed."""

    note = ""

    def __init__(self, location: str, reading: Reading) -> None:
        folder, warehouse = model_sets.model_at(location)
        card = read_card(folder)
        model_sets.check_inputs(card, entry(card.model).is_partial)
        self._extractors = {
            name: model_sets.extractor_of(card, name, warehouse, reading) for name in model_sets.sets_of(card)
        }
        if any(extractor.features.uses_kernels for extractor in self._extractors.values()):
            compiled.make_warm()
        self._model, self._styles = artifact.load(folder), Styles.of(card)
        for extractor in self._extractors.values():
            extractor.features.warm()

    def tags(self, sandbox: Sandbox, audio: AudioObject) -> Tags:
        """The tags of a file; raises `AudioRejected` if it is bad."""
        card = self._model.card
        batch = batch_of(card, self._windows(sandbox, audio))
        # A file has no columns of the table, so its features have no positions.
        predicted = Predicted.of(batch, self._model, (None,) * card.width(TABLE))
        columns = tags_of(predicted, card, self._styles)
        (label, top, status) = (columns[name][0].as_py() for name in ("label", "top", "status"))
        labels = [Label(each["label"], each["probability"]) for each in top]
        likely = tuple(each for each in labels if each.probability >= LEAST_PROBABILITY)
        return Tags(Status(status), likely, label)

    def _windows(self, sandbox: Sandbox, audio: AudioObject) -> dict[str, list[Row]]:
        """The windows of each feature set. A model that accepts missing inputs needs one of the sets."""
        found, faults = {}, []
        for name, extractor in self._extractors.items():
            try:
                found[name] = windows_of(extractor, sandbox, audio)
            except AudioRejected as err:
                faults.append(err)
        if faults and (not found or not self._model.partial):
            raise faults[0]
        return found


def batch_of(card: ModelCard, windows: dict[str, list[Row]]) -> pa.RecordBatch:
    """A batch of one track that has nothing but these windows, with the columns of the inputs of a model."""
    columns: dict[str, pa.Array] = {WINDOWS: _windows_column(model_sets.sets_of(card), windows)}
    if TABLE in card.inputs:
        columns["table_features"] = pa.nulls(1, _VALUES)
    for name in text_columns(card.inputs):
        columns[name] = pa.nulls(1, _TEXTS.get(name, pa.string()))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _windows_column(names: Sequence[str], windows: dict[str, list[Row]]) -> pa.ListArray:
    """The windows of all sets side by side; a set's only window is repeated."""
    counts = {name: len(rows) for name, rows in windows.items()}
    most = max(counts.values())
    if not {*counts.values()} <= {1, most}:
        shown = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise AudioRejected(AudioReason.TOO_SHORT, f"{shown} windows, expected equal numbers or one")
    cells = [
        {
            name: windows[name][number if counts[name] > 1 else 0]["values"] if name in windows else None
            for name in names
        }
        for number in range(most)
    ]
    return pa.array([cells], pa.list_(pa.struct([(name, _VALUES) for name in names])))
