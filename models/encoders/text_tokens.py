"""Hashed tokens of the names of tracks: words, word pairs and character n-grams, of any script.

Training and scoring use the same function. A token is identified by a 64-bit hash that includes its field, so
`Blue` in a title and `Blue` in the name of an artist are two tokens.

Shape suffixes: T texts, P characters of all texts, W words of all texts, N tokens of all texts.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

FIELDS = ("title", "album", "artists")
"""The columns of `tracks` with names. Several artists are joined to one text."""
FIELD_TOKENS = 128
"""Maximum number of tokens per field; words and word pairs come first. One name in twenty has more tokens."""
TEXT_WIDTH = len(FIELDS) * FIELD_TOKENS
"""Token numbers per track: those of each field in order, padded with 0."""
MOST_CHARACTERS = 200
"""Longer texts are truncated, which limits the time per text."""
LENGTHS = (2, 3, 4)
"""Characters of an n-gram, including the space before and after each word."""

KNOWN = np.dtype([("hash", np.int64), ("rarity", np.float32)])
"""A token in the vocabulary. Its rarity is log(number of tracks / number of tracks with the token)."""
Known = npt.NDArray[np.void]
"""Array of `KNOWN`, by ascending hash."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ / golden ratio, which spreads consecutive values
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""
_KIND_WORD, _KIND_PAIR = 0, 1
_KINDS = 8


class _Readable(dict[int, str]):
    """The replacement of each character: the character, the character as a word, or a space; cached."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = unicodedata.category(character)[0] in "LNM"
        self[code] = " " if not kept else f" {character} " if _SPACELESS.match(character) else character
        return self[code]


_READABLE = _Readable()


def normalized(text: str) -> str:
    """Case-folded words (NFKC), separated by single spaces; punctuation counts as a space.

    >>> normalized("夜に駆ける - Remix")
    '夜 に 駆 け る remix'
    """
    folded = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).casefold()[:MOST_CHARACTERS]
    return " ".join(folded.translate(_READABLE).split())


def tokens(texts: Sequence[str | None], field: int) -> tuple[Hashes, Integers]:
    """Hashes of the tokens, text by text, and the number of tokens per text: shapes (N,) and (T,).

    Words come first, then word pairs, then n-grams. A text without letters and digits has no tokens.
    """
    padded = [f" {words} " if words else "" for words in (normalized(text or "") for text in texts)]
    code_P = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    text_P = np.repeat(np.arange(len(padded)), [len(words) for words in padded])
    parts = [*_words(code_P, text_P), *_n_grams(code_P, text_P)]
    hash_N = np.concatenate([_mixed(hashes, field * _KINDS + kind) for kind, hashes, _ in parts])
    text_N = np.concatenate([text for _, _, text in parts])
    order = np.argsort(text_N, kind="stable")
    return hash_N[order], np.bincount(text_N, minlength=len(padded))


def _words(code_P: Hashes, text_P: Integers) -> list[tuple[int, Hashes, Integers]]:
    """Kind, hash and text of each word and of each pair of consecutive words."""
    in_word_P = code_P != ord(" ")
    first_W = np.flatnonzero(in_word_P[1:] & ~in_word_P[:-1]) + 1
    if not len(first_W):
        return []
    word_P = np.cumsum(np.isin(np.arange(len(code_P)), first_W)) - 1
    place_P = np.arange(len(code_P)) - first_W[np.maximum(word_P, 0)]
    term_P = np.where(in_word_P, _mixed(code_P, place_P), np.uint64(0))
    hash_W = np.add.reduceat(term_P, first_W)
    text_W = text_P[first_W]
    pair_W = text_W[1:] == text_W[:-1]
    hash_pair = (_mixed(hash_W[:-1], 1) + hash_W[1:])[pair_W]
    return [(_KIND_WORD, hash_W, text_W), (_KIND_PAIR, hash_pair, text_W[1:][pair_W])]


def _n_grams(code_P: Hashes, text_P: Integers) -> list[tuple[int, Hashes, Integers]]:
    """Kind (= length), hash and text of each n-gram that lies within one text."""
    parts = []
    hash_P = _mixed(code_P, 0)
    for length in range(2, max(LENGTHS) + 1):
        hash_P = hash_P[:-1] + _mixed(code_P[length - 1 :], length - 1)
        if length in LENGTHS:
            within_P = text_P[: len(hash_P)] == text_P[length - 1 :]
            parts.append((length, hash_P[within_P], text_P[: len(hash_P)][within_P]))
    return parts


def _mixed(values: Hashes, salt: int | Integers) -> Hashes:
    """Mixes the bits of values (SplitMix64), so that sums of different values differ."""
    x = values + np.asarray(salt, np.uint64) * _FACTOR + _FACTOR
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
