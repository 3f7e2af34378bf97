"""The command line without Spark: help, flags, YAML files, early errors and completion."""

import importlib
import os
import platform
import re
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

from genremill.infra import session
from genremill.infra.errors import ExitCode, UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli, command, flags
from genremill.jobs.cli import JOBS, TOOLS
from genremill.jobs.nights.steps import Config
from genremill.jobs.studies.grid import Config as StudyConfig
from genremill.jobs.training.settings import Config as TrainConfig

ON_A_WAREHOUSE = [job for job in JOBS if job not in ("nightly", "ingest", "plan")]
"""Jobs that need a warehouse that exists."""


@pytest.fixture
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that must not start."""

    def refuse(app_name: str) -> None:
        raise AssertionError(f"Spark was started for {app_name}")

    monkeypatch.setattr(session, "spark_session", refuse)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A warehouse whose table `tracks` has table features; there is no data behind its record."""
    place = Warehouse.at(str(tmp_path / "wh"))
    features = [{"name": "tempo", "kind": "numeric", "is_popularity": False}]
    details = {
        "features": features,
        "kept": [],
        "split": {"by": "artist", "fractions": [0.8, 0.1, 0.1], "seed": 0},
    }
    tracks = Snapshot("r1", "tracks/run=r1", 9, "hash", {}, "0", "2026-01-01T00:00:00Z", details)
    place.finish("tracks", tracks)
    place.publish("tracks", tracks)
    return place


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command prints on stdout."""

    def run(*arguments: str) -> str:
        assert cli.main(arguments) == 0
        return capsys.readouterr().out

    return run


def words(text: str) -> str:
    """The text of a help without its frames and line breaks."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", text)


@pytest.mark.parametrize("job", [*JOBS, *TOOLS])
def test_the_help_of_a_job_is_plain(job: str, shown: Callable[..., str]) -> None:
    text = shown(job, "--help-all") if job in JOBS else shown(job, "--help")
    assert "None" not in text
    assert "(default" not in text
    assert "[]" not in text
    assert "STR [STR" not in text
    assert "['']" not in text
    module = importlib.import_module(f"genremill.jobs.{job}")
    declared = flags.declared(module.Config if job in JOBS else module.Options)
    for name, flag in declared.items():
        parent, dot, leaf = name.rpartition(".")
        assert f"--{parent}{dot}{'no-' if flag.default is True else ''}{leaf} " in text


