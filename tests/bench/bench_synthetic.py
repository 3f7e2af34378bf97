"""Accuracy of models on synthesized clips with a known timbre, harmony and rhythm, for held-out artists.

Each property has four classes, so random guessing has an accuracy of .25. There are three tables:

* segments: the networks of report D on timbre coefficients, on pitch classes, and on both;
* spectrograms: the network of report C on each of the ten kinds of spectrogram;
* augmentation: how much accuracy is lost on held-out clips that are stretched, shifted in pitch or noisy,
  after training on unchanged clips, and after training on their variants too.

The benchmark takes about half an hour on two cores. `--only` runs a part of it:

    python -m tests.bench.bench_synthetic --only segments
"""

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from genremill.models.networks.base import Network
from genremill.udfs.dsp.augmentation import Variant, varied
from genremill.udfs.feature_sets import registry
from genremill.udfs.feature_sets.base import FeatureSet
from genremill.udfs.feature_sets.registry import SpectrogramKind
from genremill.udfs.feature_sets.segments import Segments
from tests.audio.known_sounds import SR, TRUTHS, Artist, Sound
from tests.bench.training_case import Rows, fit

SPAWN = multiprocessing.get_context("spawn")
SEGMENTS = "segments"
STEPS = 64
"""Segments of a clip: a few seconds have no more, and training is faster than with the usual 512."""
TRAIN, VALIDATION = 0.65, 0.8
"""Shares of the artists at which train and validation end."""
CHANGES = (Variant.STRETCH, Variant.PITCH, Variant.NOISE)
AUGMENTED_MODELS = {
    "timbre": ("timbre_cnn", SEGMENTS),
    "harmony": ("pitch_cnn", SEGMENTS),
    "rhythm": ("spectrogram_cnn", "spectrogram:mel"),
}
"""The model and feature set with which augmentation is measured, by property."""


@dataclass(frozen=True)
class Options:
    """Which parts to run, and on how many clips."""

    only: tuple[str, ...] = ("segments", "spectrograms", "augmentation")
    artists: int = 120
    clips: int = 12
    """Clips of each artist."""
    seconds: float = 8.0
    processes: int = 2


@dataclass(frozen=True)
class Corpus:
    """Numbered clips; those of an artist have consecutive numbers."""

    options: Options

    @property
    def artist_N(self) -> NDArray[np.int64]:
        """Artist of each clip."""
        return np.repeat(np.arange(self.options.artists), self.options.clips)

    def parts(self) -> dict[str, NDArray[np.intp]]:
        """Numbers of the clips in each part."""
        share_N = self.artist_N / self.options.artists
        return {
            "train": np.flatnonzero(share_N < TRAIN),
            "validation": np.flatnonzero((share_N >= TRAIN) & (share_N < VALIDATION)),
            "test": np.flatnonzero(share_N >= VALIDATION),
        }

    def labels(self, truth: str) -> NDArray[np.int64]:
        """Class of each clip."""
        sounds = (Sound.drawn(self._rng(number)) for number in range(len(self.artist_N)))
        return np.array([TRUTHS[truth].index(getattr(sound, truth)) for sound in sounds])

    def features(self, name: str, change: Variant | None = None) -> NDArray[np.float32]:
        """Flat values of a feature set for each clip, optionally after a change to the audio."""
        with ProcessPoolExecutor(self.options.processes, SPAWN) as processes:
            rows = processes.map(partial(self._values, name, change), range(len(self.artist_N)), chunksize=16)
            return np.stack(list(rows))

    def _values(self, name: str, change: Variant | None, number: int) -> NDArray[np.float32]:
        rng = self._rng(number)
        y = Sound.drawn(rng).clip(Artist.numbered(int(self.artist_N[number])), rng, self.options.seconds)
        return feature_set(name).values(y if change is None else varied(y, SR, change, rng))

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([3, number])


