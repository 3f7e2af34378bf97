"""YAML files from users: tags that create Python objects are errors and create nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

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
