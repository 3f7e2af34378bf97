"""YAML files from users: tags that create Python objects are errors and create nothing."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from genremill.infra import yaml_files
from genremill.infra.errors import UsageError
from genremill.jobs import command, flags
from genremill.jobs.genres.sources import read_map
from genremill.jobs.training.settings import Config as TrainConfig


def as_settings(file: Path) -> object:
    return flags.parse("train", "", TrainConfig, command.Writing, ["--config", str(file)])


def as_map(file: Path) -> object:
    return read_map(str(file))


@pytest.mark.parametrize("reader", [as_settings, as_map])
@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{marker}']",
        "rock: !!python/object/apply:os.mkdir ['{marker}']",
        "? !!python/object/apply:os.mkdir ['{marker}']\n: rock",
        "rock: !!python/object/new:os.mkdir ['{marker}']",
        "rock: [!!python/object/apply:subprocess.getoutput ['mkdir {marker}']]",
        "rock: !!python/name:os.system ''",
        "rock: !!python/module:os ''",
        "rock: !Ref thing",
    ],
)
def test_a_tag_that_creates_an_object_is_an_error(
    tmp_path: Path, reader: Callable[[Path], object], text: str
) -> None:
    marker, file = tmp_path / "made", tmp_path / "given.yaml"
    file.write_text(text.replace("{marker}", str(marker)))
    with pytest.raises(UsageError, match="is not plain YAML"):
        reader(file)
    assert not marker.exists()
    if "{marker}" in text:
        yaml.unsafe_load(file.read_text())
        assert marker.exists(), (
            "the tag creates nothing with an unsafe loader either, so this test proves nothing"
        )


@pytest.mark.parametrize("reader", [as_settings, as_map])
@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: [", b"a: \x07", b"\t- a", b"- a", b"7"])
def test_yaml_that_is_not_a_mapping_is_an_error(
    tmp_path: Path, reader: Callable[[Path], object], data: bytes
) -> None:
    file = tmp_path / "given.yaml"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=r"is not plain YAML|expected"):
        reader(file)


LAUGHS = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12))


@pytest.mark.parametrize("reader", [as_settings, as_map])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("l0: &l0 lol\n" + LAUGHS, "aliases stand for more than"),
        ("l0: &l0 {a: 1}\n" + re.sub(r"\[(.*)\]", r"{<<: [\1]}", LAUGHS), "aliases stand for more than"),
        (f"a: &a {'x' * 10_000}\nb: [{'*a, ' * 1_000}]", "aliases stand for more than"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: &a {b: *a}", "nested too deeply"),
        ("a: " + "[" * 5_000, "nested too deeply"),
        ("a: " + "[" * 5_000 + "]" * 5_000, "nested too deeply"),
        ("{a: " * 5_000 + "1" + "}" * 5_000, "nested too deeply"),
        ("- " * 5_000 + "a", "nested too deeply"),
        ("seed: " + "9" * 5_000, "a number of 5,000 digits"),
        ("seed: 0x" + "f" * 5_000, "a number of 5,002 digits"),
        ("seed: 1" + ":59" * 5_000, "a number of 15,001 digits"),
        ("seed: 1" + ":59" * 5_000 + ".5", "is not plain YAML"),
        ("9" * 1_000 + ": rock", "a number of 1,000 digits"),
        ("rock: 2026-13-45", "is not plain YAML"),
        ("rock: !!bool maybe", "is not plain YAML"),
        ("rock: !!int ''", "is not plain YAML"),
        ("rock: !!timestamp today", "is not plain YAML"),
        ("rock: loud\n" + "# comment\n" * 110_000, "larger than 1,048,576 bytes"),
    ],
    ids=lambda text: text[:30],
)
def test_yaml_that_is_hostile_is_one_short_error(
    tmp_path: Path, reader: Callable[[Path], object], text: str, message: str
) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        reader(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("text", ["{name}: 1", "seed: {name}", "seed: [{name}]"])
def test_a_long_name_or_value_is_cut_in_the_message(tmp_path: Path, text: str) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text.replace("{name}", "x" * 20_000))
    with pytest.raises(UsageError, match=r"given\.yaml") as caught:
        as_settings(file)
    assert len(str(caught.value)) < 1_000


MANY = {f"genre {n}": "cluster" for n in range(6_000)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rock: &loud loud noise\npunk: *loud", {"rock": "loud noise", "punk": "loud noise"}),
        ("all: &all {rock: loud}\n<<: *all", {"all": {"rock": "loud"}, "rock": "loud"}),
        (f"rock: {'9' * 100}", {"rock": int("9" * 100)}),
        (f"rock: '{'9' * 5_000}'", {"rock": "9" * 5_000}),
        (
            "\n".join(f"genre {n}: cluster" for n in range(6_000)),
            {f"genre {n}": "cluster" for n in range(6_000)},
        ),
        ("rock: " + "[" * 50 + "]" * 50, None),
        ("", None),
    ],
    ids=lambda text: str(text)[:30],
)
def test_plain_yaml_is_read_as_it_is(tmp_path: Path, text: str, expected: object) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(text)
    found = yaml_files.read("--map", str(file), "a YAML file")
    assert expected is None or found == expected
