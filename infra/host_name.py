"""The name of this machine, which Java looks up when Spark starts."""

import os
import socket

LOCAL_IP = "SPARK_LOCAL_IP"
"""The variable with the address that Spark uses instead of looking up the name of the machine."""
LOOPBACK = "127.0.0.1"


def unresolved() -> str | None:
    """The name of this machine if it has no address and Spark would not start; None if all is well."""
    name = socket.gethostname()
    if os.environ.get(LOCAL_IP):
        return None
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return name
    return None


def advice(name: str) -> str:
    """What is wrong with the name of this machine, and how to fix it."""
    return (
        f"the host name {name!r} cannot be resolved; to fix it, add the line `{LOOPBACK} {name}` to "
        f"/etc/hosts, or set {LOCAL_IP}={LOOPBACK}"
    )
