"""Hashed tokens of the texts of tracks, of any script.

A name has words, word pairs and character n-grams. Prose, such as lyrics, has words. A set of tags has each
tag as a whole, and the words of the tags. Training and scoring use the same functions. A token is identified
by a 64-bit hash that includes its field, so `Blue` in a title and `Blue` in the name of an artist are two
tokens.

Shape suffixes: T texts, P characters of all texts, W words of all texts, G tags of all texts, N tokens of all
texts, D different tokens of each text.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from genremill.models.features import TextKind, text_kind

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

FIELDS = ("title", "album", "artists")
"""The columns of `tracks` with names. Several artists are joined to one text."""
_COLUMNS = {TextKind.NAMES: FIELDS, TextKind.PROSE: ("texts",), TextKind.TAGS: ("tags",)}
FIELD_TOKENS = {TextKind.NAMES: 128, TextKind.PROSE: 256, TextKind.TAGS: 128}
"""Largest number of tokens per field. Of a name, words and word pairs come first; one name in twenty has more
tokens. Of prose the rarest tokens are kept, of tags the most frequent."""
PROSE_AT_ONCE = 100
"""Texts whose tokens are computed together; each character takes 80 bytes."""
MOST_CHARACTERS, MOST_PROSE = 200, 20_000
"""Longer names and tags, and longer prose, are truncated, which limits the time per text."""
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
_HEADING = re.compile(r"\[[^\[\]]{1,80}\]")
"""A heading in lyrics, such as `[Verse 1: Name]`."""
_KIND_WORD, _KIND_PAIR, _KIND_TAG = 0, 1, 5
"""Kinds of tokens; the kind of an n-gram is its length, 2 to 4."""
_KINDS = 8


class _Readable(dict[int, str]):
    """The replacement of each character: the character, the character as a word, or a space; cached."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = unicodedata.category(character)[0] in "LNM"
        self[code] = " " if not kept else f" {character} " if _SPACELESS.match(character) else character
        return self[code]


_READABLE = _Readable()


def text_columns(names: Iterable[str]) -> list[str]:
    """The columns of `tracks` in which the inputs are stored that are text; other inputs are ignored.

    >>> text_columns(["table", "tags:lastfm", "tags:label"])
    ['tags']
    """
    of_kinds = (_COLUMNS[kind] for name in names if (kind := text_kind(name)))
    return list(dict.fromkeys(column for columns in of_kinds for column in columns))


def text_width(kind: TextKind) -> int:
    """How many token numbers a track has: equally many for each field. The number 0 stands for no token."""
    return FIELD_TOKENS[kind] * (len(FIELDS) if kind is TextKind.NAMES else 1)


def normalized(text: str, most: int = MOST_CHARACTERS) -> str:
    """Case-folded words (NFKC), separated by single spaces; punctuation counts as a space.

    >>> normalized("夜に駆ける - Remix")
    '夜 に 駆 け る remix'
    """
    folded = unicodedata.normalize("NFKC", text[:most]).casefold()[:most]
    return " ".join(folded.translate(_READABLE).split())


def tokens(texts: Sequence[str | None], field: int) -> tuple[Hashes, Integers]:
    """Hashes of the tokens, text by text, and the number of tokens per text: shapes (N,) and (T,).

    Words come first, then word pairs, then n-grams. A text without letters and digits has no tokens.
    """
    code_P, text_P = _characters([text or "" for text in texts], MOST_CHARACTERS)
    words = _words(code_P, text_P)
    hash_N, text_N = _joined([words, _pairs(words), *_n_grams(code_P, text_P)], field)
    order = np.argsort(text_N, kind="stable")
    return hash_N[order], np.bincount(text_N, minlength=len(texts))


def prose_tokens(texts: Sequence[str | None]) -> tuple[Hashes, Integers]:
    """Hashes of the tokens, and their number per text: shapes (N,) and (T,).

    A word that occurs n times is `repeats(n)` tokens. A text in brackets is no part of prose, because it is a
    heading in lyrics.
    """
    parts = [texts[start : start + PROSE_AT_ONCE] for start in range(0, len(texts), PROSE_AT_ONCE)]
    hashes, counts = zip(*map(_prose_tokens, parts), strict=True) if parts else ((), ())
    none = [np.zeros(0, np.int64)]
    return np.concatenate([*hashes, np.zeros(0, np.uint64)]), np.concatenate([*counts, *none])


def repeats(times_D: Integers) -> Integers:
    """How many tokens a word is that occurs this often in a text: the rounded 1 + ln n.

    >>> repeats(np.array([1, 2, 4, 5, 12, 13])).tolist()
    [1, 2, 2, 3, 3, 4]
    """
    return np.asarray(np.rint(1 + np.log(times_D)), np.int64)


def _prose_tokens(texts: Sequence[str | None]) -> tuple[Hashes, Integers]:
    code_P, text_P = _characters([_HEADING.sub(" ", text or "") for text in texts], MOST_PROSE)
    hash_D, text_D, times_D = _different(*_joined([_words(code_P, text_P)], 0))
    tokens_D = repeats(times_D)
    count_T = np.bincount(np.repeat(text_D, tokens_D), minlength=len(texts))
    return np.repeat(hash_D, tokens_D), count_T


