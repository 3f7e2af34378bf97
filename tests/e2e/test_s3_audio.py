"""Audio objects on a real S3 server, with and without failures of the storage."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.retries import standard

from genremill.infra.audio import s3_objects
from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.store import AudioObject, AudioStore, OpenedAudio
from genremill.infra.errors import StorageError
from genremill.infra.stores import s3_client
from genremill.infra.stores.s3_client import RetrySettings
from genremill.jobs import cli
from genremill.jobs.synthetic import clips
from tests.e2e.faulty_proxy import BAD_DAY, Fault, FaultyProxy, faulty_proxy, first, sometimes
from tests.e2e.s3_server import OWNER, STRANGER, Identity, S3Server, free_ports, running_s3

BUCKET = "music"
ROOT = f"s3://{BUCKET}/clips"
SONG = bytes(range(256)) * 5000  # two chunks
RETRIES = RetrySettings(attempts=8, first_pause_s=0.001)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET, "elsewhere") as running:
        client = running.client()
        for key in ("clips/a.mp3", "clips2/a.mp3", "clips/b c/ü+?#%2e.mp3", "clips/d//e.mp3"):
            client.put_object(Bucket=BUCKET, Key=key, Body=SONG)
        client.put_object(Bucket=BUCKET, Key="clips/empty.mp3", Body=b"")
        yield running


@pytest.fixture(scope="module")
def running_proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.endpoint) as running:
        s3_client.forget()
        yield running
        s3_client.forget()


@pytest.fixture
def proxy(running_proxy: FaultyProxy) -> FaultyProxy:
    """The proxy between the store and the server; it causes no faults until a test plans some."""
    running_proxy.plan(first())
    return running_proxy


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore repeats requests at once."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0)


@pytest.fixture(autouse=True)
def worker(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a worker process, which keeps its client between tests."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    _use_credentials_of(OWNER, monkeypatch)


@pytest.fixture
def environment(worker: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a worker process that has not created a client yet."""
    s3_client.forget()
    yield monkeypatch
    s3_client.forget()


def _use_credentials_of(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in identity.environment.items():
        monkeypatch.setenv(name, value)


def read(store: AudioStore, audio: AudioObject) -> tuple[OpenedAudio, bytes]:
    with store.open(audio) as opened, open(opened.fd, "rb", closefd=False) as source:
        return opened, source.read()


@contextlib.contextmanager
def rejected(reason: AudioReason) -> Iterator[None]:
    with pytest.raises(AudioRejected) as caught:
        yield
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "uri",
    [
        f"{ROOT}/a.mp3",
        f"s3a://{BUCKET}/clips/a.mp3",
        "a.mp3",
        f"{ROOT}/b c/ü+?#%2e.mp3",
        f"{ROOT}/d//e.mp3",
    ],
)
def test_an_object_is_read_completely(uri: str) -> None:
    store = pickle.loads(pickle.dumps(AudioStore((ROOT,), retries=RETRIES)))
    listed = store.stat(uri)
    assert listed == AudioObject(uri, hashlib.md5(SONG).hexdigest(), len(SONG))
    opened, body = read(store, listed)
    assert (opened.etag, opened.size) == (listed.etag, listed.size)
    assert opened.content_hash == hashlib.sha256(SONG).hexdigest()
    assert body == SONG


def test_a_large_object_is_copied_to_an_unnamed_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_objects, "IN_MEMORY_BYTES", 1000)
    store = AudioStore((ROOT,), retries=RETRIES)
    with store.open(store.stat("a.mp3")) as opened:
        assert os.fstat(opened.fd).st_nlink == 0
        assert not os.get_inheritable(opened.fd)
        assert os.read(opened.fd, 4) == SONG[:4]


def test_an_empty_object_has_no_bytes() -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    listed = store.stat("empty.mp3")
    assert listed.size == 0
    assert read(store, listed)[1] == b""


def test_an_object_above_the_size_limit_is_not_requested(proxy: FaultyProxy) -> None:
    store = AudioStore((ROOT,), retries=RETRIES, max_bytes=1000)
    listed = store.stat("a.mp3")
    with rejected(AudioReason.HEADER_OVER_BUDGET), store.open(listed):
        pass
    assert [method for method, _ in proxy.requests] == ["HEAD"]


NEIGHBORS = [f"{ROOT}/many/{number}.mp3" for number in range(40)]
DISTANT = [f"{ROOT}/b c/ü+?#%2e.mp3", f"{ROOT}/d//e.mp3"]


