"""Writes `models/pretrained/words.safetensors` from a wheel of WordLlama.

Run: pip download --no-deps wordllama==0.4.0.post1; python -m tests.pure.word_vectors wordllama-*.whl
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import safetensors.numpy

from genremill.models.encoders.text_tokens import normalized, token_texts
from genremill.models.features import TextKind
from genremill.models.pretrained.words import VALUES

FILE = Path(__file__).parents[2] / "models" / "pretrained" / "words.safetensors"
START_OF_WORD = "▁"


def words_of(pieces: dict[str, int]) -> dict[str, int]:
    """The pieces that are whole words, in lower case, and their numbers."""
    found: dict[str, tuple[bool, int]] = {}
    for piece, number in pieces.items():
        text = piece.removeprefix(START_OF_WORD)
        word = normalized(text)
        if text != piece and word and " " not in word:
            # A word in lower case has a better vector than the same word with a capital letter.
            found[word] = min(found.get(word, (True, number)), (text != word, number))
    return {word: number for word, (_, number) in found.items()}


def main(wheel: Path) -> None:
    """Reads the vectors, keeps whole words only, and reduces them to their principal components."""
    with zipfile.ZipFile(wheel) as files:
        tokenizer = json.loads(files.read("wordllama/tokenizers/l2_supercat_tokenizer_config.json"))
        (all_pieces,) = safetensors.numpy.load(
            files.read("wordllama/weights/l2_supercat_256.safetensors")
        ).values()
    words = words_of(tokenizer["model"]["vocab"])
    x = all_pieces[[*words.values()]].astype(np.float64)
    x -= x.mean(axis=0)
    _, components = np.linalg.eigh(x.T @ x)  # by ascending variance
    values = x @ components[:, : -VALUES - 1 : -1]
    values /= np.sqrt(np.square(values).sum(axis=1).mean())
    step = np.abs(values).max() / 127
    hashes = np.array([next(iter(token_texts(TextKind.PROSE, word, 0))) for word in words])
    order = np.argsort(hashes)
    tensors = {
        "hash": hashes[order],
        "vector": np.rint(values[order] / step).astype(np.int8),
        "step": np.array([step], np.float32),
    }
    safetensors.numpy.save_file(tensors, FILE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
