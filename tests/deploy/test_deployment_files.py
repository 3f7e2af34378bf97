"""The deployment files agree with the command line, the jars and the schemas of the platforms."""

import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyspark
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from genremill.jobs import command
from genremill.jobs.flags import parse
from tests.deploy.deployment_files import (
    DEPLOY,
    ROOT,
    Command,
    commands,
    document,
    spark_defaults,
    systemd_unit,
)
from tests.deploy.dockerfile import DOCKERFILE, JARS, instructions

SETTINGS = {key: value for key, value in spark_defaults().items() if not key.startswith("spark.jars.")}
"""Settings that every platform has; some platforms get the jars in another way."""
SESSION = """
import json, sys
from genremill.infra.session import spark_session
with spark_session("genremill settings") as spark:
    spark.sparkContext._jsc.hadoopConfiguration().getClassByName("org.apache.hadoop.fs.s3a.S3AFileSystem")
    print(json.dumps(dict(spark.sparkContext.getConf().getAll())))
sys.exit(4)
"""


def jars() -> Path:
    if not JARS.is_dir():
        pytest.skip(f"{JARS} is not here; set GENREMILL_TEST_JARS to the folder with S3A's jars")
    return JARS


@pytest.mark.parametrize("one", commands(), ids=lambda one: f"{one.file} {one.job}")
def test_every_command_has_flags_that_the_job_accepts(one: Command, tmp_path: Path) -> None:
    module = importlib.import_module(f"genremill.jobs.{one.job}")
    flags = list(one.flags)
    if "--config" in flags:  # a file that the user provides
        (tmp_path / "genremill.yaml").write_text("warehouse: wh\ntracks: tracks.csv\n")
        flags[flags.index("--config") + 1] = str(tmp_path / "genremill.yaml")
    shared, _ = parse(one.job, "", module.Config, getattr(module, "Common", command.Writing), flags)
    assert shared.warehouse


def test_commands_are_found_in_every_deployment_file() -> None:
    files = {one.file for one in commands()}
    assert files == {"spark-application.yaml", "emr-serverless.json", "airflow_dag.py"}


def test_every_file_is_in_the_documentation() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "deploy").glob("*.md"))
    files = {path.name for path in DEPLOY.iterdir() if path.is_file()} - {"log4j2.properties"}
    by_target = {"cluster.py": "make cluster-up", "archive.py": "make archive"}
    assert not [name for name in sorted(files) if by_target.get(name, name) not in pages]


def test_packages_are_the_tested_jars() -> None:
    packages = [one.split(":") for one in spark_defaults()["spark.jars.packages"].split(",")]
    assert not [name for _, *name in packages if not (jars() / f"{'-'.join(name)}.jar").is_file()]


def test_checksums_match_the_jars() -> None:
    listed = dict(line.split()[::-1] for line in (DEPLOY / "jars.sha256").read_text().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in jars().glob("*.jar")}
    assert listed == found


