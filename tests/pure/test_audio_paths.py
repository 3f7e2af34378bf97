"""Paths are input from users: paths outside the roots are rejected before any file or request."""

import contextlib
import errno
import hashlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.audio.paths import MAX_KEY_BYTES, Location, locate, parse_root, redacted
from genremill.infra.audio.store import AudioObject, AudioStore
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.stores import s3_client

INSIDE, OUTSIDE = b"a song", b"a secret"


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """A root with one song, and secrets next to it with similar names."""
    folder = tmp_path / "audio"
    (folder / "clips").mkdir(parents=True)
    (folder / "clips" / "a.mp3").write_bytes(INSIDE)
    (folder / "%2e%2e").mkdir()
    (folder / "%2e%2e" / "a.mp3").write_bytes(INSIDE)
    for name in ("audio2", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.mp3").write_bytes(OUTSIDE)
    (folder / "inner").symlink_to(folder / "clips")
    (folder / "link.mp3").symlink_to(tmp_path / "outside" / "a.mp3")
    (folder / "relative.mp3").symlink_to("../outside/a.mp3")
    (folder / "parent").symlink_to(tmp_path / "outside")
    (folder / "sibling").symlink_to("../audio2")
    (folder / "circle").symlink_to("circle")
    os.mkfifo(folder / "fifo")
    return folder


@contextlib.contextmanager
def nothing_opened() -> Iterator[None]:
    """Fails the test if a file is opened or an S3 client is made in the block."""

    def forbidden(*arguments: Any, **_: Any) -> int:
        raise AssertionError(f"opened {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", forbidden)
        patch.setattr(s3_client, "_client", forbidden)
        yield


def read(store: AudioStore, uri: str) -> bytes:
    with store.open(store.stat(uri)) as opened:
        return os.read(opened.fd, 1000)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "  ",
        "../../etc/passwd",
        "clips/../../outside/a.mp3",
        "clips/../clips/a.mp3",
        "/etc/passwd",
        "//etc/passwd",
        "/proc/self/environ",
        "file:///proc/self/environ",
        "file:/proc/self/environ",
        "FILE:///etc/passwd",
        "{root}",
        "{root}/",
        "{root}/../outside/a.mp3",
        "{root}2/a.mp3",
        "file://{root}2/a.mp3",
        "file://{root}/%2e%2e/outside/a.mp3",
        "file://{root}/%2E./outside/a.mp3",
        "file://{root}/..%2foutside/a.mp3",
        "file:{root}/%2e%2e/outside/a.mp3",
        "file://{root}/clips/a.mp3%00.wav",
        "{root}/clips/a.mp3\0",
        "clips/a.mp3\0.wav",
        "file://localhost{root}/clips/a.mp3",
        "file://host/clips/a.mp3",
        "file:clips/a.mp3",
        "file:",
        "{root}/link.mp3",
        "link.mp3",
        "{root}/relative.mp3",
        "{root}/parent/a.mp3",
        "{root}/sibling/a.mp3",
        "file://{root}/parent/a.mp3",
        "http://169.254.169.254/",
        "http://169.254.169.254/latest/meta-data/",
        "https://bucket.s3.amazonaws.com/prefix/a.mp3",
        "ftp://host/a.mp3",
        "gs://bucket/prefix/a.mp3",
        "s3://bucket/prefix/a.mp3",
        "s3://{root}/a.mp3",
    ],
)
def test_a_path_outside_the_root_is_rejected_without_opening_it(audio: Path, uri: str) -> None:
    store = AudioStore((str(audio),))
    uri = uri.replace("{root}", str(audio))
    for attempt in (store.stat, lambda uri: store.open(AudioObject(uri, "8-0", 8)).__enter__()):
        with nothing_opened(), pytest.raises(AudioRejected) as caught:
            attempt(uri)
        assert caught.value.reason is AudioReason.PATH_REFUSED


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/prefix/a.mp3",
        "s3://bucket/prefix2/a.mp3",
        "s3://bucket/prefi",
        "s3://bucket/prefix",
        "s3://bucket/prefix/",
        "s3://bucket/prefix/clips/",
        "s3://bucket/prefix/../other/a.mp3",
        "s3://bucket/prefix/./a.mp3",
        "s3a://bucket/prefix/a/..",
        "s3://bucket/prefix/a\0.mp3",
        "s3://bucket",
        "s3://bucket/",
        "s3:///prefix/a.mp3",
        "s3://bucket/%70refix/a.mp3",
        "s3://key:secret@bucket/prefix/a.mp3",
        "s3://bucket@169.254.169.254/prefix/a.mp3",
        "S3://BUCKET/prefix/a.mp3",
        "../a.mp3",
        "/prefix/a.mp3",
        "file:///prefix/a.mp3",
        f"s3://bucket/prefix/{'a' * MAX_KEY_BYTES}",
        "http://169.254.169.254/bucket/prefix/a.mp3",
    ],
)
def test_a_uri_outside_the_prefix_is_rejected_without_a_request(uri: str) -> None:
    store = AudioStore(("s3://bucket/prefix/",))
    with nothing_opened(), pytest.raises(AudioRejected) as caught:
        store.stat(uri)
    assert caught.value.reason is AudioReason.PATH_REFUSED


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("s3://bucket/prefix/a.mp3", "prefix/a.mp3"),
        ("s3a://bucket/prefix/a.mp3", "prefix/a.mp3"),
        ("s3://bucket/prefix//a b?c#d\\e.mp3", "prefix//a b?c#d\\e.mp3"),
        ("s3://bucket/prefix/%2e%2e/a.mp3", "prefix/%2e%2e/a.mp3"),
        ("clips/a.mp3", "prefix/clips/a.mp3"),
        ("./clips/a.mp3", "prefix/clips/a.mp3"),
    ],
)
@pytest.mark.parametrize("prefix", ["s3://bucket/prefix", "s3://bucket/prefix/", "s3a://bucket/prefix/"])
def test_keys_are_used_unchanged(prefix: str, uri: str, key: str) -> None:
    _, location = locate(uri, [parse_root(prefix)])
    assert (location.bucket, location.key) == ("bucket", key)