def tag_tokens(lists: Sequence[Sequence[str] | None]) -> tuple[Hashes, Integers]:
    """Hashes of the different tags and of the words in them, and their number per list: shapes (N,) and (T,).

    >>> hashes, counts = tag_tokens([["Indie Folk", "folk"], None, ["folk"]])
    >>> counts.tolist(), len(set(hashes.tolist()))
    ([4, 0, 2], 4)
    """
    list_G = np.repeat(np.arange(len(lists)), [len(tags or ()) for tags in lists])
    code_P, tag_P = _characters([tag for tags in lists for tag in tags or ()], MOST_CHARACTERS)
    first_G = np.flatnonzero(np.diff(tag_P, prepend=-1))
    if not len(first_G):
        return np.zeros(0, np.uint64), np.zeros(len(lists), np.int64)
    place_P = np.arange(len(code_P)) - np.repeat(first_G, np.diff(first_G, append=len(code_P)))
    whole = _KIND_TAG, np.add.reduceat(_mixed(code_P, place_P), first_G), list_G[tag_P[first_G]]
    kind, hash_W, tag_W = _words(code_P, tag_P)
    hash_D, list_D, _ = _different(*_joined([whole, (kind, hash_W, list_G[tag_W])], 0))
    return hash_D, np.bincount(list_D, minlength=len(lists))


def token_texts(kind: TextKind, cell: str | Sequence[str] | None, field: int) -> dict[int, str]:
    """The tokens of a text, or of a list of tags, by hash as `Known` has it; pairs are joined by a space.

    An n-gram at the start or the end of a word has `_` for the space.

    >>> sorted(token_texts(TextKind.TAGS, ["Indie Folk"], 0).values())
    ['folk', 'indie', 'indie folk']
    """
    texts = [cell] if isinstance(cell, str) else cell or ()
    found: dict[int, str] = {}

    def add(text: str, value: np.uint64, kind_of_token: int) -> None:
        mixed = _mixed(np.array([value]), field * _KINDS + kind_of_token)
        found.setdefault(int(mixed.view(np.int64)[0]), text)

    for text in texts:
        most = MOST_PROSE if kind is TextKind.PROSE else MOST_CHARACTERS
        words = normalized(_HEADING.sub(" ", text) if kind is TextKind.PROSE else text, most).split()
        padded = f" {' '.join(words)} "
        if kind is TextKind.TAGS and words:
            add(" ".join(words), _text_hash(padded), _KIND_TAG)
        for word in words:
            add(word, _text_hash(word), _KIND_WORD)
        if kind is TextKind.NAMES:
            for first, second in itertools.pairwise(words):
                pair = _mixed(np.array([_text_hash(first)]), 1) + np.array([_text_hash(second)])
                add(f"{first} {second}", pair[0], _KIND_PAIR)
        if kind is TextKind.NAMES and words:
            for length in LENGTHS:
                for start in range(len(padded) - length + 1):
                    part = padded[start : start + length]
                    add(part.replace(" ", "_"), _text_hash(part), length)
    return found


def _text_hash(text: str) -> np.uint64:
    """The hash of a word, an n-gram or a tag: the sum of its mixed characters."""
    code_P = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return np.uint64(_mixed(code_P, np.arange(len(code_P))).sum())


def _characters(texts: Sequence[str], most: int) -> tuple[Hashes, Integers]:
    """The characters of all texts, each between two spaces, and the number of the text of each."""
    padded = [f" {words} " if words else "" for words in (normalized(text, most) for text in texts)]
    code_P = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return code_P, np.repeat(np.arange(len(padded)), [len(words) for words in padded])


def _joined(parts: Sequence[tuple[int, Hashes, Integers]], field: int) -> tuple[Hashes, Integers]:
    """Hash and text of the tokens of all kinds."""
    hash_N = np.concatenate([_mixed(hashes, field * _KINDS + kind) for kind, hashes, _ in parts])
    return hash_N, np.concatenate([text for _, _, text in parts])


def _different(hash_N: Hashes, text_N: Integers) -> tuple[Hashes, Integers, Integers]:
    """The different tokens of each text, by text and hash: their hash, their text, how often they occur."""
    order = np.lexsort((hash_N, text_N))
    hash_N, text_N = hash_N[order], text_N[order]
    is_first_N = is_new(hash_N, text_N)
    times_D = np.diff(np.flatnonzero(is_first_N), append=len(hash_N))
    return hash_N[is_first_N], text_N[is_first_N], times_D


def is_new(first_N: npt.NDArray[Any], second_N: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each pair of values differs from the pair before it.

    >>> is_new(np.array([7, 7, 9]), np.array([0, 0, 0])).tolist()
    [True, False, True]
    """
    is_new_N = np.ones(len(first_N), np.bool_)
    is_new_N[1:] = (first_N[1:] != first_N[:-1]) | (second_N[1:] != second_N[:-1])
    return is_new_N


def _words(code_P: Hashes, text_P: Integers) -> tuple[int, Hashes, Integers]:
    """Kind, hash and text of each word."""
    in_word_P = code_P != ord(" ")
    first_W = np.flatnonzero(in_word_P[1:] & ~in_word_P[:-1]) + 1
    if not len(first_W):
        return _KIND_WORD, np.zeros(0, np.uint64), np.zeros(0, np.int64)
    word_P = np.cumsum(np.isin(np.arange(len(code_P)), first_W)) - 1
    place_P = np.arange(len(code_P)) - first_W[np.maximum(word_P, 0)]
    term_P = np.where(in_word_P, _mixed(code_P, place_P), np.uint64(0))
    return _KIND_WORD, np.add.reduceat(term_P, first_W), text_P[first_W]


def _pairs(words: tuple[int, Hashes, Integers]) -> tuple[int, Hashes, Integers]:
    """Kind, hash and text of each pair of consecutive words of a text."""
    _, hash_W, text_W = words
    is_pair_W = text_W[1:] == text_W[:-1]
    return _KIND_PAIR, (_mixed(hash_W[:-1], 1) + hash_W[1:])[is_pair_W], text_W[1:][is_pair_W]


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
