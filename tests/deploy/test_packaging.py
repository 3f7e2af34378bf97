"""What is installed: the wheel, the package's list of folders, and every entry point of a job."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pyspark
import pytest

from genremill.jobs.cli import JOBS

ROOT = Path(__file__).parents[2]
FLOORS = ("jobs", "udfs", "models", "infra")
NOT_SUBPACKAGES = {"infra/deploy", "infra/package"}
"""Deployment files, and the files of the root package."""
MODULES = ("genremill", "genremill.jobs.cli", "genremill.jobs.demo", "genremill.jobs.replica")


def _files(suffix: str) -> list[Path]:
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", *FLOORS], capture_output=True, text=True, check=True
    ).stdout.split()
    return [Path(name) for name in tracked if name.endswith(suffix)]


def test_every_folder_with_code_is_a_package_of_the_wheel() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {str(file.parent) for file in _files(".py")} - NOT_SUBPACKAGES
    assert sorted(listed) == sorted(["genremill", *(f"genremill.{one.replace('/', '.')}" for one in folders)])
    assert [one for one in folders if not (ROOT / one / "__init__.py").exists()] == []


def test_all_weights_are_listed_with_source_license_and_digest() -> None:
    notice = (ROOT / "NOTICE").read_text()
    listed = dict(
        re.findall(r"^(\S+)\n  what:.+\n  source:.+\n  license:.+\n  sha256:  (\w+)$", notice, re.M)
    )
    weights = [*_files(".onnx"), *_files(".safetensors")]
    assert listed == {str(file): hashlib.sha256((ROOT / file).read_bytes()).hexdigest() for file in weights}


def test_every_locked_version_has_hashes_and_torch_is_pinned_elsewhere() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = re.findall(r"^(\S+)==\S+ \\\n((?:    --hash=sha256:\w{64}(?: \\)?\n)+)", lock, re.M)
    names = re.findall(r"^([^#\s]\S*)==", lock, re.M)
    assert [name for name, _ in locked] == names
    assert len(names) > 80
    assert "torch" not in names
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(re.fullmatch(r"torch==[\d.]+", one) for one in project["dependencies"])
    direct = {re.split(r"[<>=]", one)[0].lower() for one in project["dependencies"]}
    assert direct - set(names) == {"torch"}


def test_the_lock_file_names_no_package_index() -> None:
    assert re.search(r"://|--(extra-)?index|--find-links", (ROOT / "requirements.lock").read_text()) is None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed, with nothing else of this checkout on the path."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    for name in tracked.stdout.split():  # a copy: building leaves files beside the sources
        if name.startswith((*FLOORS, "pyproject.toml", "README.md", "LICENSE", "NOTICE")):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = folder.glob("genremill-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _isolated(site: Path, *command: str) -> str:
    """The output of a Python process that imports from the wheel before this checkout."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{command[0]}", *command[1:]],
        capture_output=True,
        text=True,
        cwd=site,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_code_templates_weights_and_deployment_files(installed: Path) -> None:
    endings = (".py", ".j2", ".onnx", ".yaml", ".safetensors", ".properties")
    expected = [file for ending in endings for file in _files(ending)]
    root = installed / "genremill"
    missing = [
        str(file)
        for file in expected
        if str(file.parent) not in NOT_SUBPACKAGES
        and not (root / file).is_file()
        and file.parts[1] != "package"
    ]
    assert missing == []
    assert (root / "__init__.py").is_file()
    assert (root / "__main__.py").is_file()


def test_the_wheel_runs_a_job_and_finds_its_weights(installed: Path) -> None:
    code = (
        "import genremill.jobs.cli as cli\n"
        "from genremill.udfs.feature_sets import registry\n"
        "print(cli.__file__, registry.named('musicnn').shape[0])\n"
        "sys.exit(cli.main(['--version']))"
    )
    file, values, *version = _isolated(installed, code).split()
    assert file.startswith(str(installed))
    assert values == "250"
    assert version[0] == "genremill"


@pytest.mark.parametrize("module", MODULES)
def test_python_m_runs_every_entry_point(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


@pytest.mark.parametrize("job", sorted(JOBS))
def test_every_job_runs_as_a_script(job: str) -> None:
    """`spark-submit` puts `jobs/` first on the path: its folders must not shadow another package."""
    script = ROOT / "jobs" / f"{job}.py"
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--warehouse" in done.stdout


def test_spark_submit_runs_a_job(tmp_path: Path) -> None:
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    script = ROOT / "jobs" / "ingest.py"
    flags = ["--warehouse", str(tmp_path / "warehouse"), "--tracks", str(tmp_path / "none.csv")]
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    done = subprocess.run([str(submit), str(script), *flags], env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "none.csv" in done.stdout + done.stderr