def test_a_whole_bucket_can_be_a_root() -> None:
    assert locate("s3://bucket/a.mp3", [parse_root("s3://bucket")])[1] == Location("bucket", ("a.mp3",))


@pytest.mark.parametrize(
    "uri",
    [
        "{root}/clips/a.mp3",
        "{root}//clips/./a.mp3",
        "file://{root}/clips/a.mp3",
        "file:{root}/clips/a.mp3",
        "File://{root}/cl%69ps/a%2Emp3",
        "clips/a.mp3",
        "./clips/a.mp3",
        "{root}/inner/a.mp3",  # a link that stays inside the root
        "file://{root}/%252e%252e/a.mp3",  # decoded once: a name like any other
        "{root}/%2e%2e/a.mp3",
    ],
)
@pytest.mark.parametrize("spelling", ["{root}", "{root}/", "file://{root}", "file:{root}/"])
def test_a_file_inside_the_root_is_read_in_every_notation(audio: Path, spelling: str, uri: str) -> None:
    store = AudioStore((spelling.replace("{root}", str(audio)),))
    assert read(store, uri.replace("{root}", str(audio))) == INSIDE


@pytest.mark.parametrize(
    "name", ["a\\b.mp3", "tab\t.mp3", "100%.mp3", "ü?x#y.mp3", "a:b.mp3", "=cmd()|.mp3", "..a", "b.."]
)
def test_files_with_unusual_names_are_read(audio: Path, name: str) -> None:
    (audio / name).write_bytes(INSIDE)
    assert read(AudioStore((str(audio),)), f"{audio}/{name}") == INSIDE
    assert read(AudioStore((str(audio),)), name) == INSIDE


def test_the_root_can_be_a_link(audio: Path, tmp_path: Path) -> None:
    (tmp_path / "mount").symlink_to(audio)
    assert read(AudioStore((str(tmp_path / "mount"),)), f"{tmp_path}/mount/clips/a.mp3") == INSIDE


def test_a_relative_path_with_several_roots_is_rejected(audio: Path) -> None:
    store = AudioStore((str(audio), "s3://bucket/prefix"))
    with nothing_opened(), pytest.raises(AudioRejected, match="more than one --audio-root") as caught:
        store.stat("clips/a.mp3")
    assert caught.value.reason is AudioReason.PATH_REFUSED
    assert read(store, f"{audio}/clips/a.mp3") == INSIDE