@pytest.mark.parametrize("arguments", [["doctor"], ["tables", "--warehouse", "/none"]])
def test_on_another_system_than_linux_a_command_says_so(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert cli.main([arguments[0], "--help"]) == 0
    assert cli.main(arguments) == 2
    assert "genremill runs on Linux, but this is Darwin" in capsys.readouterr().err


def test_a_help_text_is_one_sentence_or_two() -> None:
    for job in JOBS:
        config = importlib.import_module(f"genremill.jobs.{job}").Config
        for owner in {flag.owner for flag in flags.declared(config).values()}:
            for field, text in field_docstrings(owner).items():
                sentence = re.sub(r"\[.*?\]|\(.*?\)", "", text, flags=re.DOTALL).strip()
                assert sentence.endswith("."), (owner, field)
                assert len(re.findall(r"[.!?](?:\s|$)", sentence)) <= 2, (owner, field)


def field_docstrings(owner: type) -> dict[str, str]:
    """The docstrings under the fields that a class itself declares."""
    import ast
    import inspect

    (node,) = ast.parse(inspect.getsource(owner)).body
    assert isinstance(node, ast.ClassDef)
    texts = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and field.simple:
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            texts[field.target.id] = str(text.value.value)
    return texts


@pytest.mark.parametrize("job", ["train", "nightly", "study"])
def test_the_help_of_a_negative_flag_describes_the_negative_flag(job: str, shown: Callable[..., str]) -> None:
    text = words(shown(job, "--help-all"))
    assert re.search(r"--(train\.)?no-resume Train from the start", text)


def test_switches_that_are_on_have_a_help_text_of_their_own() -> None:
    for job in JOBS:
        config = importlib.import_module(f"genremill.jobs.{job}").Config
        for flag in flags.declared(config).values():
            if flag.default is True:
                hints = typing.get_type_hints(flag.owner, include_extras=True)
                assert typing.get_args(hints[flag.field])[1:], flag


def test_the_help_of_nightly_shows_the_main_flags(shown: Callable[..., str]) -> None:
    text = shown("nightly", "--help")
    names = re.findall(r"^\W*?(?:-h, )?--([a-z][a-z.-]*)", text, re.MULTILINE)
    assert set(names) == {"help", *Config.main_flags}
    assert "`genremill nightly --help-all`" in text
    assert shown("help", "nightly") == text
    assert "--publish.max-churn" in shown("help", "nightly", "--all")


def test_the_help_of_plan_shows_the_price(shown: Callable[..., str]) -> None:
    assert "--price-per-hour" in shown("plan", "--help")


def test_nightly_accepts_the_flags_that_its_short_help_omits() -> None:
    argv = ["--warehouse", "w", "--tracks", "t", "--publish.max-churn", "0.5", "--train.no-resume"]
    _, cfg = flags.parse("nightly", "", Config, command.Writing, argv)
    assert (cfg.publish.max_churn, cfg.train.resume) == (0.5, False)


@pytest.mark.parametrize("job", JOBS)
def test_one_blank_line_stands_between_the_paragraphs_of_a_help(job: str, shown: Callable[..., str]) -> None:
    description, example, _ = shown(job, "--help").partition("\n\nExample: ")
    assert example
    assert "\n\n\n" not in description


@pytest.mark.parametrize(
    "arguments", ["--version", "completion bash", "train --help", "tables --warehouse {}"]
)
def test_a_reader_of_stdout_that_goes_away_is_no_error(tmp_path: Path, arguments: str) -> None:
    (tmp_path / "note.txt").touch()
    reader, stdout = os.pipe()
    os.close(reader)
    command_line = [sys.executable, "-m", "genremill", *arguments.format(tmp_path).split()]
    done = subprocess.run(command_line, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    os.close(stdout)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [("--help", "1"), ("--version", ""), ("train --help", ""), ("tables --json --warehouse {}", "")],
)
def test_a_full_stdout_is_one_error_that_a_retry_may_fix(
    tmp_path: Path, arguments: str, unbuffered: str
) -> None:
    (tmp_path / "note.txt").touch()
    command_line = [sys.executable, "-m", "genremill", *arguments.format(tmp_path).split()]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command_line, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert done.returncode == ExitCode.RETRY
    assert re.fullmatch(r"genremill( \w+)?: cannot write to stdout: No space left on device\n", done.stderr)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [("--version", 0), ("tables --warehouse {}", 0), ("tables --warehouse {}/none", 2), ("trane", 2)],
)
@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>/dev/full"])
def test_the_exit_code_does_not_depend_on_closed_or_full_streams(
    tmp_path: Path, arguments: str, exit_code: int, streams: str
) -> None:
    (tmp_path / "note.txt").touch()
    line = f"{sys.executable} -m genremill {arguments.format(tmp_path)} {streams}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == exit_code
    assert "Traceback" not in done.stderr
    assert exit_code == 0 or not done.stdout  # errors never go to stdout


