"""Code that has taken over the decoder child can do nothing but decode, whatever the user and the kernel."""

import errno
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genremill.infra.audio.store import AudioStore
from genremill.jobs import doctor
from genremill.jobs.features.extraction import _extractors
from genremill.jobs.features.extraction_settings import Config
from genremill.udfs.decoding import confinement, sandbox
from genremill.udfs.decoding.sandbox import described
from genremill.udfs.decoding.settings import Barrier
from genremill.udfs.feature_sets import base

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
ORDINARY = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
FIND = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
"""An ordinary user who can reach Python, wherever it is: in CI images it may be in the folder of root."""
USERS = ["root", "ordinary user"]

NOT_BY_THE_FILTER = {"use an inherited descriptor": "EBADF", "use the environment": "ENOENT"}
"""The actions that fail because there is nothing to use; the filter refuses all others with EPERM."""
DONE_WITHOUT_SECCOMP = {
    "change the rights of a file",
    "read a link",
    "pidfd_open",
    "send a datagram",
    "a netlink socket",
    "a pair of sockets",
    "become dumpable",
    "outlive the parent",
    "stop the parent by its priority",
    "memfd_create",
    "unshare",
}
"""What Landlock does not refuse: it knows neither sockets but TCP, nor the properties of files."""
PROCESSES = {"fork", "a grandchild in a session of its own", "a thread"}
"""What only root can do without seccomp: RLIMIT_NPROC does not bind root."""
BY_KERNEL = {"let the kernel signal the parent", "userfaultfd", *PROCESSES}
"""What depends on the kernel or the user without seccomp."""


def attacked(folder: Path, user: str, missing: str = "") -> dict[str, Any]:
    """How the actions ended, for a worker of a user on a kernel that lacks a part of the confinement."""
    command = [
        sys.executable,
        "-m",
        "tests.audio.attacked_worker",
        str(folder),
        *([missing] if missing else ()),
    ]
    if user == "root" and os.getuid():
        pytest.skip("only root can run a worker as root")
    if user != "root" and os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv of util-linux is not installed, which runs a worker as an ordinary user")
        os.chown(folder, NOBODY, NOBODY)
        command = ["setpriv", *ORDINARY, *FIND, *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("missing", ["", "landlock"])
def test_the_filter_refuses_every_action(user: str, missing: str, tmp_path: Path) -> None:
    found = attacked(tmp_path, user, missing)
    assert found["ended"] == dict.fromkeys(found["ended"], "EPERM") | NOT_BY_THE_FILTER
    assert (found["left"], found["threads"]) == (0, "1")
    assert (tmp_path / "secret").read_text() == "secret"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audio", "secret", "victim"]


@pytest.mark.parametrize("user", USERS)
def test_without_seccomp_files_memory_and_tcp_are_still_out_of_reach(user: str, tmp_path: Path) -> None:
    found = attacked(tmp_path, user, "seccomp")
    done = {action for action, end in found["ended"].items() if end == "done"}
    assert done - BY_KERNEL == DONE_WITHOUT_SECCOMP
    refused = (
        "read a file",
        "read the parent's memory",
        "delete a file",
        "attach with ptrace",
        "raise the limits",
    )
    assert {found["ended"][action] for action in refused} == {"EACCES", "EPERM"}
    if user == "root":
        assert done >= PROCESSES
    else:
        assert not done & PROCESSES
        assert found["left"] == 0


@pytest.mark.parametrize("missing", ["landlock", "seccomp"])
def test_what_the_kernel_lacks_is_reported_and_may_be_required(missing: str, tmp_path: Path) -> None:
    found = attacked(tmp_path, "root" if os.getuid() == 0 else "ordinary user", missing)
    why = os.strerror(errno.ENOSYS)
    assert {name.lower(): error for name, error in found["lacking"].items()} == {missing: why}
    assert re.match(
        rf"--sandbox require: the kernel of \S+ lacks {missing} \({why}\)", found["require"], re.I
    )


def test_a_whole_barrier_fulfills_require(tmp_path: Path) -> None:
    found = attacked(tmp_path, "root" if os.getuid() == 0 else "ordinary user")
    assert found["lacking"] == {}
    assert found["require"] == "EPERM"  # the last action is done, and refused


def test_the_flag_reaches_the_workers_and_changes_no_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(sandbox, "Sandbox", lambda barrier: made.append(barrier))
    records = []
    for barrier in Barrier:
        (extractor,) = _extractors(Config(sandbox=barrier), AudioStore((str(tmp_path),)))
        sandbox.of_this_process.__wrapped__(extractor.barrier)
        records.append((base.fingerprint(base.record(extractor.features, {})), extractor.decode.decoder))
    assert made == [Barrier.AUTO, Barrier.REQUIRE]
    assert len(set(records)) == 1


def test_doctor_shows_the_sandbox_and_does_not_fail() -> None:
    outcome = doctor.results_of(doctor.SANDBOX)
    assert outcome.exit_code == 0
    assert "NO_NEW_PRIVS" in outcome.text
    assert described({"seccomp": "Invalid argument"}).endswith(
        "; the kernel lacks seccomp (Invalid argument)"
    )
    assert described({}) == ", ".join(confinement.MEASURES)


def test_doctor_shows_the_sandboxes_of_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON_CHECKS", {})
    (rows,) = doctor._on_executor(iter([pd.DataFrame()]))
    assert list(rows["name"]) == ["sandbox"]
    assert rows["ok"].all()
    assert "NO_NEW_PRIVS" in rows["found"][0]


@pytest.mark.parametrize(
    ("abi", "files", "tcp", "scopes"),
    [(1, 13, 0, 0), (2, 14, 0, 0), (3, 15, 0, 0), (4, 15, 3, 0), (5, 16, 3, 0), (6, 16, 3, 3), (9, 16, 3, 3)],
)
def test_the_rights_are_those_of_the_abi(abi: int, files: int, tcp: int, scopes: int) -> None:
    assert struct.unpack("QQQ", confinement.ruleset(abi)) == (2**files - 1, tcp, scopes)


@pytest.mark.parametrize(
    ("column", "header", "pattern"),
    [
        (0, "x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+) (\d+)"),
        (1, "asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+) (\d+)"),
    ],
    ids=list(confinement.ARCHITECTURES),
)
def test_the_numbers_are_those_of_the_kernels_headers(column: int, header: str, pattern: str) -> None:
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip(f"{path} is not installed")
    numbers = {name: int(number) for name, number in re.findall(pattern, path.read_text())}
    numbers["newfstatat"] = numbers.get("newfstatat", numbers.get("fstatat", 0))  # its generic name
    expected = {name: numbers[name] for name in confinement.SYSTEM_CALLS}
    assert {name: both[column] for name, both in confinement.SYSTEM_CALLS.items()} == expected
    assert list(confinement.SECCOMP.values())[column] == numbers["seccomp"]
    assert list(confinement.FCNTL.values())[column] == numbers["fcntl"]
    assert numbers["landlock_create_ruleset"] == confinement.LANDLOCK_CREATE_RULESET
