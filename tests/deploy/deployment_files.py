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


def _readme_commands() -> list[Command]:
    section = (ROOT / "README.md").read_text().partition("## On your cluster")[2].partition("\n## ")[0]
    blocks = re.findall(r"(?:^ {4}.*\n)+", section.replace("\\\n", ""), flags=re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    shell = [line for line in lines if not line.lstrip().startswith("{")]
    found = [_command(shlex.split(line, comments=True)) for line in shell]
    scripts = [json.loads(block)["spark_python_task"] for block in blocks if block.lstrip().startswith("{")]
    named = [[one["python_file"], *one["parameters"]] for one in scripts]
    return [one for one in [*found, *map(_command, named)] if one]


def _command(words: list[str]) -> Command | None:
    """The job's command line in a line of shell or of a unit; None where it runs no job."""
    for at, word in enumerate(words):
        if script := JOB_FILE.fullmatch(word):
            return Command("README.md", script[1], words[at + 1 :])
        if " " in word and "genremill" in word:  # a script given to `sh -c`
            return _command(shlex.split(word.partition("||")[0]))
        if re.fullmatch(r"(ExecStart=)?(\S*bin/)?genremill", word) and words[at + 1 : at + 2]:
            return Command("README.md", words[at + 1], words[at + 2 :])
    return None
