"""The barrier around the decoder child: what the process may still do, and what the kernel lacks for it.

Landlock and seccomp are called directly, because this module should import little. Their numbers are those of
the kernel's headers `landlock.h`, `seccomp.h`, `audit.h` and `unistd.h`.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import struct
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38

LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
"""System calls with the same numbers on all architectures."""
SECCOMP = {"x86_64": 317, "aarch64": 277}
FCNTL = {"x86_64": 72, "aarch64": 25}
_RULESET_VERSION = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Number of rights for files by the ABI of Landlock that added the last of them."""
_TCP_ABI, _SCOPES_ABI = 4, 6
"""The ABIs that added the rights to bind and connect TCP, and to reach other processes."""

_SET_MODE_FILTER, _FLAGS = 1, 1 | 4 | 16
"""For all threads, without the workaround for Spectre that slows old kernels, and with an error number."""
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
"""Positions in `struct seccomp_data`."""
_SECOND_ARGUMENT = 24
ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
Line: TypeAlias = tuple[int, int, int, int]
"""A line of a filter: its code, how many lines to skip if equal and if not, and its value."""
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
SYSTEM_CALLS = {
    # memory
    "brk": (12, 214),
    "madvise": (28, 233),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    # open files and the channel
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "newfstatat": (262, 79),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "preadv2": (327, 286),
    "read": (0, 63),
    "recvmsg": (47, 212),
    "sendto": (44, 206),
    "write": (1, 64),
    # time, threads and signals of this process
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "gettid": (186, 178),
    "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
}
"""The system calls that decoding needs, with their numbers on x86_64 and aarch64.

None opens a file or socket, starts a process, or reaches another one. newfstatat is how the C library asks
for the size of an open file; with a path, it tells whether a file exists, its size and its times."""


def confine(memory_bytes: int, kept: Collection[int]) -> dict[str, str]:
    """Permanently gives up all rights that decoding does not need.

    `kept` are the file descriptors that stay open. Returns what could not be done, with the error.
    """
    _close_all_but(kept)
    os.environ.clear()
    _limit(memory_bytes)
    # If the parent has died before this call, the child ends because the channel is closed.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    lacking = {}
    for name, measure in MEASURES.items():
        try:
            measure()
        except OSError as err:
            lacking[name] = err.strerror or str(err)
    return lacking


def _close_all_but(kept: Collection[int]) -> None:
    for fd in set(map(int, os.listdir("/proc/self/fd"))).difference(kept):
        with contextlib.suppress(OSError):  # the descriptor of the listing is closed already
            os.close(fd)


def _limit(memory_bytes: int) -> None:
    """Limits memory, and forbids to write to files and to write a core file.

    It limits the address space (RLIMIT_AS), because RLIMIT_DATA does not include shared mappings. The 110 to
    150 MB of the imports do not count. With RLIMIT_FSIZE 0 no file can be written; the parent has already set
    the size of the memory for samples.
    """
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * mmap.PAGESIZE
    _set_limit(resource.RLIMIT_AS, used + memory_bytes)
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, 0)


def _set_limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _hide_memory() -> None:
    """No process of the same user can read or trace this process."""
    _prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """Programs get no more rights than this process, for example by their set-user-id bit."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _forbid_processes() -> None:
    """No new processes or threads, except for root, whom this limit does not bind."""
    _set_limit(resource.RLIMIT_NPROC, 0)


def _forbid_files() -> None:
    """Landlock without any rule: no file can be opened, made or removed."""
    abi = _system_call(LANDLOCK_CREATE_RULESET, None, 0, _RULESET_VERSION)
    attributes = ruleset(abi)
    made = _system_call(LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    _system_call(_LANDLOCK_RESTRICT_SELF, made, 0)
    os.close(made)


def ruleset(abi: int) -> bytes:
    """The `landlock_ruleset_attr` with all rights that an ABI of Landlock knows: none of them remains.

    >>> struct.unpack("QQQ", ruleset(1))
    (8191, 0, 0)
    """
    files = max(rights for since, rights in _FILE_RIGHTS.items() if since <= abi)
    return struct.pack("QQQ", (1 << files) - 1, 3 * (abi >= _TCP_ABI), 3 * (abi >= _SCOPES_ABI))


def _forbid_system_calls() -> None:
    """All system calls but `SYSTEM_CALLS` fail with EPERM; of fcntl, copies of descriptors remain."""
    column = list(ARCHITECTURES).index(_machine())
    refused = failure(errno.EPERM)
    copies = [
        (_IF_EQUAL, 0, 4, FCNTL[_machine()]),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_IF_EQUAL, 0, 1, fcntl.F_DUPFD_CLOEXEC),
        (_RETURN, 0, 0, ALLOW),
        (_RETURN, 0, 0, refused),
    ]
    install_filter({numbers[column]: ALLOW for numbers in SYSTEM_CALLS.values()}, refused, copies)


def failure(number: int) -> int:
    """The action of a filter that makes a system call fail with an error number."""
    return _ERROR | number


def install_filter(actions: Mapping[int, int], otherwise: int, special: Collection[Line] = ()) -> None:
    """Installs a seccomp filter for all threads: an action for each number of a system call, then `special`.

    System calls of another architecture end the process, because their numbers have another meaning.
    """
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, ARCHITECTURES[_machine()]),
        (_RETURN, 0, 0, _KILL),
    ]
    lines.append((_LOAD, 0, 0, _NUMBER))
    for number, action in actions.items():
        lines += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, action)]
    lines += [*special, (_RETURN, 0, 0, otherwise)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    described = struct.pack("HP", len(lines), ctypes.addressof(program))
    _system_call(SECCOMP[_machine()], _SET_MODE_FILTER, _FLAGS, described)


def _machine() -> str:
    machine = os.uname().machine
    if machine not in ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter for {machine}")
    return machine


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))):
        raise _last_error()


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result: int = _LIBC.syscall(ctypes.c_long(number), *converted)
    if result < 0:
        raise _last_error()
    return result


def _last_error() -> OSError:
    return OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


MEASURES: dict[str, Callable[[], None]] = {
    "PR_SET_DUMPABLE": _hide_memory,
    "NO_NEW_PRIVS": forbid_new_privileges,
    "RLIMIT_NPROC": _forbid_processes,
    "Landlock": _forbid_files,
    "seccomp": _forbid_system_calls,
}
"""What the kernel may lack, in the order in which it is done."""