def test_the_version_and_the_module() -> None:
    of_module = subprocess.run(
        [sys.executable, "-m", "genremill", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"genremill \d+\.\d+\.\d+\n", of_module.stdout)


def test_the_help_lists_every_command(shown: Callable[..., str]) -> None:
    listed = re.findall(r"^  ([a-z]+) ", shown("help"), re.MULTILINE)
    assert [name for name in listed if name != "genremill"] == [*JOBS, *TOOLS]


def yaml_of(tmp_path: Path, text: str) -> str:
    (tmp_path / "night.yaml").write_text(text)
    return str(tmp_path / "night.yaml")


def test_flags_override_the_config_file(tmp_path: Path) -> None:
    file = yaml_of(tmp_path, "model: linear\nuse-popularity: true\nresume: false\nseed: 3\nepochs: null\n")
    argv = ["--warehouse", "w", "--config", file]
    _, cfg = flags.parse("train", "", TrainConfig, command.Writing, argv)
    assert (cfg.model, cfg.use_popularity, cfg.resume, cfg.seed, cfg.epochs) == (
        "linear",
        True,
        False,
        3,
        None,
    )
    argv += ["--no-use-popularity", "--resume", "--seed", "4"]
    _, cfg = flags.parse("train", "", TrainConfig, command.Writing, argv)
    assert (cfg.model, cfg.use_popularity, cfg.resume, cfg.seed) == ("linear", False, True, 4)


def test_a_config_file_can_have_sections_lists_and_single_values(tmp_path: Path) -> None:
    text = """
        warehouse: wh
        tracks: t.csv
        audio_root: a
        ingest:
          fractions: [1, 0, 0]
          columns: {keep: [isrc, market]}
        train.learning-rate: 1e-3
        cluster: {method: kmeans}
    """
    file = yaml_of(tmp_path, re.sub(r"^ {8}", "", text, flags=re.MULTILINE))
    common, cfg = flags.parse("nightly", "", Config, command.Writing, ["--config", file])
    assert (common.warehouse, cfg.tracks, cfg.audio_root) == ("wh", "t.csv", ("a",))
    assert cfg.ingest.fractions == (1, 0, 0)
    assert cfg.ingest.columns.keep == ("isrc", "market")
    assert (cfg.train.learning_rate, cfg.cluster.method.value) == (0.001, "kmeans")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {modle: linear}", "no flag is named 'train.modle'; did you mean train.model?"),
        ("train: {workers: two}", "train.workers: expected a whole number; found 'two'"),
        ("train: {workers: 1.5}", "train.workers: expected a whole number; found 1.5"),
        ("train: {learning-rate: fast}", "train.learning-rate: expected a number; found 'fast'"),
        ("train: {use-popularity: 1}", "train.use-popularity: expected true or false; found 1"),
        ("train: {labels: mood}", "train.labels: expected one of genre, cluster; found 'mood'"),
        ("ingest: {split: title}", "ingest.split: expected one of artist, recording, rows; found 'title'"),
        (
            "ingest: {fractions: [1, 2]}",
            "ingest.fractions: expected a list of 3, each a number; found [1, 2]",
        ),
        ("extract: {features: [1]}", "extract.features: expected a list, each text"),
        (
            "score: {model: 7}",
            "score.model: expected text, in quotes where it looks like something else; found 7",
        ),
    ],
)
def test_the_error_for_a_wrong_value_in_a_file_names_the_flag_the_value_and_the_type(
    tmp_path: Path, text: str, message: str
) -> None:
    file = yaml_of(tmp_path, text)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        flags.parse("nightly", "", Config, command.Writing, ["--config", file])
    assert str(caught.value).startswith(f"--config {file}: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ingest.max-vanished", "3"], "--ingest.max-vanished 3: expected"),
        (["--ingest.limit", "0"], "--ingest.limit 0: expected"),
        (["--ingest.fractions", "1", "1", "1"], "--ingest.fractions"),
        (["--ingest.split-file", "/nowhere.csv"], "--ingest.split-file file:///nowhere.csv: no such file"),
        (["--audio-root", "/tmp", "--extract.seconds", "0"], "--extract.seconds 0: expected"),
        (["--audio-root", "/nowhere"], "--audio-root /nowhere: no such folder"),
        (["--cluster.method", "manual"], "--cluster.method manual needs --cluster.map"),
        (["--cluster.seed", "-1"], "--cluster.seed -1: expected"),
        (["--train.workers", "0"], "--train.workers 0: expected"),
        (["--train.max-age-days", "-1"], "--train.max-age-days -1: expected"),
        (["--train.exactly"], "--train.exactly needs --train.per-class N"),
        (["--score.limit", "0"], "--score.limit 0: expected"),
        (["--score.model-version", "a/b"], "--score.model-version a/b: no such model"),
        (["--evaluate.model-version", "a/b"], "--evaluate.model-version a/b: no such model"),
        (["--publish.max-loss", "2"], "--publish.max-loss 2: expected"),
        (["--publish.rollback"], "belong to `genremill publish`"),
        (["--max-vanished", "3"], "no flag --max-vanished; did you mean --ingest.max-vanished?"),
    ],
)
@pytest.mark.usefixtures("no_spark")
def test_errors_of_nightly_name_the_flag_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "t.csv").write_text("track_id\n1\n")
    for job in ("nightly", "plan"):
        place = tmp_path / "wh"
        common = ["--warehouse", str(place), "--tracks", str(tmp_path / "t.csv")]
        assert cli.main([job, *common, *arguments]) == 2
        assert message in capsys.readouterr().err
        assert not place.exists()


