"""The tables in the documentation agree with the code."""

import dataclasses
import enum
import importlib
import re
import tomllib
from typing import Any

import pytest

from genremill.infra.audio.faults import AudioReason
from genremill.infra.errors import ExitCode
from genremill.jobs import command, contracts
from genremill.jobs.audits.audit import Limits
from genremill.jobs.cli import JOBS, TOOLS
from genremill.jobs.contracts import Reason, Status, Table
from genremill.jobs.flags import declared
from genremill.jobs.nights import record as night_record
from genremill.models import artifact, zoo
from genremill.udfs.dsp.augmentation import Variant
from genremill.udfs.feature_sets import registry
from genremill.udfs.feature_sets.registry import SpectrogramKind
from tests.docs.documentation import DOCS, PAGES, ROOT, blocks, code, name_of, rows_of, section, table, tables
from tests.pure.zoo_cases import card_of, parameter_count

CONTRACTS = {one.name: one for one in vars(contracts).values() if isinstance(one, Table)}
TRINO = {
    "string": "varchar",
    "int": "integer",
    "float": "real",
    "array<string>": "array(varchar)",
    "array<struct<label:string,probability:float>>": "array(row(label varchar, probability real))",
    "array<struct<cluster_id:int,probability:float>>": "array(row(cluster_id integer, probability real))",
}


def documented_columns(table: str) -> list[tuple[str, str]]:
    """Names and types of the columns that the page lists."""
    rows = rows_of(section("tables.md", f"## `{table}`"), "column", "type")
    return [(code(row[0])[0], row[1]) for row in rows]


def expected_columns(contract: Table) -> list[tuple[str, str]]:
    return [(field.name, field.dataType.simpleString()) for field in contract.schema]


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_column_and_type_is_documented(name: str) -> None:
    assert documented_columns(name) == expected_columns(CONTRACTS[name])


def test_no_other_table_is_documented() -> None:
    assert set(re.findall(r"^## `(\w+)`$", (DOCS / "tables.md").read_text(), flags=re.M)) == set(CONTRACTS)


def test_the_key_of_each_table_is_documented() -> None:
    for name, contract in CONTRACTS.items():
        said = re.findall(r"Key: `(\w+)`", section("tables.md", f"## `{name}`"))
        assert said == ([contract.key] if contract.key else [])


def test_the_trino_example_has_the_columns_of_tags() -> None:
    (statement,) = (block.text for block in blocks("sql") if "external_location" in block.text)
    shown = re.findall(
        r"^  (\w+) (.*?),?$", statement.partition("(\n")[2].partition("\n) WITH")[0], flags=re.M
    )
    assert shown == [(name, TRINO[kind]) for name, kind in expected_columns(contracts.TAGS)]


@pytest.mark.parametrize(
    ("heading", "values"),
    [("`status`", Status), ("`reason` of a row", Reason), ("`reason` of a file", AudioReason)],
)
def test_every_status_and_reason_is_documented(heading: str, values: type[enum.StrEnum]) -> None:
    assert [code(row[0])[0] for row in table("tables.md", heading)] == [one.value for one in values]


def test_the_keys_of_a_nights_record_are_documented() -> None:
    rows = table("nightly.md", "key", "meaning")
    assert {key for row in rows for key in code(row[0])} == {
        one.name for one in dataclasses.fields(night_record.Night)
    }
    steps = next(row[1] for row in rows if code(row[0]) == ["steps"])
    assert {one.name for one in dataclasses.fields(night_record.StepRecord)} <= set(code(steps))


def test_every_exit_code_is_documented() -> None:
    for page in ("nightly.md", "command-line.md"):
        assert [int(row[0]) for row in table(page, "code")] == [one.value for one in ExitCode]


def _models() -> str:
    """The models as a Markdown table. Parameters are counted at the size that the source of a model has."""
    lines = ["| model | takes | parameters | from |", "|---|---|---|---|"]
    for name, entry in zoo.ZOO.items():
        shape, count = "", "by its inputs"
        if entry.of is not None:
            shape = " " + " × ".join(f"{size:,}" for size in entry.of[0])
            count = f"{parameter_count(artifact.build(card_of(name, *entry.of))):,}"
        given = "" if entry.feature_set is None else f", `{entry.feature_set}`"
        lines.append(f"| `{name}` | {entry.input_kind}{shape}{given} | {count} | {entry.source} |")
    return "\n".join(lines) + "\n"


def test_the_models_are_listed_as_they_are() -> None:
    expected = _models()
    assert expected in (DOCS / "models.md").read_text(), f"expected in docs/models.md:\n{expected}"