def feature_set(name: str) -> FeatureSet:
    """A feature set by name; with as many segments as these clips need."""
    return Segments(steps=STEPS) if name == SEGMENTS else registry.named(name)


def right(network: Network, name: str, rows: Rows) -> float:
    """Share of clips that are classified correctly."""
    p_NC = network.probabilities({name: torch.from_numpy(rows.inputs[name])})
    return float((p_NC.argmax(dim=1).numpy() == rows.label).mean())


def learned(model: str, name: str, train: Rows, validation: Rows) -> Network:
    """Trains a network with one input by the recipe of the model."""
    return fit(model, train, validation, shapes={name: feature_set(name).shape}).network


def print_accuracies(corpus: Corpus, models: Mapping[str, tuple[str, ...]]) -> None:
    """Prints the accuracy of models by feature set on held-out artists, one column for each property."""
    print(f"{'':44}{''.join(f'{truth:>10}' for truth in TRUTHS)}")
    part, label_of = corpus.parts(), {truth: corpus.labels(truth) for truth in TRUTHS}
    for name, of_set in models.items():
        x_NF = corpus.features(name)
        for model in of_set:
            accuracies = []
            for label_N in label_of.values():
                rows = {split: Rows({name: x_NF}, label_N).at(numbers) for split, numbers in part.items()}
                network = learned(model, name, rows["train"], rows["validation"])
                accuracies.append(right(network, name, rows["test"]))
            print(f"{name:26}{model:18}{''.join(f'{accuracy:10.3f}' for accuracy in accuracies)}", flush=True)


def segments(corpus: Corpus) -> None:
    """The three networks of report D."""
    print_accuracies(corpus, {SEGMENTS: ("timbre_cnn", "pitch_cnn", "timbre_pitch_cnn")})


def spectrograms(corpus: Corpus) -> None:
    """The network of report C on its ten kinds of spectrogram."""
    print_accuracies(corpus, {f"spectrogram:{kind}": ("spectrogram_cnn",) for kind in SpectrogramKind})


def augmentation(corpus: Corpus) -> None:
    """Accuracy on unchanged and changed clips, after training without and with changed clips."""
    names = ("unchanged", *CHANGES)
    print(f"{'':10}{'trained on':28}{''.join(f'{name:>10}' for name in names)}{'cost':>10}")
    part = corpus.parts()
    for truth, (model, name) in AUGMENTED_MODELS.items():
        label_N = corpus.labels(truth)
        versions = [Rows({name: corpus.features(name, change)}, label_N) for change in (None, *CHANGES)]
        plain, tests = versions[0], [rows.at(part["test"]) for rows in versions]
        more = joined([rows.at(part["train"]) for rows in versions], name)
        for shown, train in (("unchanged clips", plain.at(part["train"])), ("also their variants", more)):
            network = learned(model, name, train, plain.at(part["validation"]))
            scores = [right(network, name, rows) for rows in tests]
            cost = scores[0] - sum(scores[1:]) / len(CHANGES)
            print(
                f"{truth:10}{shown:28}{''.join(f'{score:10.3f}' for score in scores)}{cost:10.3f}", flush=True
            )


def joined(parts: list[Rows], name: str) -> Rows:
    """Concatenates rows."""
    x = np.concatenate([rows.inputs[name] for rows in parts])
    return Rows({name: x}, np.concatenate([rows.label for rows in parts]))


PARTS: Mapping[str, Callable[[Corpus], None]] = {
    "segments": segments,
    "spectrograms": spectrograms,
    "augmentation": augmentation,
}


def main() -> None:
    """Prints the tables."""
    options = tyro.cli(Options)
    corpus = Corpus(options)
    parts = ", ".join(f"{len(numbers)} {name}" for name, numbers in corpus.parts().items())
    print(f"{options.artists} artists, clips of {options.seconds:g} s: {parts}; accuracy on test, chance .25")
    for name in options.only:
        PARTS[name](corpus)


if __name__ == "__main__":
    main()