@pytest.mark.parametrize(
    "location",
    [
        "{tmp}/none",
        "{tmp}/audio/clips/a.mp3",
        "/",
        "file:///",
        "",
        " ",
        "file://host/data",
        "file:data",
        "s3://",
        "s3:///prefix",
        "s3://key:secret@bucket/prefix",
        "s3://bucket/prefix/../other",
        "http://169.254.169.254/",
        "https://ada:secret@host/?X-Amz-Signature=secret",
    ],
)
def test_an_invalid_root_is_a_usage_error(audio: Path, location: str) -> None:
    with pytest.raises(UsageError, match="--audio-root") as caught:
        AudioStore((location.replace("{tmp}", str(audio.parent)),))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "https://bucket.s3.amazonaws.com/a.mp3?X-Amz-Credential=secret&X-Amz-Signature=secret",
        "s3://key:secret@bucket/a.mp3",
        "s3a://key:sec/ret:secret@bucket/a.mp3",
        "https://secret@host/a.mp3",
        "s3://bucket/a.mp3?X-Amz-Security-Token=secret",
    ],
)
def test_messages_contain_no_secrets(uri: str) -> None:
    with pytest.raises(AudioRejected) as caught:
        locate(uri, [parse_root("s3://other")])
    assert "sec" not in str(caught.value)


def test_messages_contain_no_control_characters() -> None:
    assert redacted("a\x1b[31m\n.mp3").isprintable()


@pytest.mark.parametrize("name", ["none.mp3", "clips/none.mp3", "none/a.mp3", "clips/a.mp3/b.mp3", "x" * 300])
def test_a_file_that_does_not_exist_is_missing(audio: Path, name: str) -> None:
    store = AudioStore((str(audio),))
    for attempt in (store.stat, lambda uri: store.open(AudioObject(uri, "6-0", 6)).__enter__()):
        with pytest.raises(AudioRejected) as caught:
            attempt(name)
        assert caught.value.reason is AudioReason.MISSING


@pytest.mark.parametrize("name", ["fifo", "clips", "circle", "circle/a.mp3"])
def test_anything_but_a_regular_file_is_rejected(audio: Path, name: str) -> None:
    store = AudioStore((str(audio),))
    for attempt in (store.stat, lambda uri: store.open(AudioObject(uri, "0-0", 0)).__enter__()):
        with pytest.raises(AudioRejected) as caught:
            attempt(name)
        assert caught.value.reason is AudioReason.PATH_REFUSED


def test_an_opened_file_has_its_etag_size_and_hash(audio: Path) -> None:
    path = audio / "clips" / "a.mp3"
    store = pickle.loads(pickle.dumps(AudioStore((str(audio),))))
    found = store.stat(str(path))
    assert found == AudioObject(str(path), f"{len(INSIDE)}-{path.stat().st_mtime_ns}", len(INSIDE))
    with store.open(found) as opened:
        assert (opened.etag, opened.size) == (found.etag, found.size)
        assert opened.content_hash == hashlib.sha256(INSIDE).hexdigest()
        assert not os.get_inheritable(opened.fd)
        assert os.read(opened.fd, 100) == INSIDE
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened.fd)


def _longer(path: Path) -> None:
    path.write_bytes(INSIDE + b"!")


def _touched(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [_longer, _touched])
def test_a_file_changed_after_its_listing_is_not_read(audio: Path, change: Callable[[Path], None]) -> None:
    store, path = AudioStore((str(audio),)), audio / "clips" / "a.mp3"
    found = store.stat(str(path))
    change(path)
    with pytest.raises(AudioRejected) as caught, store.open(found):
        pass
    assert caught.value.reason is AudioReason.CHANGED


@pytest.mark.parametrize("change", [_longer, _touched])
def test_a_file_changed_while_it_is_read_is_rejected(audio: Path, change: Callable[[Path], None]) -> None:
    store, path = AudioStore((str(audio),)), audio / "clips" / "a.mp3"
    with pytest.raises(AudioRejected) as caught, store.open(store.stat(str(path))):
        change(path)
    assert caught.value.reason is AudioReason.CHANGED


def test_errors_inside_the_block_are_not_changed(audio: Path) -> None:
    store = AudioStore((str(audio),))
    with pytest.raises(FileNotFoundError, match="mine"), store.open(store.stat("clips/a.mp3")):
        raise FileNotFoundError("mine")


def test_every_descriptor_is_closed(audio: Path) -> None:
    store = AudioStore((str(audio),))
    before = len(os.listdir("/proc/self/fd"))
    read(store, "clips/a.mp3")
    for name in ("clips/none.mp3", "none/a.mp3", "clips/a.mp3/b", "link.mp3", "fifo", "clips"):
        with pytest.raises(AudioRejected):
            read(store, name)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_large_file_is_not_opened(audio: Path) -> None:
    store = AudioStore((str(audio),), max_bytes=len(INSIDE) - 1)
    found = store.stat("clips/a.mp3")
    with nothing_opened(), pytest.raises(AudioRejected, match="6 bytes, expected at most 5") as caught:
        store.open(found).__enter__()
    assert caught.value.reason is AudioReason.HEADER_OVER_BUDGET


