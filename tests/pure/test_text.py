"""Names as tokens: which are equal and which differ, text in any script, and numbers in a model."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest

from genremill.models.encoders.text import TextEncoder
from genremill.models.encoders.text_tokens import (
    FIELD_TOKENS,
    KNOWN,
    MOST_CHARACTERS,
    normalized,
    token_texts,
    tokens,
)
from genremill.models.features import TEXT, TextKind
from genremill.udfs.tokens import fields_of, make_list_tokens, make_number


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't Stop (Remastered 2011)", "don t stop remastered 2011"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Ｆｕｌｌ－Ｗｉｄｔｈ", "full width"),
        ("é", "é"),
        ("Ночь, улица", "ночь улица"),
        ("夜に駆ける", "夜 に 駆 け る"),
        ("사랑 노래", "사랑 노래"),
        ("เพลง", "เ พ ล ง"),
        ("हिन्दी गाना", "हिन्दी गाना"),
        ("\x00\u202eab\ufeff", "ab"),
        ("😀 ** …", ""),
    ],
)
def test_text_of_any_script_is_split_into_words(text: str, words: str) -> None:
    assert normalized(text) == unicodedata.normalize("NFKC", words)


def test_very_long_names_are_truncated() -> None:
    assert len(normalized("ﷺ" * 10**6)) <= MOST_CHARACTERS  # one character that NFKC makes 18 of
    _, counts = tokens(["a" * 10**6], 0)
    assert counts[0] < 4 * MOST_CHARACTERS


def _of(text: str, field: int = 0) -> list[int]:
    found: list[int] = tokens([text], field)[0].tolist()
    return found


def test_tokens_are_words_pairs_and_n_grams() -> None:
    # " ab ": a word; " a", "ab", "b "; " ab", "ab "; " ab ".
    assert len(_of("ab")) == 1 + 3 + 2 + 1
    # " ab cd ": two words, a pair; 6 + 5 + 4 n-grams of 2, 3 and 4 characters.
    assert len(_of("ab cd")) == 2 + 1 + 6 + 5 + 4
    assert _of("ab cd")[0] == _of("ab")[0]
    assert set(_of("ab cd")) != set(_of("cd ab"))
    assert len(set(_of("abcd"))) == len(_of("abcd"))
    assert _of("AB!") == _of(" ab ")


def test_a_word_has_different_tokens_in_different_fields() -> None:
    assert not set(_of("blue", 0)) & set(_of("blue", 1))


def test_a_text_has_the_same_tokens_in_any_batch() -> None:
    texts = ["blue train", "", None, "夜 x", "a", "!", "blue"]
    hashes, counts = tokens(texts, 2)
    assert counts[[1, 2, 5]].tolist() == [0, 0, 0]
    ends = np.cumsum(counts)
    for text, end, count in zip(texts, ends, counts, strict=True):
        assert hashes[end - count : end].tolist() == tokens([text], 2)[0].tolist()


def test_hashes_do_not_change_from_version_to_version() -> None:
    """They are part of every model."""
    assert _of("blue")[:2] == [17559542093558669490, 959275219256811443]


def _encoder(*known: str) -> TextEncoder:
    hashes = np.unique(np.concatenate([tokens([one], 0)[0] for one in known]).view(np.int64))
    encoder = TextEncoder(len(hashes))
    encoder.learn({TEXT: np.array([(one, 1.0) for one in hashes], KNOWN)})
    return encoder


def test_known_tokens_are_numbered_and_others_are_left_out() -> None:
    encoder = _encoder("ab")
    found = encoder.numbers([["ab", "xyz", None, "ab xyz"], [None] * 4, ["ab"] * 4])
    assert found.shape == (4, 3 * 128)
    assert sorted(found[0][found[0] > 0].tolist()) == [1, 2, 3, 4, 5, 6, 7]
    assert not found[1].any()
    assert not found[2].any()
    assert found[3].tolist() == found[0].tolist()


def test_words_are_kept_first_in_a_long_name() -> None:
    text = " ".join(f"word{at}" for at in range(40))
    encoder = _encoder(text)
    numbers = encoder.numbers([[text], [""], [""]])[0]
    words = tokens([text], 0)[0][:40].view(np.int64)
    assert (encoder.hash_V.numpy()[numbers[:40] - 1] == words).all()
    assert np.count_nonzero(numbers) == FIELD_TOKENS[TextKind.NAMES]


def test_an_encoder_without_a_vocabulary_finds_no_tokens() -> None:
    assert not TextEncoder(0).numbers([["ab"], ["ab"], ["ab"]]).any()


def _batch() -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "title": ["ab", None],
            "album": pa.array([None, None], pa.string()),
            "artists": pa.array([["x y", "z"], None], pa.list_(pa.string())),
            "artist": pa.array([1, 2], pa.int64()),
        }
    )


def test_several_artists_are_joined_to_one_text() -> None:
    assert fields_of(_batch(), TEXT) == [["ab", None], [None, None], ["x y z", None]]


def test_tokens_are_listed_with_the_groups_of_their_artists() -> None:
    twice = _batch().slice(0, 1)
    batch = pa.Table.from_batches([twice, twice.set_column(3, "artist", pa.array([5], pa.int64()))])
    (found,) = make_list_tokens(TEXT)(iter(batch.combine_chunks().to_batches()))
    bits = dict(zip(found.column("token").to_pylist(), found.column("artists").to_pylist(), strict=True))
    expected = {
        *tokens(["ab"], 0)[0].view(np.int64).tolist(),
        *tokens(["x y z"], 2)[0].view(np.int64).tolist(),
    }
    assert bits.keys() == expected
    assert set(bits.values()) == {(1 << 1) | (1 << 5)}
    assert set(found.column("times").to_pylist()) == {2}


def test_a_token_that_a_track_has_several_times_counts_once() -> None:
    lyrics = [[("lyrics", "la la land")], [("lyrics", "la la la")], None]
    texts = pa.array(lyrics, pa.map_(pa.string(), pa.string()))
    batch = pa.RecordBatch.from_pydict({"texts": texts, "artist": pa.array([1, 2, 3], pa.int64())})
    (found,) = make_list_tokens("text:lyrics")(iter([batch]))
    times = dict(zip(found.column("token").to_pylist(), found.column("times").to_pylist(), strict=True))
    of_word = {word: next(iter(token_texts(TextKind.PROSE, word, 0))) for word in ("la", "land")}
    assert times == {of_word["la"]: 2, of_word["land"]: 1}


def test_shards_contain_token_numbers_instead_of_names() -> None:
    hashes = np.sort(tokens(["ab"], 0)[0].view(np.int64))
    known = np.array([(one, 1.0) for one in hashes], KNOWN)
    (found,) = list(make_number({TEXT: known}, ["artist"])(iter([_batch()])))
    assert found.schema.names == ["artist", TEXT]
    first, second = found.column(TEXT).to_pylist()
    assert len(first) == len(second) == 3 * 128
    assert sum(one > 0 for one in first) == 7
    assert not any(second)