def test_every_feature_set_is_listed_with_the_shape_of_its_values() -> None:
    rows = {code(row[0])[0]: row for row in table("audio.md", "feature set")}
    spectrogram = rows.pop("spectrogram:KIND")
    assert code(spectrogram[2]) == [one.value for one in SpectrogramKind]
    assert rows.pop("onnx:FILE")[1] == "any"
    listed = {name: row[1] for name, row in rows.items() if name != registry.VGGISH}
    listed |= {f"spectrogram:{kind}": spectrogram[1] for kind in SpectrogramKind}
    assert registry.VGGISH in rows
    assert listed == {
        name: " × ".join(map(str, make().shape)) for name, make in registry.FEATURE_SETS.items()
    }


def test_every_variant_is_listed() -> None:
    assert [code(row[0])[0] for row in table("audio.md", "variant")] == [one.value for one in Variant]


def defaults_of(job: str) -> dict[str, Any]:
    """Defaults of a job's flags by name."""
    module = importlib.import_module(f"genremill.jobs.{job}")
    if job in TOOLS:
        return {name: flag.default for name, flag in declared(module.Options).items()}
    shared = getattr(module, "Common", command.Writing)
    flags = declared(shared) | declared(module.Config)
    return {name: flag.default for name, flag in flags.items()}


def flag_tables() -> list[tuple[str, str, str, str]]:
    """Page, job, flag and default of each row of a table of flags."""
    found = []
    for page in PAGES:
        for rows in tables(page.read_text()):
            names = [cell.partition(" of ")[0] for cell in rows[0]]
            if "flag" not in names or "default" not in names:
                continue
            at, default_at = names.index("flag"), names.index("default")
            of = code(rows[0][at])
            job = of[0] if of else "vacuum" if code(rows[1][at]) == ["--keep-runs"] else "nightly"
            for row in rows[1:]:
                found += [(name_of(page), job, flag, row[default_at]) for flag in code(row[at])]
    return found


def shown(default: object) -> str:
    """A default as a table shows it."""
    if default is dataclasses.MISSING:
        return "required"
    if isinstance(default, bool):
        return "on" if default else "off"
    if default is None or default == ():
        return "none"
    values = default if isinstance(default, tuple) else (default,)
    return " ".join(str(one) for one in values)


@pytest.mark.parametrize(("page", "job", "flag", "default"), flag_tables())
def test_a_flag_has_the_default_that_is_shown(page: str, job: str, flag: str, default: str) -> None:
    defaults = defaults_of(job)
    assert flag.removeprefix("--") in defaults, f"{page}: {job} has no flag {flag}"
    expected = shown(defaults[flag.removeprefix("--")])
    assert default.strip("`") == expected, f"{page}: the default of {flag} is {expected}"


def test_every_limit_of_an_audit_is_documented() -> None:
    flags = {code(row[1])[0] for row in table("nightly.md", "what is measured")}
    limits = {f"--publish.{one.name.replace('_', '-')}" for one in dataclasses.fields(Limits)}
    assert flags == limits | {"--ingest.max-vanished", "--ingest.max-lost-columns"}


def test_every_flag_in_text_exists() -> None:
    known = {f"--{name}" for job in (*JOBS, "tag") if job != "doctor" for name in defaults_of(job)}
    known |= {"--help", "--no-resume", "--no-pool-artists"}
    of_other_programs = {
        "--archives",
        "--build-arg",
        "--conf",
        "--master",
        "--no-deps",
        "--only",
        "--python-prefix",
    }
    for page in PAGES:
        named = set(re.findall(r"`(--[\w.-]+)(?<!\.)", page.read_text()))
        assert named <= known | of_other_programs, name_of(page)


def test_every_folder_of_tests_is_described() -> None:
    folders = {f"tests/{init.parent.name}" for init in (ROOT / "tests").glob("*/__init__.py")}
    assert {code(row[0])[0] for row in table("contributing.md", "folder", "what it tests")} == folders


def test_every_flag_of_tag_is_documented() -> None:
    assert {flag for row in table("tag.md", "flag of `tag`") for flag in code(row[0])} == {
        f"--{name}" for name in defaults_of("tag")
    }


def test_one_table_lists_all_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = {
        code(row[0])[0]: row[1] for row in rows_of(section("install.md", "## Extras"), "extra", "packages")
    }
    assert sorted(rows) == sorted(extras)
    packages = {name: [re.split(r"[<>=]", one)[0] for one in needed] for name, needed in extras.items()}
    assert {name: row.split(", ") for name, row in rows.items() if name != "dev"} == {
        name: needed for name, needed in packages.items() if name != "dev"
    }
