"""The commands in the documentation exist, and accept the flags that are shown."""

import contextlib
import importlib
import importlib.util
import itertools
import re
from pathlib import Path

import pytest
import tyro

from genremill.infra.errors import UsageError
from genremill.jobs import command
from genremill.jobs.cli import JOBS, SHELLS, TOOLS
from genremill.jobs.flags import parse as parse_flags
from genremill.udfs.feature_sets.onnx_description import read_description
from tests.docs.documentation import DOCS, ROOT, Block, Command, blocks, code, commands, lines, rows_of, table

COMMANDS = [one for one in commands() if one.job not in ("JOB", "--version")]


def parse(job: str, flags: list[str]) -> object:
    """The flags of a job, parsed as the job itself does."""
    if job in ("help", "completion"):
        assert set(flags) <= {*JOBS, *TOOLS} if job == "help" else set(SHELLS)
        return None
    module = importlib.import_module(f"genremill.jobs.{job}")
    if job in TOOLS:
        return tyro.cli(module.Options, args=flags)
    common = getattr(module, "Common", command.Writing)
    return parse_flags(job, "", module.Config, common, flags)


@pytest.mark.parametrize("shown", COMMANDS, ids=str)
def test_a_command_accepts_the_flags_that_are_shown(shown: Command, tmp_path: Path) -> None:
    flags = list(shown.flags)
    if "--config" in flags:
        file = tmp_path / "night.yaml"
        file.write_text("warehouse: wh\ntracks: tracks.csv\n")
        flags[flags.index("--config") + 1] = str(file)
    with pytest.raises(SystemExit, match="0") if "--help-all" in flags else contextlib.nullcontext():
        parse(shown.job, flags)


def test_commands_are_found_on_every_kind_of_page() -> None:
    jobs_by_page = {one.page: one.job for one in COMMANDS}
    assert {"README.md", "docs/nightly.md", "docs/deploy/s3.md", "docs/deploy/cron-and-systemd.md"} <= set(
        jobs_by_page
    )
    assert len(COMMANDS) > 25


def test_a_wrong_flag_is_noticed() -> None:
    with pytest.raises(UsageError, match="--trakcs"):
        parse("nightly", ["--warehouse", "wh", "--trakcs", "t.csv"])


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_make_targets_and_modules_exist(block: Block) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    for words in lines(block):
        for before, word in itertools.pairwise(words):
            if before == "make" and "=" not in word:
                assert word in targets
            if before == "-m" and word.startswith(("genremill.", "tests.")):
                assert importlib.util.find_spec(word)


def test_programs_named_in_text_exist() -> None:
    named = {
        module
        for page in DOCS.rglob("*.md")
        for module in re.findall(r"python -m ((?:genremill|tests)\.[\w.]+)", page.read_text())
    }
    assert len(named) > 8
    assert not [module for module in named if importlib.util.find_spec(module) is None]


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_examples_configure_a_night_or_describe_a_network(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "night.yaml"
    file.write_text(block.text)
    if block.page.name == "audio.md":
        assert read_description(str(file)).sample_rate >= 16_000
    else:
        parse("nightly", ["--config", str(file)])


def test_the_tables_of_commands_list_all_jobs() -> None:
    in_readme = rows_of((ROOT / "README.md").read_text(), "command")
    assert {code(row[0])[0] for row in in_readme} == {f"genremill {job}" for job in (*JOBS, "init", "tag")}
    assert {code(row[0])[0] for row in table("command-line.md", "job")} == set(JOBS)
    assert {code(row[0])[0] for row in table("command-line.md", "tool")} == set(TOOLS)
    assert [row[0] for row in table("command-line.md", "shell")] == list(SHELLS)