@pytest.fixture(scope="module")
def folder(server: S3Server) -> None:
    for number in range(40):
        if number != 7:
            server.client().put_object(Bucket=BUCKET, Key=f"clips/many/{number}.mp3", Body=b"1" * number)
    server.client().put_object(Bucket=BUCKET, Key="clips/many/deeper/1.mp3", Body=b"1")


@pytest.mark.parametrize("can_list", [True, False])
def test_neighboring_objects_are_listed_together(
    folder: None, proxy: FaultyProxy, can_list: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    uris = [*NEIGHBORS, *DISTANT, "/etc/passwd"]
    one_by_one = [audio for uri in uris if (audio := _stat(store, uri))]
    proxy.plan(first() if can_list else lambda request: Fault.DENIED if request.method == "GET" else None)
    results = store.stats(uris)
    assert [result for result in results if isinstance(result, AudioObject)] == one_by_one
    pairs = zip(uris, results, strict=True)
    reasons = {uri: result.reason for uri, result in pairs if isinstance(result, AudioRejected)}
    assert reasons == {NEIGHBORS[7]: AudioReason.MISSING, "/etc/passwd": AudioReason.PATH_REFUSED}
    methods = [method for method, _ in proxy.requests]
    assert methods.count("HEAD") == (1 + len(DISTANT) if can_list else len(NEIGHBORS) + len(DISTANT))


def _stat(store: AudioStore, uri: str) -> AudioObject | None:
    try:
        return store.stat(uri)
    except AudioRejected:
        return None


@pytest.mark.parametrize("uri", ["none.mp3", "a.mp3/b.mp3", f"{ROOT}/none.mp3"])
def test_a_key_that_does_not_exist_is_missing(proxy: FaultyProxy, uri: str) -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    with rejected(AudioReason.MISSING):
        store.stat(uri)
    with rejected(AudioReason.MISSING), store.open(AudioObject(uri, "0" * 32, 1)):
        pass
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/clips2/a.mp3", "s3://elsewhere/clips/a.mp3", "../a.mp3"])
def test_no_object_outside_the_root_is_requested(proxy: FaultyProxy, uri: str) -> None:
    with rejected(AudioReason.PATH_REFUSED):
        AudioStore((ROOT,), retries=RETRIES).stat(uri)
    assert proxy.requests == []


def test_an_object_replaced_after_its_listing_is_changed(server: S3Server, proxy: FaultyProxy) -> None:
    store, client = AudioStore((ROOT,), retries=RETRIES), server.client()
    client.put_object(Bucket=BUCKET, Key="clips/changing.mp3", Body=SONG)
    listed = store.stat("changing.mp3")
    client.put_object(Bucket=BUCKET, Key="clips/changing.mp3", Body=SONG[::-1])
    with rejected(AudioReason.CHANGED), store.open(listed):
        pass
    client.delete_object(Bucket=BUCKET, Key="clips/changing.mp3")
    with rejected(AudioReason.MISSING), store.open(listed):
        pass
    # The server itself compares ETags, and sends no byte of the other object.
    assert proxy.statuses == [200, 412, 404]


@pytest.mark.parametrize("fault", BAD_DAY)
def test_reading_is_repeated_after_every_fault(proxy: FaultyProxy, fault: Fault) -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    listed = store.stat("a.mp3")
    proxy.plan(first(fault, fault))
    assert read(store, listed)[1] == SONG
    assert [planned for _, planned in proxy.requests] == [fault, fault, None]


@pytest.mark.parametrize("fault", [fault for fault in BAD_DAY if fault is not Fault.CUT])
def test_listing_is_repeated_after_every_fault(proxy: FaultyProxy, fault: Fault) -> None:
    proxy.plan(first(fault, fault))
    assert AudioStore((ROOT,), retries=RETRIES).stat("a.mp3").size == len(SONG)
    assert [planned for _, planned in proxy.requests] == [fault, fault, None]


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_many_reads_with_faults_return_the_right_bytes(proxy: FaultyProxy, rate: float) -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    proxy.plan(sometimes(rate, seed=1))
    for _ in range(30):
        opened, body = read(store, store.stat("a.mp3"))
        assert body == SONG
        assert opened.content_hash == hashlib.sha256(SONG).hexdigest()
    faults = [fault for _, fault in proxy.requests if fault]
    assert faults
    assert len(proxy.requests) > 60


@pytest.mark.parametrize("fault", BAD_DAY)
def test_a_permanent_failure_is_a_storage_error_and_not_a_reject(proxy: FaultyProxy, fault: Fault) -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    listed = store.stat("a.mp3")
    proxy.plan(lambda _: fault)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StorageError, match=f"{ROOT}/a.mp3': .*, after 8 attempts"), store.open(listed):
        pass
    assert len(proxy.requests) == RETRIES.attempts
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # at most one open connection


