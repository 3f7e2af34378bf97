"""A machine whose own name has no address: laptops, and containers without a network."""

import os
import socket

import pytest

from genremill.infra import host_name, session
from genremill.infra.log import LOGGER
from genremill.jobs import doctor


def _no_address(*_: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine is named `nowhere` and nothing resolves this name."""
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "nowhere")
    monkeypatch.setattr(socket, "getaddrinfo", _no_address)


@pytest.mark.usefixtures("nowhere")
def test_a_local_session_uses_the_loopback_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(LOGGER, "propagate", True)
    caplog.set_level("INFO", "genremill")
    monkeypatch.setenv("SPARK_LOCAL_IP", "")
    session._use_loopback_if_needed()
    assert os.environ["SPARK_LOCAL_IP"] == "127.0.0.1"
    expected = f"{host_name.advice('nowhere')}. This local session uses 127.0.0.1"
    assert set(caplog.messages) == {expected}  # caplog may also be a handler of the logger itself
    caplog.clear()
    session._use_loopback_if_needed()
    assert caplog.messages == []


@pytest.mark.usefixtures("nowhere")
def test_doctor_says_how_to_fix_the_name() -> None:
    text = doctor.check_host_name()
    assert "the host name 'nowhere' cannot be resolved" in text
    assert "`127.0.0.1 nowhere` to /etc/hosts, or set SPARK_LOCAL_IP=127.0.0.1" in text


@pytest.mark.usefixtures("nowhere")
def test_the_address_that_somebody_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_LOCAL_IP", "10.0.0.7")
    session._use_loopback_if_needed()
    assert os.environ["SPARK_LOCAL_IP"] == "10.0.0.7"
    assert doctor.check_host_name() == "nowhere"


def test_a_name_with_an_address_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    session._use_loopback_if_needed()
    assert "SPARK_LOCAL_IP" not in os.environ
