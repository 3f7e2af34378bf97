"""The files for people who join the project agree with it."""

import re
import tomllib

import yaml

from tests.docs.documentation import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_names_the_version_and_the_license() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_ci_runs_targets_that_exist_on_versions_that_are_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    targets = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(commands)))
    assert targets == {"check", "test", "test-long", "release"}
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert targets <= known
    versions = {entry["python"] for entry in workflow["jobs"]["test"]["strategy"]["matrix"]["include"]}
    assert versions == {"3.11", "3.12"}
    assert PROJECT["requires-python"] == ">=3.11,<3.13"
    torch = next(one for one in PROJECT["dependencies"] if one.startswith("torch=="))
    installed = [command for command in commands if "pip" in command]
    assert installed
    assert all(torch in command for command in installed)


def test_issue_forms_are_complete() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert [form.stem for form in forms] == ["bug", "config", "wish"]
    for form in forms:
        if form.stem != "config":
            read = yaml.safe_load(form.read_text())
            assert read["name"]
            assert read["description"]
            ids = [item["id"] for item in read["body"]]
            assert len(ids) == len({*ids})
