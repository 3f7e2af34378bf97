"""A child for `Sandbox` that does what an attacker would try who controls the decoder.

A file names an action and its targets in JSON. The detail of the rejection says how the action ended: `done`,
or the name of the error. A system call with senseless arguments is refused if it ends with EPERM.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import decode as decoding
from genremill.udfs.decoding.child import serve
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Signal

LIBC = ctypes.CDLL(None, use_errno=True)
PARENT = os.getppid()
COLUMN = ("x86_64", "aarch64").index(os.uname().machine)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PTRACE_ATTACH, X32 = 1, 4, 16, 0x40000000


@dataclass(frozen=True)
class Targets:
    """What the worker has: a folder with a secret file, an open file, memory, and two servers."""

    folder: str
    inherited_fd: int
    address: int
    port: int
    unix_name: str

    @property
    def secret(self) -> str:
        return f"{self.folder}/secret"


def _check(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), "")


def _call(x86_64: int, aarch64: int, *arguments: int) -> None:
    _check(LIBC.syscall(*map(ctypes.c_long, ((x86_64, aarch64)[COLUMN], *arguments))))


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _write(path: str, flags: int = 0) -> None:
    os.close(os.open(path, os.O_WRONLY | flags))


def _copy_memory(x86_64: int, aarch64: int, address: int) -> None:
    mine = ctypes.create_string_buffer(8)
    pieces = (ctypes.c_size_t * 4)(ctypes.addressof(mine), 8, address, 8)
    remote = ctypes.addressof(pieces) + 16
    _call(x86_64, aarch64, PARENT, ctypes.addressof(pieces), 1, remote, 1, 0)


def _sleep() -> None:
    """The rest of a process that has got away."""
    time.sleep(1000)
    os._exit(0)


def _fork(*, session: bool = False) -> None:
    if os.fork() == 0:
        if session:
            os.setsid()
        _sleep()


def _thread() -> None:
    try:
        threading.Thread(target=time.sleep, args=(0,)).start()
    except RuntimeError as err:
        raise OSError(errno.EPERM, "") from err


def _connect(family: socket.AddressFamily, address: str | tuple[str, int]) -> None:
    with socket.socket(family) as client:
        client.connect(address)


def _listen() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()


def _send_datagram(port: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", port))


def _raise_limits() -> None:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        try:
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except ValueError as err:  # how Python reports EPERM
            raise OSError(errno.EPERM, "") from err


def _use_environment() -> None:
    if not os.environ:
        raise OSError(errno.ENOENT, "")


ACTIONS: dict[str, Callable[[Targets], object]] = {
    "read a file": lambda to: _read(to.secret),
    "read the parent's environment": lambda _: _read(f"/proc/{PARENT}/environ"),
    "read the parent's memory": lambda _: _read(f"/proc/{PARENT}/mem"),
    "list a folder": lambda to: os.listdir(to.folder),
    "write a file": lambda to: _write(to.secret),
    "make a file": lambda to: _write(f"{to.folder}/new", os.O_CREAT),
    "make a folder": lambda to: os.mkdir(f"{to.folder}/made"),
    "delete a file": lambda to: os.unlink(f"{to.folder}/victim"),
    "truncate a file": lambda to: os.truncate(to.secret, 0),
    "change the rights of a file": lambda to: os.chmod(to.secret, 0o666),
    "read a link": lambda _: os.readlink("/proc/self/exe"),
    "open an open file for writing": lambda _: _write("/proc/self/fd/0"),
    "use an inherited descriptor": lambda to: os.read(to.inherited_fd, 1),
    "use the environment": lambda _: _use_environment(),
    "attach with ptrace": lambda _: _call(101, 117, PTRACE_ATTACH, PARENT, 0, 0),
    "process_vm_readv": lambda to: _copy_memory(310, 270, to.address),
    "process_vm_writev": lambda to: _copy_memory(311, 271, to.address),
    "pidfd_open": lambda _: _call(434, 434, PARENT, 0),
    "fork": lambda _: _fork(),
    "a grandchild in a session of its own": lambda _: _fork(session=True),
    "clone3": lambda _: _call(435, 435, 0, 0),
    "vfork and exec": lambda _: subprocess.Popen(["/bin/sleep", "1000"]),
    "a thread": lambda _: _thread(),
    "exec": lambda _: os.execv("/no/such/program", ["program"]),
    "execveat": lambda _: _call(322, 281, -1, 0, 0, 0, 0),
    "listen": lambda _: _listen(),
    "connect": lambda to: _connect(socket.AF_INET, ("127.0.0.1", to.port)),
    "send a datagram": lambda to: _send_datagram(to.port),
    "connect to a unix socket": lambda to: _connect(socket.AF_UNIX, f"\0{to.unix_name}"),
    "a netlink socket": lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "a pair of sockets": lambda _: socket.socketpair(),
    "signal the parent": lambda _: os.kill(PARENT, 0),
    "signal a thread of the parent": lambda _: _call(234, 131, PARENT, PARENT, 0),
    "let the kernel signal the parent": lambda _: fcntl.fcntl(int(sys.argv[1]), fcntl.F_SETOWN, PARENT),
    "lock the file": lambda _: fcntl.fcntl(0, fcntl.F_SETLEASE, fcntl.F_RDLCK),
    "raise the limits": lambda _: _raise_limits(),
    "become dumpable": lambda _: _check(LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)),
    "outlive the parent": lambda _: _check(LIBC.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)),
    "stop the parent by its priority": lambda _: os.setpriority(os.PRIO_PROCESS, PARENT, 19),
    "io_uring_setup": lambda _: _call(425, 425, 0, 0),
    "bpf": lambda _: _call(321, 280, 0, 0, 0),
    "perf_event_open": lambda _: _call(298, 241, 0, 0, 0, 0, 0),
    "keyctl": lambda _: _call(250, 219, 0, 0, 0),
    "userfaultfd": lambda _: _call(323, 282, 0),
    "memfd_create": lambda _: os.memfd_create("name"),
    "unshare": lambda _: _call(272, 97, 0),
    "mount": lambda _: _call(165, 40, 0, 0, 0, 0, 0),
    "a system call of x32": lambda _: _call(X32 | 39, X32 | 172),
}


def decode(fd: int, settings: DecodeSettings, budget: Budget, out: Signal) -> Decoded:
    content = os.pread(fd, 4096, 0)
    if not content.startswith(b'{"action"'):
        return decoding.decode(fd, settings, budget, out)
    wanted = json.loads(content)
    ended = "done"
    try:
        ACTIONS[wanted["action"]](Targets(**wanted["targets"]))
    except OSError as err:
        ended = errno.errorcode.get(err.errno or 0, str(err))
    raise AudioRejected(AudioReason.DECODE_FAILED, ended)


if __name__ == "__main__":
    serve(decode)