def test_an_unreachable_endpoint_fails_in_a_bounded_time(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_ports(1)[0]}")
    started = time.monotonic()
    with pytest.raises(StorageError, match="EndpointConnectionError"):
        AudioStore((ROOT,), retries=RetrySettings(attempts=3, first_pause_s=0.1)).stat("a.mp3")
    assert time.monotonic() - started < 3


def test_pauses_are_random_and_grow_up_to_a_limit() -> None:
    retries = RetrySettings(first_pause_s=1, longest_pause_s=4)
    longest = [max(retries.pause_s(attempt) for _ in range(200)) for attempt in (1, 2, 3, 4, 9)]
    assert longest == pytest.approx([1, 2, 4, 4, 4], rel=0.1)
    assert min(retries.pause_s(9) for _ in range(200)) < 0.4


def test_an_object_with_denied_access_is_a_reject(
    environment: pytest.MonkeyPatch, proxy: FaultyProxy
) -> None:
    _use_credentials_of(STRANGER, environment)
    store = AudioStore((ROOT,), retries=RETRIES)
    with rejected(AudioReason.DENIED):
        store.stat("a.mp3")
    with rejected(AudioReason.DENIED), store.open(AudioObject("a.mp3", "0" * 32, 1)):
        pass
    assert len(proxy.requests) == 2


def test_messages_do_not_contain_a_signature_from_the_key(proxy: FaultyProxy) -> None:
    store, uri = AudioStore((ROOT,), retries=RETRIES), f"{ROOT}/a.mp3?X-Amz-Signature=secret"
    with pytest.raises(AudioRejected) as missing:
        store.stat(uri)
    proxy.plan(lambda _: Fault.SLOW_DOWN)
    with pytest.raises(StorageError) as failed:
        store.stat(uri)
    assert "secret" not in str(missing.value) + str(failed.value)


def test_messages_do_not_contain_the_credentials(environment: pytest.MonkeyPatch) -> None:
    _use_credentials_of(Identity(OWNER.access_key, "a-wrong-secret"), environment)
    with pytest.raises(AudioRejected) as caught:
        AudioStore((ROOT,), retries=RETRIES).stat("a.mp3")
    assert "access denied" in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert OWNER.access_key not in str(caught.value)


def test_missing_credentials_are_a_storage_error(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.delenv(name)
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="NoCredentialsError"):
        AudioStore((ROOT,), retries=RETRIES).stat("a.mp3")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_expired_credentials_are_read_again(proxy: FaultyProxy, method: str) -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    listed = store.stat("a.mp3")
    old = s3_client._client(os.getpid(), RETRIES)
    proxy.plan(first(Fault.EXPIRED))
    assert store.stat("a.mp3") == listed if method == "HEAD" else read(store, listed)[1] == SONG
    assert [proxy.requests[0], proxy.requests[-1]] == [(method, Fault.EXPIRED), (method, None)]
    assert s3_client._client(os.getpid(), RETRIES) is not old


def _clients(store: AudioStore) -> tuple[int, int]:
    for _ in range(3):
        read(store, store.stat("a.mp3"))
    return os.getpid(), s3_client._client.cache_info().misses


@pytest.mark.usefixtures("environment")
def test_each_process_creates_one_client() -> None:
    store = AudioStore((ROOT,), retries=RETRIES)
    assert _clients(store) == (os.getpid(), 1)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        child, clients = pool.apply_async(_clients, (store,)).get(timeout=20)
    assert child != os.getpid()
    assert clients == 2  # its own client, and the client of the parent, which it does not use


def test_tag_reads_objects_and_prefixes(
    server: S3Server, worker: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips.write_clip(f"file://{tmp_path}", 0, 3, 30, seed=0)
    data = (tmp_path / "clips" / "0000.wav").read_bytes()
    for key in ("songs/a?#%2e.wav", "songs/album/b.wav", "songs/cover.jpg"):
        server.client().put_object(Bucket=BUCKET, Key=key, Body=data)
    for path, names in {
        f"s3://{BUCKET}/songs/": ["songs/a?#%2e.wav", "songs/album/b.wav"],
        f"s3a://{BUCKET}/songs/album/b.wav": ["songs/album/b.wav"],
    }.items():
        assert cli.main(["tag", "--json", path]) == 0
        files = json.loads(capsys.readouterr().out)["files"]
        assert [file["path"].partition(f"{BUCKET}/")[2] for file in files] == names
        assert all(file["labels"] for file in files)
    assert cli.main(["tag", f"s3://{BUCKET}/none/"]) == 2
    assert "no such object or prefix" in capsys.readouterr().err
