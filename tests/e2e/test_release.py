"""`make release`: what is in `dist`, its digests, and its software bill of materials."""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make release` fills in a clean copy of the tracked files."""
    folder = tmp_path_factory.mktemp("release")
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    for name in tracked.stdout.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(["make", "--silent", "release"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "dist"


@pytest.fixture(scope="module")
def bill(dist: Path) -> Any:
    (path,) = dist.glob("*.cdx.json")
    return json.loads(path.read_text())


def test_every_artifact_has_its_digest(dist: Path) -> None:
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    artifacts = {path.name: path for path in dist.iterdir() if path.name != "SHA256SUMS"}
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in artifacts.items()}
    assert {name: digest for digest, name in lines} == found
    assert {"".join(Path(name).suffixes[-2:]) for name in artifacts} >= {".tar.gz", ".cdx.json"}
    assert len(artifacts) == 3


def test_the_bill_lists_the_locked_versions_and_torch_with_their_digests(bill: Any) -> None:
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "genremill"
    assert bill["metadata"]["component"]["licenses"]
    lock = (ROOT / "requirements.lock").read_text()
    torch = re.search(r"torch==([\d.]+)", (ROOT / "pyproject.toml").read_text())
    assert torch is not None
    locked = dict(re.findall(r"^([^#\s]\S*)==(\S+)", lock, re.MULTILINE)) | {"torch": torch[1]}
    assert {one["name"].lower(): one["version"] for one in bill["components"]} == locked
    digests = {
        one["name"]: set(re.findall(r"\b[0-9a-f]{64}\b", json.dumps(one))) for one in bill["components"]
    }
    assert digests.pop("torch") == set()
    assert set().union(*digests.values()) == set(re.findall(r"sha256:(\w{64})", lock))


def test_the_bill_names_no_package_index_but_the_public_one(bill: Any) -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", json.dumps(bill["components"])))
    assert hosts <= {"pypi.org"}


@pytest.fixture(scope="module")
def bare(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, which finds other packages where this one does."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (wheel,) = dist.glob("*.whl")
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    # Files such as the link to this checkout only count in the folder of an environment itself.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run_in(bare: Path, folder: Path, *command: str) -> str:
    """The output of a program in the environment, in another folder, without settings from outside."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "JAVA_HOME") if name in os.environ}
    environment["NUMBA_CACHE_DIR"] = str(folder / "numba")
    program = str(bare / command[0])
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_wheel_works_in_a_bare_environment(bare: Path, tmp_path: Path) -> None:
    place = "import genremill.infra; print(genremill.infra.__path__[0])"
    package = Path(run_in(bare, tmp_path, "python", "-c", place).strip())
    assert package.is_relative_to(bare.parent)
    assert {path.name for path in (package / "deploy").iterdir()} >= {"Dockerfile", "spark-defaults.conf"}
    written = run_in(bare, tmp_path, "genremill", "demo", "--tracks", "100", "--clips", "4")
    command = written.splitlines()[-1].split()
    assert command[:2] == ["genremill", "nightly"]
    assert "0000.wav" in run_in(bare, tmp_path, "genremill", "tag", "genremill-demo/clips/0000.wav")
    assert "not compiled for this CPU" in run_in(bare, tmp_path, "genremill", "doctor")
    compiled = run_in(bare, tmp_path, "genremill", "doctor", "--compile")
    assert re.search(r"numba kernels\s+\d+ compiled", compiled)
    assert "ingest would run" in run_in(bare, tmp_path, *command, "--dry-run")
