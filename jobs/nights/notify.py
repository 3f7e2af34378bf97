"""Tells other systems how a night ended: posts a signed JSON document, and runs a program."""

import hashlib
import hmac
import os
import shlex
import shutil
import subprocess
import time
from typing import Any
from urllib.parse import urlsplit

from genremill.infra import records
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights.mlflow_export import figures
from genremill.jobs.nights.page import verdict
from genremill.jobs.nights.record import PAGE, Night

SECRET, TOKEN = "GENREMILL_NOTIFY_SECRET", "GENREMILL_NOTIFY_TOKEN"
"""Environment variables: the key of the signature, and a token for the header Authorization."""
FROM_ENVIRONMENT = "env:"
SIGNATURE = "X-Genremill-Signature"
ATTEMPTS, PAUSE_S, TIMEOUT_S, COMMAND_S = 4, 1.0, 10.0, 60.0
RETRIED = (408, 429, 500, 502, 503, 504)
"""Status codes after which another attempt may succeed."""


def check(url: str | None, command: str | None) -> None:
    """Raises `UsageError` if a URL or a command cannot be used; the message repeats no secrets."""
    if url is not None:
        parts = urlsplit(_resolved(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--notify {_shown(url)}: expected a URL such as https://example.org/hook")
        if parts.username or parts.password:
            raise UsageError(
                f"--notify {_shown(url)}: the URL contains credentials. Remove them, and set {TOKEN}, which "
                "is sent as a bearer token"
            )
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as err:
            raise UsageError(f"--notify-command: {err}") from err
        if not words or shutil.which(words[0]) is None:
            found = repr(words[0]) if words else "an empty text"
            raise UsageError(f"--notify-command: expected a program and its arguments, found {found}")


def _resolved(url: str) -> str:
    """The URL, or the value of the environment variable that `env:NAME` names."""
    name = url.removeprefix(FROM_ENVIRONMENT)
    if name == url:
        return url
    if not os.environ.get(name):
        raise UsageError(f"--notify {url}: the environment variable {name} is not set")
    return os.environ[name]


def _shown(url: str) -> str:
    """The scheme and host of a URL: its path may be a secret."""
    parts = urlsplit(_resolved(url))
    return f"{parts.scheme}://{parts.hostname or '…'}/…"


def document(warehouse: Warehouse, night: Night) -> dict[str, Any]:
    """The verdict of a night as a JSON document."""
    return {
        "run_id": night.run_id,
        "warehouse": warehouse.uri,
        "started_at": night.started_at,
        "seconds": night.seconds,
        "verdict": verdict(night),
        "exit_code": int(night.exit_code),
        "error": night.error,
        "steps": {step.name: step.state.value for step in night.steps},
        "model_version": night.metrics.get("model_version"),
        "figures": figures(night),
        "report": warehouse.path("reports", night.run_id, PAGE),
    }


def send(url: str | None, command: str | None, warehouse: Warehouse, night: Night) -> None:
    """Posts the verdict and runs the program. If that fails, it is only logged."""
    body = records.to_json(document(warehouse, night))
    if url is not None:
        _post(url, body)
    if command is not None:
        _run(command, body)


def _post(url: str, body: bytes) -> None:
    import urllib3

    headers = {"Content-Type": "application/json", "User-Agent": "genremill"}
    if secret := os.environ.get(SECRET):
        headers[SIGNATURE] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    if token := os.environ.get(TOKEN):
        headers["Authorization"] = f"Bearer {token}"
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_S * (2**attempt - 1))
        # The retries of urllib3 would write the path of the URL, which may be a secret, to the log.
        with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False) as pool:
            try:
                status = pool.request("POST", _resolved(url), body=body, headers=headers).status
            except urllib3.exceptions.HTTPError as err:
                problem = f"not sent: {type(err).__name__}"
                continue
        if 200 <= status < 300:
            return
        problem = f"the server answered with status {status}"
        if status not in RETRIED:
            break
    LOGGER.warning("--notify %s: %s", _shown(url), problem)


def _run(command: str, body: bytes) -> None:
    try:
        done = subprocess.run(shlex.split(command), input=body, stdout=subprocess.DEVNULL, timeout=COMMAND_S)
    except (OSError, subprocess.TimeoutExpired) as err:
        LOGGER.warning("--notify-command: %s", err)
        return
    if done.returncode:
        LOGGER.warning("--notify-command: ended with exit status %d", done.returncode)