def test_a_flag_in_a_command_stays_as_it_is() -> None:
    cfg = Config(tracks="t")
    text = (
        "--limit 0 and --tracks t: run `genremill ingest --limit 1`; --columns.keep, --no-multiline, --limits"
    )
    assert flags.qualified(text, "ingest", cfg) == (
        "--ingest.limit 0 and --tracks t: run `genremill ingest --limit 1`; "
        "--ingest.columns.keep, --ingest.no-multiline, --limits"
    )
    assert flags.qualified("--ingest.limit 0", "ingest", cfg) == "--ingest.limit 0"
    assert flags.qualified("`ingest --columns.genre` or `score --model`", "cluster", cfg) == (
        "--ingest.columns.genre or --score.model"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ingest", "--tracks", "/nowhere.csv"], "--tracks file:///nowhere.csv: no such file"),
        (["ingest", "--tracks", "{folder}/empty.csv"], "the file is empty"),
        (["ingest", "--tracks", "{folder}/text.parquet"], "the file is not Parquet"),
        (["ingest", "--tracks", "{folder}/nested"], "the folder contains the folder 'inner'"),
        (
            ["ingest", "--tracks", "{folder}/t.csv", "--split-file", "/nowhere"],
            "--split-file file:///nowhere",
        ),
        (["extract"], "--audio-root is needed"),
        (["extract", "--audio-root", "/nowhere"], "--audio-root /nowhere: no such folder"),
        (["extract", "--audio-root", "{folder}", "--features", "mfcc13"], "'mfcc13'"),
        (["cluster", "--method", "manual", "--map", "/nowhere.yaml"], "no such file"),
        (["cluster", "--inputs", "gtzan57"], "gtzan57"),
        (["train", "--model", "wavenet"], "'wavenet'"),
        (["train", "--labels", "cluster"], "--labels cluster needs a genre map"),
        (["train", "--inputs", "gtzan57"], "gtzan57"),
        (["train", "--model", "lstm"], "lstm takes inputs of the kind sequence; found table: vector"),
        (
            ["train", "--model", "hybrid", "--parts", "mlp4+lstm", "--inputs", "table"],
            "lstm takes inputs of the kind sequence; found none",
        ),
        (["evaluate"], "has no model yet"),
        (["evaluate", "--model-version", "a/b"], "--model-version a/b: no such model"),
        (["score", "--model-version", "a/b"], "--model-version a/b: no such model"),
        (["score", "--model", "{folder}"], "is not a model"),
        (["publish"], "no staged tags"),
        (["publish", "--run", "r9"], "--run r9"),
        (["publish", "--rollback"], "no earlier tags"),
        (["publish", "--max-churn", "2"], "--max-churn 2"),
        (["study", "--batches", "0"], "--batches 0"),
        (["study", "--train.workers", "0"], "--train.workers 0: expected"),
        (["study", "--train.inputs", "gtzan57"], "gtzan57"),
        (["show", "t1", "--seconds", "0"], "--seconds 0"),
        (["show", "t1", "--audio-root", "/nowhere"], "--audio-root /nowhere: no such folder"),
        (["vacuum", "--keep-runs", "0"], "--keep-runs 0"),
        (["plan", "--tracks", "{folder}/t.csv", "--price-per-hour", "-1"], "--price-per-hour -1"),
    ],
)
@pytest.mark.usefixtures("no_spark")
def test_errors_that_need_no_spark_are_reported_before_spark_starts(
    warehouse: Warehouse,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    for name, text in {"t.csv": "track_id\n1\n", "empty.csv": "", "text.parquet": "track_id\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "nested" / "inner").mkdir(parents=True)
    (tmp_path / "nested" / "inner" / "t.csv").write_text("track_id\n")
    given = [argument.format(folder=tmp_path) for argument in arguments]
    assert cli.main([*given, "--warehouse", warehouse.uri]) == 2
    assert message in capsys.readouterr().err
    assert not Path(warehouse.uri.removeprefix("file://"), "_tmp").exists()


def test_a_job_with_a_section_of_another_job_reads_that_section(tmp_path: Path) -> None:
    file = yaml_of(tmp_path, "tracks: t.csv\ningest: {columns: {id: none}}\ntrain: {model: linear}\nscore:\n")
    _, cfg = flags.parse("study", "", StudyConfig, command.Writing, ["--warehouse", "w", "--config", file])
    assert cfg.train.model == "linear"


@pytest.mark.parametrize("job", ["extract", "cluster", "train", "study"])
@pytest.mark.usefixtures("no_spark")
def test_a_warehouse_without_tracks_is_an_error_before_spark_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    (tmp_path / "wh").mkdir()
    (tmp_path / "wh" / "note.txt").write_text("no table")
    roots = ["--audio-root", str(tmp_path)] if job == "extract" else []
    assert cli.main([job, "--warehouse", str(tmp_path / "wh"), *roots]) == 2
    assert "no current 'tracks' table yet" in capsys.readouterr().err


@pytest.mark.parametrize("job", ON_A_WAREHOUSE)
@pytest.mark.usefixtures("no_spark")
def test_a_warehouse_that_does_not_exist_is_named_and_not_created(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str
) -> None:
    place = tmp_path / "wh"
    assert cli.main([job, *(["t1"] if job == "show" else []), "--warehouse", str(place)]) == 2
    output = "".join(capsys.readouterr())
    assert f"{place}: there is no warehouse at this place" in output
    assert "`genremill nightly`" in output
    assert list(tmp_path.iterdir()) == []


def completed(script: Path, *line: str) -> list[str]:
    """What bash offers for the last word of a command line."""
    text = (
        f"source {script}; COMP_WORDS=({' '.join(line)}); COMP_CWORD={len(line) - 1};"
        "_tyro_genremill; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    found = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_bash_completes_jobs_flags_and_choices(tmp_path: Path, shown: Callable[..., str]) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(shown("completion", "bash"))
    assert completed(script, "genremill", "t") == ["tables", "tag", "train"]
    assert completed(script, "genremill", "train", "--w") == ["--warehouse", "--workers"]
    assert completed(script, "genremill", "nightly", "--publish.max-c") == [
        *("--publish.max-churn", "--publish.max-churn-new", "--publish.max-class-shift"),
    ]
    assert completed(script, "genremill", "train", "--labels", "c") == ["cluster"]
    assert completed(script, "genremill", "train", "--dry") == ["--dry-run"]
    for job in ("tables", "plan"):  # they write nothing
        assert completed(script, "genremill", job, "--dry") == []


def test_an_unknown_shell_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "dos"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err
