"""The job commands and the Spark settings in the deployment files."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.docs.documentation import blocks

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "infra" / "deploy"


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
    """All command lines of jobs in the deployment files."""
    application = document("spark-application.yaml")["spec"]
    submitted = document("emr-serverless.json")["jobDriver"]["sparkSubmit"]
    return [
        Command("spark-application.yaml", "nightly", application["arguments"]),
        Command("emr-serverless.json", "nightly", submitted["entryPointArguments"]),
        Command("airflow_dag.py", "nightly", [*_dag_flags(), "--json"]),
    ]


def _dag_flags() -> list[str]:
    """The DAG's flags, its templates rendered as text without blanks."""
    tree = ast.parse((DEPLOY / "airflow_dag.py").read_text())
    texts = [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    flags = [text for text in texts if text.startswith("--") and "{{" in text]
    return [re.sub(r"\{\{[^}]*\}\}", "rendered", flag) for flag in flags]


def systemd_unit() -> str:
    """The text of the service unit on the page about systemd."""
    (unit,) = (block.text for block in blocks("ini") if "[Service]" in block.text)
    return unit