def test_a_session_uses_the_settings_and_spark_submit_returns_the_exit_code(tmp_path: Path) -> None:
    script = tmp_path / "settings.py"
    script.write_text(SESSION)
    own = {
        "spark.jars.packages": "",  # instead of downloads by Spark
        "spark.jars.excludes": "",
        "spark.jars": ",".join(map(str, jars().glob("*.jar"))),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
    }
    spark_home = Path(pyspark.__file__).parent
    submit = [f"{spark_home}/bin/spark-submit", "--master", "local[1]"]
    done = subprocess.run(
        [*submit, *(f"--conf={key}={value}" for key, value in own.items()), str(script)],
        env={**os.environ, "SPARK_CONF_DIR": str(DEPLOY), "PYSPARK_PYTHON": sys.executable},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert {key: found[key] for key in SETTINGS} == SETTINGS
    if pyspark.__version__ >= "4.1":  # since then, Spark selects the magic committer itself
        assert "PathOutputCommitProtocol" in found["spark.sql.sources.commitProtocolClass"]


def test_one_night_and_scheduled_nights_have_the_same_specification() -> None:
    night, nights = document("spark-application.yaml"), document("scheduled-spark-application.yaml")
    assert nights["spec"]["template"] == night["spec"]


def test_kubernetes_has_the_settings_of_the_other_clusters() -> None:
    spec = document("spark-application.yaml")["spec"]
    found = spec["sparkConf"] | {
        "spark.driver.memory": spec["driver"]["memory"],
        "spark.executor.memory": spec["executor"]["memory"],
        "spark.executor.cores": str(spec["executor"]["cores"]),
        "spark.executor.memoryOverheadFactor": spec["memoryOverheadFactor"],
    }
    assert found == SETTINGS


def test_emr_has_the_settings_of_the_other_clusters() -> None:
    overrides = document("emr-serverless.json")["configurationOverrides"]
    found = overrides["applicationConfiguration"][0]["properties"]
    assert {key: found.get(key) for key in SETTINGS} == SETTINGS


def test_versions_match_the_package() -> None:
    spec = document("spark-application.yaml")["spec"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    assert spec["sparkVersion"] == locked["pyspark"]
    assert spec["image"].endswith(f":{project['version']}")
    assert f"genremill:{project['version']}" in (ROOT / "docs" / "deploy" / "docker.md").read_text()


@pytest.mark.parametrize("name", ["spark-application.yaml", "scheduled-spark-application.yaml"])
def test_kubernetes_files_are_valid_for_the_operator(name: str) -> None:
    models: Any = pytest.importorskip("kubeflow_spark_api.models", reason="no kubeflow-spark-api here")
    wanted = document(name)
    # The models drop unknown fields: a misspelled field is missing in the result.
    assert getattr(models, f"SparkV1beta2{wanted['kind']}").from_dict(wanted).to_dict() == wanted
    restart = wanted["spec"].get("template", wanted["spec"])["restartPolicy"]["type"]
    assert restart in ("Never", "Always", "OnFailure")


def test_the_emr_job_is_valid_for_the_service() -> None:
    service = ServiceModel(Loader().load_service_model("emr-serverless", "service-2"))
    shape = service.operation_model("StartJobRun").input_shape
    request = document("emr-serverless.json") | {"clientToken": "genremill-2026-11-21"}
    assert ParamValidator().validate(request, shape).generate_report() == ""
    assert list(_misfits(request, shape)) == []


def _misfits(value: Any, shape: Any) -> Iterator[str]:
    """Texts that do not match their pattern or enumeration, which botocore does not check."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from _misfits(inner, shape.members[name])
    elif shape.type_name == "list":
        for inner in value:
            yield from _misfits(inner, shape.member)
    elif shape.type_name == "map":
        for inner in value.values():
            yield from _misfits(inner, shape.value)
    elif shape.type_name == "string":
        pattern, names = shape.metadata.get("pattern"), shape.metadata.get("enum")
        if (pattern and not re.fullmatch(pattern, value)) or (names and value not in names):
            yield value


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "genremill.service"
    unit.write_text(re.sub("ExecStart=\\S+", "ExecStart=/bin/true", systemd_unit()))
    verify = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_dockerfile_has_no_findings() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    lint = [hadolint, "--no-color", str(DOCKERFILE)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_dockerfile_copies_existing_files_and_does_not_run_as_root() -> None:
    steps = list(instructions(DOCKERFILE.read_text()))
    copied = [one.text.split() for one in steps if one.keyword == "COPY" and "--from" not in one.text]
    sources = [word for words in copied for word in words[:-1] if not word.startswith("--")]
    assert {"jobs", "udfs", "models", "infra"} < set(sources)
    assert not [source for source in sources if not (ROOT / source).exists()]
    assert [one.text for one in steps if one.keyword == "USER"] == ["185"]
    assert sum(one.keyword == "FROM" for one in steps) > 2


def test_the_image_decodes_with_the_libsndfile_of_debian() -> None:
    steps = [one.text for one in instructions(DOCKERFILE.read_text()) if one.keyword == "RUN"]
    installed = next(number for number, step in enumerate(steps) if "libsndfile1=" in step)
    removed = next(number for number, step in enumerate(steps) if "_soundfile_data" in step)
    assert installed < removed
    assert steps[removed].startswith("rm -r ")
    assert "/usr/lib/.*/libsndfile" in steps[removed]  # the build fails if another one is loaded


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (2, 2), (3, 0), (4, 4)])
def test_entrypoint_starts_the_driver_and_reports_its_exit_code(code: int, seen: int, tmp_path: Path) -> None:
    if shutil.which("tini") is None:
        pytest.skip("tini is not installed")
    submit = tmp_path / "bin" / "spark-submit"
    submit.parent.mkdir()
    submit.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@"\nexit {code}\n')
    submit.chmod(0o755)
    done = subprocess.run(
        [DEPLOY / "entrypoint.sh", "driver", "--class", "a.Runner", "local:///a file.py"],
        env={"PATH": "/usr/bin:/bin", "SPARK_HOME": str(tmp_path), "SPARK_DRIVER_BIND_ADDRESS": "10.0.0.7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == seen
    assert "spark.driver.bindAddress=10.0.0.7" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-3:] == ["--class", "a.Runner", "local:///a file.py"]
