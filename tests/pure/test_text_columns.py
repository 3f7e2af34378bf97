"""Columns of text and of tags: how their cells are read, and what their tokens are."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.columns import Columns
from genremill.jobs.catalog.leaks import accuracy_of_tags
from genremill.jobs.training.vocabulary import most_frequent
from genremill.models.encoders.text import TextEncoder, field_tokens
from genremill.models.encoders.text_tokens import (
    FIELD_TOKENS,
    KNOWN,
    prose_tokens,
    tag_tokens,
    text_columns,
    token_texts,
)
from genremill.models.features import TextKind
from genremill.models.networks.text import WORD_NORM, TokenEmbedding
from genremill.models.pretrained import words
from genremill.udfs.tokens import fields_of
from tests.pure.table_cases import Read

TEXTS = {"track_genre": ["pop", "rock"], "tempo": [99.5, 120.25]}


def read(flags: Columns, **columns: object) -> dict[str, list[object]]:
    return Read(TEXTS | columns, flags).columns


@pytest.mark.parametrize(
    "cells",
    [
        ["['indie folk', 'Beyoncé']", "['indie folk', 'live', 'live']"],
        ['["indie folk", "Beyoncé"]', '["indie folk", "live"]'],
        ["indie folk; Beyoncé", "indie folk;live"],
        ["indie folk|Beyoncé", "indie folk|live|live"],
        ["indie folk, Beyoncé", "indie folk, live"],
        pa.array([["indie folk", "Beyoncé", None], ["indie folk", "live"]]),
        pa.array([[{"name": "indie folk"}, {"name": "Beyoncé"}], [{"name": "indie folk"}, {"name": "live"}]]),
    ],
)
def test_tags_are_lists_however_they_are_written(cells: object) -> None:
    rows = read(Columns(tags=("lastfm",)), lastfm=cells)["tags"]
    assert rows == [
        [{"column": "lastfm", "tags": ["indie folk", "Beyoncé"]}],
        [{"column": "lastfm", "tags": ["indie folk", "live"]}],
    ]


def test_a_track_may_lack_texts_and_tags() -> None:
    flags = Columns(text=("lyrics", "note"), tags=("lastfm", "label"))
    rows = read(
        flags,
        lyrics=["[Verse 1: Ann]\nOh  la la", "n/a"],
        note=[None, "calm"],
        lastfm=[[], ["a"]],
        label=["4AD", "?"],
    )
    assert rows["texts"] == [
        [{"column": "lyrics", "text": "[Verse 1: Ann] Oh la la"}],
        [{"column": "note", "text": "calm"}],
    ]
    assert rows["tags"] == [[{"column": "label", "tags": ["4AD"]}], [{"column": "lastfm", "tags": ["a"]}]]
    assert read(Columns())["texts"] == read(Columns())["tags"] == [[], []]


def test_a_dot_in_the_name_of_a_column_is_an_underscore_in_tracks() -> None:
    rows = read(Columns(tags=("artist.genres",)), **{"artist.genres": ["a", "b"]})
    assert rows["tags"][0] == [{"column": "artist_genres", "tags": ["a"]}]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Columns(tags=("track_genre",)), r"--columns\.tags track_genre: it is the genre"),
        (Columns(text=("track_genre",)), r"--columns\.text track_genre: it is the genre"),
        (Columns(text=("lyrics",), tags=("lyrics",)), r"--columns\.text and --columns\.tags both name"),
        (Columns(text=("lyrics", "lyrics")), r"more than one column would be called 'lyrics'"),
        (Columns(tags=("a.b", "a_b")), r"more than one column would be called 'a_b'"),
        (Columns(text=("lyrics",), ignore=("lyrics",)), r"--columns\.ignore lyrics: another flag"),
        (Columns(text=("words",)), r"no column for --columns\.text words"),
        (Columns(text=("many",)), r"--columns\.text many: expected text, found array<string>"),
        (Columns(tags=("nested",)), r"--columns\.tags nested: expected text, or lists"),
    ],
)
def test_a_wrong_flag_is_one_error(flags: Columns, message: str) -> None:
    columns = {"lyrics": ["la", "lo"], "a.b": ["a", "b"], "a_b": ["a", "b"]}
    nested = {"many": pa.array([["a"], ["b"]]), "nested": pa.array([[["a"]], [["b"]]])}
    with pytest.raises(UsageError, match=message):
        Read(TEXTS | columns | nested, flags)


def test_a_column_of_tags_does_not_look_like_the_genre() -> None:
    flags = Columns(genre="style", tags=("artist_genres",))
    table = Read({"style": ["pop", "rock"], "artist_genres": ["a;b", "c;a"]}, flags)
    assert [use.uses for use in table.understood.uses if use.column == "artist_genres"] == [("tags",)]


def test_the_tokens_of_tags_are_the_tags_and_their_words() -> None:
    hashes, counts = tag_tokens([["Indie Folk"], ["folk", "Folk"], None, ["indie", "folk"], ["!"]])
    whole_and_words, folk, both = hashes[:3], hashes[3:5], hashes[5:]
    assert counts.tolist() == [3, 2, 0, 4, 0]
    assert len(set(whole_and_words) & set(both)) == 2  # the words; `indie folk` is another tag
    assert set(folk) < set(both)


def test_the_tokens_of_prose_are_its_words_without_headings_and_repeated_words_count_more() -> None:
    hashes, counts = prose_tokens(["[Verse 1: Ann]\nla la land", "La la, LAND!", None, "!", "x " * 10**6])
    assert counts.tolist() == [3, 3, 0, 0, round(1 + math.log(10**4))]
    assert hashes[:3].tolist() == hashes[3:6].tolist()
    assert len({*hashes[:3].tolist()}) == 2


def encoder(name: str, words: int) -> TextEncoder:
    """An encoder that knows `words` words, each rarer than the one before."""
    by_hash = {int(prose_tokens([f"word{at}"])[0].view(np.int64)[0]): at for at in range(words)}
    known = np.array([(one, by_hash[one]) for one in sorted(by_hash)], KNOWN)
    of_words = TextEncoder(len(known), name)
    of_words.learn({name: known})
    return of_words


def test_the_rarest_tokens_of_a_long_text_are_kept_wherever_they_are() -> None:
    most = FIELD_TOKENS[TextKind.PROSE]
    known = encoder("text:lyrics", most + 50)
    forwards = " ".join(f"word{at}" for at in range(most + 50))
    backwards = " ".join(reversed(forwards.split()))
    first, second = known.numbers([[forwards, backwards]])
    assert sorted(first) == sorted(second)
    assert known.rarity_V.numpy()[first - 1].min() == 50


def test_all_different_words_of_a_text_come_before_repeated_ones() -> None:
    most = FIELD_TOKENS[TextKind.PROSE]
    known = encoder("text:lyrics", most - 56)
    once = " ".join(f"word{at}" for at in range(most - 56))
    (numbers,) = known.numbers([[" ".join([once] * 12)]])
    assert sorted(numbers[: most - 56]) == list(range(1, most - 55))
    assert len({*numbers[most - 56 :]}) == 56  # the rarest words count twice
    assert known.rarity_V.numpy()[numbers[most - 56 :] - 1].min() == most - 112


def test_each_column_is_read_from_its_own_place() -> None:
    kinds = {
        "texts": pa.map_(pa.string(), pa.string()),
        "tags": pa.map_(pa.string(), pa.list_(pa.string())),
    }
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array([[("lyrics", "la"), ("note", "x")], None, [("note", "y")]], kinds["texts"]),
            pa.array([[("label", ["4AD"])], [], [("lastfm", ["a", "b"]), ("label", ["c"])]], kinds["tags"]),
        ],
        names=["texts", "tags"],
    ).slice(1)
    assert fields_of(batch, "text:lyrics") == [[None, None]]
    assert fields_of(batch, "text:note") == [[None, "y"]]
    assert fields_of(batch, "tags:lastfm") == [[None, ["a", "b"]]]
    assert fields_of(batch, "tags:label") == [[None, ["c"]]]
    assert text_columns(["table", "text", "tags:label", "text:note"]) == [
        *("title", "album", "artists"),
        *("tags", "texts"),
    ]


def rows_of(tags_of: Callable[[str, int], list[str]]) -> list[tuple[list[str], str, int]]:
    """Rows of 80 artists of one of five genres each: tags, genre, and the half of the artist."""
    rng = np.random.default_rng(0)
    genres = [f"g{number}" for number in rng.integers(5, size=80)]
    return [(tags_of(genres[at % 80], at % 80), genres[at % 80], at % 2) for at in range(400)]


def test_tags_that_repeat_the_label_give_it_away() -> None:
    repeated = rows_of(lambda genre, artist: ["live", genre.upper()])
    accuracy = accuracy_of_tags(repeated)
    assert accuracy is not None
    assert accuracy > 0.95
    assert accuracy_of_tags(repeated[:30]) is None


def test_tags_that_hint_at_the_label_or_name_the_artist_do_not() -> None:
    draw = np.random.default_rng(1)
    assert accuracy_of_tags(rows_of(lambda genre, _: [genre if draw.random() < 0.8 else "x", "live"])) is None
    assert accuracy_of_tags(rows_of(lambda _, artist: [f"artist {artist}", "live"])) is None


def test_each_input_gets_an_equal_part_of_the_tokens_and_what_others_leave() -> None:
    names = np.array([(number, float(number)) for number in (4, 2, 1, 3, 5)], KNOWN)
    tags = np.array([(7, 9.0)], KNOWN)
    lyrics = np.array([(number, 0.1 * number) for number in range(10, 20)], KNOWN)
    kept = most_frequent({"text": names, "tags:a": tags, "text:l": lyrics}, 7)
    assert {name: tokens["hash"].tolist() for name, tokens in kept.items()} == {
        "text": [2, 1, 3],
        "tags:a": [7],
        "text:l": [10, 11, 12],
    }
    assert most_frequent({}, 3) == {}


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (TextKind.NAMES, "Blue train, 夜に駆ける (Remix)"),
        (TextKind.NAMES, "!"),
        (TextKind.PROSE, "[Verse 1: Ann] la la land"),
        (TextKind.TAGS, ["Indie Folk", "indie folk", "Oslo", "?"]),
        (TextKind.PROSE, None),
    ],
)
def test_the_texts_of_all_tokens_are_known(kind: TextKind, cell: str | list[str] | None) -> None:
    hashes, _ = field_tokens(kind, [cell], 1)
    assert {*token_texts(kind, cell, 1 if kind is TextKind.NAMES else 0)} == {*hashes.view(np.int64).tolist()}


def test_the_texts_of_tokens_are_words_pairs_n_grams_and_tags() -> None:
    assert [*token_texts(TextKind.PROSE, "La la land", 0).values()] == ["la", "land"]
    names = " ".join(token_texts(TextKind.NAMES, "ab c", 0).values())
    assert names == "ab c ab c _a ab b_ _c c_ _ab ab_ b_c _c_ _ab_ ab_c b_c_"


def test_words_with_known_vectors_start_from_them() -> None:
    known = ["love", "guitar", "zzyzzx"]
    hashes = {int(prose_tokens([word])[0].view(np.int64)[0]): word for word in known}
    samples = np.array([(one, 1.0) for one in sorted(hashes)], KNOWN)
    encoder = TextEncoder(len(known), "text:lyrics")
    encoder.learn({"text:lyrics": samples})
    network = TokenEmbedding(encoder, 2)
    before = network.token_VD.detach().clone()
    network.start()
    hash_W, vector_WD = words.vectors()
    assert torch.equal(hash_W, hash_W.sort().values)
    for number, (one, word) in enumerate(sorted(hashes.items()), start=1):
        own = vector_WD[(hash_W == one).nonzero()[:, 0]]
        expected = before[number] if word == "zzyzzx" else WORD_NORM * own[0]
        torch.testing.assert_close(network.token_VD[number], expected)
    torch.testing.assert_close(network.token_VD[0], before[0])
