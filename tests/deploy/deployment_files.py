"""What the deployment files say: their commands, and the settings of Spark in them."""

import ast
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "infra" / "deploy"
JOB_FILE = re.compile(r"(?:.*/)?jobs/(\w+)\.py")


@dataclass(frozen=True)
class Command:
    """A command line of a job, and the file that holds it."""

    file: str
    job: str
    flags: list[str]


def spark_defaults() -> dict[str, str]:
    """The settings of `spark-defaults.conf`."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "spark-defaults.conf").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return {key: value.strip() for key, value in lines}


def document(name: str) -> Any:
    """A YAML or JSON file as objects."""
    return yaml.safe_load((DEPLOY / name).read_text())


def commands() -> list[Command]:
    """All command lines of jobs in the deployment files and in the README."""
    application = document("spark-application.yaml")["spec"]
    submitted = document("emr-serverless.json")["jobDriver"]["sparkSubmit"]
    return [
        Command("spark-application.yaml", "nightly", application["arguments"]),
        Command("emr-serverless.json", "nightly", submitted["entryPointArguments"]),
        Command("airflow_dag.py", "nightly", [*_dag_flags(), "--json"]),
        *_readme_commands(),
    ]


def _dag_flags() -> list[str]:
    """The DAG's flags, its templates rendered as text without blanks."""
    tree = ast.parse((DEPLOY / "airflow_dag.py").read_text())
    texts = [str(one.value) for one in ast.walk(tree) if isinstance(one, ast.Constant)]
    flags = [text for text in texts if text.startswith("--") and "{{" in text]
    return [re.sub(r"\{\{[^}]*\}\}", "rendered", flag) for flag in flags]


def systemd_unit() -> str:
    """The service in the README, as the file it stands for."""
    (block,) = (block for block in _readme_blocks() if "[Service]" in block)
    return "".join(line.removeprefix("    ") for line in block.splitlines(keepends=True))


def _readme_blocks() -> list[str]:
    """The indented blocks of the README's section on clusters."""
    section = (ROOT / "README.md").read_text().partition("## On your cluster")[2].partition("\n## ")[0]
    return re.findall(r"(?:^ {4}.*\n)+", section.replace("\\\n", ""), flags=re.MULTILINE)


def _readme_commands() -> list[Command]:
    blocks = _readme_blocks()
    objects = [block for block in blocks if block.lstrip().startswith("{")]
    lines = [line for block in blocks if block not in objects for line in block.splitlines()]
    scripts = [json.loads(block)["spark_python_task"] for block in objects]
    words = [shlex.split(line, comments=True) for line in lines]
    words += [[one["python_file"], *one["parameters"]] for one in scripts]
    return [one for one in map(_command, words) if one]


def _command(words: list[str]) -> Command | None:
    """The job's command line in a line of shell or of a unit; None where it runs no job."""
    for at, word in enumerate(words):
        if script := JOB_FILE.fullmatch(word):
            return Command("README.md", script[1], words[at + 1 :])
        if re.fullmatch(r"(ExecStart=)?(\S*bin/)?genremill", word) and words[at + 1 : at + 2]:
            return Command("README.md", words[at + 1], words[at + 2 :])
    return None
