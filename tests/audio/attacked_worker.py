"""A worker whose decoder child attacks it; prints how each action ended, as JSON.

    python -m tests.audio.attacked_worker FOLDER [MISSING]

MISSING is a part that the simulated kernel lacks: a filter, which the child inherits, makes its system call
fail like an unknown one.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import sys
from pathlib import Path

import psutil

from genremill.infra.audio.faults import AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding import confinement
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.settings import Barrier, DecodeSettings
from tests.audio.attacking_decoder import ACTIONS

MODULE = "tests.audio.attacking_decoder"
SETTINGS = DecodeSettings(sr=22050, seconds=30)
PR_SET_CHILD_SUBREAPER = 36
MISSING = {
    "landlock": confinement.LANDLOCK_CREATE_RULESET,
    "seccomp": confinement.SECCOMP[os.uname().machine],
}


def main(folder: Path, missing: str = "") -> None:
    """Prepares the targets, does all actions, and prints their ends and what is left."""
    targets = _targets(folder)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # processes that got away become children
    if missing:
        confinement.forbid_new_privileges()
        confinement.install_filter({MISSING[missing]: confinement.failure(errno.ENOSYS)}, confinement.ALLOW)
    print(json.dumps(_attacked(folder, targets) | {"require": _with_require(folder)}))


def _targets(folder: Path) -> dict[str, object]:
    for name in ("secret", "victim"):
        (folder / name).write_text(name)
    inherited = fcntl.fcntl(os.open(folder / "secret", os.O_RDONLY), fcntl.F_DUPFD, 500)
    memory = ctypes.create_string_buffer(8)
    server, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(f"\0genremill-{os.getpid()}")
    unix.listen()
    KEPT.extend((memory, server, unix))
    return {
        "folder": str(folder),
        "inherited_fd": inherited,
        "address": ctypes.addressof(memory),
        "port": server.getsockname()[1],
        "unix_name": f"genremill-{os.getpid()}",
    }


def _attacked(folder: Path, targets: dict[str, object]) -> dict[str, object]:
    with Sandbox(module=MODULE) as sandbox:
        lacking = sandbox.lacking()
        status = Path(f"/proc/{sandbox.pid}/status").read_text().splitlines()
        ended = {}
        for action in ACTIONS:
            (folder / "audio").write_text(json.dumps({"action": action, "targets": targets}))
            ended[action] = _end(sandbox, folder)
    threads = next(line.split()[1] for line in status if line.startswith("Threads:"))
    return {"lacking": lacking, "ended": ended, "left": len(_left()), "threads": threads}


def _left() -> list[psutil.Process]:
    """The processes that live on after the child was killed; they are killed too."""
    psutil.wait_procs(found := psutil.Process().children(recursive=True), timeout=1)
    left = [process for process in found if process.is_running()]
    for process in left:
        process.kill()
    return left


def _end(sandbox: Sandbox, folder: Path) -> str:
    fd = os.open(folder / "audio", os.O_RDONLY)
    try:
        sandbox.decode(fd, SETTINGS)
    except AudioRejected as err:
        return err.detail
    finally:
        os.close(fd)
    return "decoded"


def _with_require(folder: Path) -> str:
    try:
        with Sandbox(barrier=Barrier.REQUIRE, module=MODULE) as sandbox:
            return _end(sandbox, folder)
    except UsageError as err:
        return str(err)


KEPT: list[object] = []
"""Targets that live as long as the worker."""

if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