def test_all_paths_of_a_file_name_the_same_file(audio: Path) -> None:
    store = AudioStore((str(audio),))
    os.link(audio / "clips" / "a.mp3", audio / "hard.mp3")
    (audio / "copy.mp3").write_bytes(INSIDE)
    spelled = ("clips/a.mp3", "./clips//a.mp3", "inner/a.mp3", "hard.mp3", f"file://{audio}/clips/%61.mp3")
    assert len({store.stat(uri).file for uri in spelled}) == 1
    assert store.stat("copy.mp3").file != store.stat("hard.mp3").file


def test_files_of_different_hosts_are_different(audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, here = AudioStore((str(audio),)), os.uname()
    found = store.stat("clips/a.mp3")
    there = os.uname_result((here.sysname, "elsewhere", here.release, here.version, here.machine))
    monkeypatch.setattr(os, "uname", lambda: there)
    assert store.stat("clips/a.mp3").file != found.file


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_file_without_permission_is_denied(
    audio: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store, really_open = AudioStore((str(audio),)), os.open

    def open_(path: str, flags: int, **where: Any) -> int:
        if path == "a.mp3":
            raise OSError(number, os.strerror(number))
        return really_open(path, flags, **where)

    found = store.stat("clips/a.mp3")
    monkeypatch.setattr(os, "open", open_)
    with pytest.raises(AudioRejected, match="no permission") as caught, store.open(found):
        pass
    assert caught.value.reason is AudioReason.DENIED


def test_a_removed_root_is_a_storage_error_and_not_a_reject(audio: Path) -> None:
    store = AudioStore((str(audio),))
    audio.rename(audio.with_name("elsewhere"))
    with pytest.raises(StorageError, match="--audio-root"):
        store.stat("clips/a.mp3")


def _swap_file(audio: Path) -> None:
    (audio / "clips" / "a.mp3").unlink()
    (audio / "clips" / "a.mp3").symlink_to(audio.parent / "outside" / "a.mp3")


def _swap_folder(audio: Path) -> None:
    (audio / "clips").rename(audio / "before")
    (audio / "clips").symlink_to(audio.parent / "outside")


def _swap_fifo(audio: Path) -> None:
    (audio / "clips" / "a.mp3").unlink()
    os.mkfifo(audio / "clips" / "a.mp3")


@pytest.mark.parametrize("swap", [_swap_file, _swap_folder, _swap_fifo])
@pytest.mark.parametrize("moment", ["after the path is judged", "before the file is opened"])
def test_a_link_created_after_the_check_is_not_followed(
    audio: Path, monkeypatch: pytest.MonkeyPatch, swap: Callable[[Path], None], moment: str
) -> None:
    store = AudioStore((str(audio),))
    found = store.stat("clips/a.mp3")
    realpath, opened = os.path.realpath, os.open
    done: list[Callable[[Path], None]] = []

    def swapping_realpath(path: str) -> str:
        real = realpath(path)
        if path.endswith("a.mp3") and not done and moment.startswith("after"):
            swap(audio)
            done.append(swap)
        return real

    def swapping_open(path: str, *arguments: Any, **more: Any) -> int:
        name = "clips" if swap is _swap_folder else "a.mp3"
        if path == name and not done and moment.startswith("before"):
            swap(audio)
            done.append(swap)
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os.path, "realpath", swapping_realpath)
    monkeypatch.setattr(os, "open", swapping_open)
    with pytest.raises(AudioRejected) as caught, store.open(found):
        pass
    assert done
    assert caught.value.reason is AudioReason.PATH_REFUSED


def test_a_file_that_is_constantly_replaced_by_a_link_never_leaks_the_target(audio: Path) -> None:
    store, path, spare = AudioStore((str(audio),)), audio / "clips" / "a.mp3", audio / "spare"
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            spare.symlink_to(audio.parent / "outside" / "a.mp3")
            spare.replace(path)
            spare.write_bytes(INSIDE)
            spare.replace(path)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes: set[bytes | AudioReason] = set()
    try:
        for _ in range(1000):
            try:
                outcomes.add(read(store, str(path)))
            except AudioRejected as rejected:
                outcomes.add(rejected.reason)
    finally:
        stop.set()
        swapper.join()
    assert outcomes <= {INSIDE, AudioReason.PATH_REFUSED, AudioReason.CHANGED}
    assert INSIDE in outcomes
