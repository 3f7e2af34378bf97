"""Settings in YAML and on the command line, and URIs."""

import contextlib
import io
import json
import os
from typing import Any

import yaml
from hypothesis import strategies as st

from genremill.infra import records, storage
from genremill.infra.audio import paths
from genremill.infra.audio.faults import AudioRejected
from genremill.infra.errors import DamagedRecord, ExitCode, UsageError
from genremill.infra.records import InnerPath
from genremill.jobs import flags, ingest, tables
from genremill.jobs.command import Common, Writing
from genremill.jobs.genres import sources
from genremill.jobs.nights import steps
from tests.fuzz.harness import Target, scratch
from tests.fuzz.json_records import run_reading
from tests.fuzz.mutations import TEXTS, Strategy, mutated, texts

_YAML_PARTS = (
    *("&a [*a]", "&a {x: *a}", "*b", "!!python/object:os.system x", "!!int 0x_", "!!timestamp 2026-13-45"),
    *("!!binary =",),
    *("!!set {a}", "!!omap [a]", "<<: *a", "? [a]\n: b", "{a: {b: {c: 1}}}", "[" * 500, "{a: " * 500),
    *("- " * 500,),
    *("1_000:60:60", "1:99", "0o9", ".inf", ".nan", "0b" + "1" * 200, "9" * 200, "~", "|\n x", ">-\n x"),
    *("%YAML 9.9\n---\n",),
    *("---\n---\n", "...", "\t", "'\\x", '"\\uD800"', '"\\x"', "2026-11-29T99:99:99Z", "yes", "no", "@x"),
    *("`x", "=", "<<"),
)
_CONFIG = """\
tracks: tracks.csv
audio-root: [/data/audio]
ingest:
  split: artist
  fractions: [0.8, 0.1, 0.1]
  limit: 5
  columns: {id: track_id, features: [tempo, energy], keep: []}
train: &x
  epochs: 3
publish: {max-churn: 0.3}
"""
_FLAT = "split: rows\nmax-missing: 0.5\nmissing: [NA, '-99']\ncolumns.id: id\nfractions: [0.5, 0.25, 0.25]\n"
_MAP = "rock: Rock\npop: 1\n'hip-hop': \"Hip Hop\"\n"
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["artist", 0.5, 5])
)
_keys = (
    st.sampled_from(["split", "limit", "columns", "ingest", "id", "features", "missing", "max-missing"])
    | texts
)
_values = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(_keys, inner), max_leaves=12)


def _dumped(value: object) -> bytes:
    text: str = yaml.safe_dump(value, allow_unicode=True)
    return text.encode("utf-8", "surrogatepass")


def yaml_inputs() -> Strategy:
    seeds = [text.encode() for text in (_CONFIG, _FLAT, _MAP)]
    parts = [text.encode("utf-8", "surrogatepass") for text in (*_YAML_PARTS, *TEXTS)]
    whole = st.builds(_dumped, st.dictionaries(_keys, _values, max_size=6))
    return st.one_of(mutated(seeds, parts), mutated(seeds, parts), whole)


def read_yaml(data: bytes) -> None:
    """Reads a file as the settings of `ingest`, and as a map of genres."""
    path = scratch("yaml") / "settings.yaml"
    path.write_bytes(data)
    with contextlib.suppress(UsageError):
        _parse([f"--config={path}"], len(data) % 2 == 0)
    sources.read_map(str(path))


def _parse(arguments: list[str], nightly: bool) -> None:
    """Parses the command line of a job and checks the settings; tyro exits if a value is wrong."""
    kind: type[Any] = steps.Config if nightly else ingest.Config
    given = ["--warehouse=w", "--tracks=t", *arguments]
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            _, cfg = flags.parse("job", None, kind, Writing, given)
    except SystemExit as err:
        if err.code not in (ExitCode.DONE, ExitCode.USAGE):
            raise AssertionError(f"exit code {err.code}") from err
        return
    (cfg.ingest if nightly else cfg).check()


_FLAGS = (
    *("--limit", "--split", "--fractions", "--split-seed", "--columns.id", "--columns.features", "--missing"),
    *("--max-missing", "--multiline", "--no-multiline", "--json", "--delimiter", "--help", "--x", "--", "-"),
)


def flag_inputs() -> Strategy:
    """Command lines, with one argument on each line."""
    line = st.sampled_from(_FLAGS) | st.sampled_from([text for text in TEXTS if "\n" not in text])
    joined = st.builds("{}={}".format, st.sampled_from(_FLAGS), line)
    return st.lists(line | joined, max_size=6).map(lambda lines: "\n".join(lines).encode())


def read_flags(data: bytes) -> None:
    _parse(os.fsdecode(data).split("\n"), nightly=False)


_ROOTS = [paths.parse_root("/data/audio"), paths.parse_root("s3://bucket/a")]
_URI_PARTS = (
    *("file:", "file://", "file:///", "FILE:///", "s3://", "s3a://", "s3n://b", "hdfs://", "https://"),
    *("//", "///"),
    *("b", "bucket", "user:secret@host", "/", ".", "..", "/../", "/./", "~", "$HOME", "%2e%2e", "%2F"),
    *("%00", "%"),
    *("%zz", "%ff", "?X-Amz-Signature=1", "?versionId=1", "#x", "[::1]", ":", "\\", "*", "{a,b}", "a b"),
    *("é", "\0"),
    *("\udcff", "\ud800", "\n", "name", "x" * 300, "a/" * 700, "run=1", "CON", "-", "--json", "\u202e"),
)


def uri_inputs() -> Strategy:
    parts = st.lists(st.sampled_from(_URI_PARTS) | texts, max_size=8)
    return st.builds(lambda found: "".join(found).encode("utf-8", "surrogatepass"), parts)


def read_uri(data: bytes) -> None:
    """Uses a text as the URI of a user, as a path in a record, and as the URI of an audio file."""
    text = os.fsdecode(data)
    with contextlib.suppress(AudioRejected):
        root, location = paths.locate(text, _ROOTS)
        assert root.holds(location)
        assert ".." not in location.parts
    with contextlib.suppress(DamagedRecord):
        name = records.from_json(json.dumps(text), InnerPath, "a path")
        assert storage.absolute_uri(f"/data/warehouse/{name}").startswith("file:///data/warehouse/")
    uri = _without_secrets(text)
    assert uri.startswith(("file:///", "s3a://"))
    if not storage.is_s3(uri):
        assert storage.local_path(uri).is_absolute()
        run_reading(tables.main, Common(text), tables.Config())


def _without_secrets(text: str) -> str:
    """The full URI; neither a URI of a store nor a message may have a password."""
    try:
        uri = storage.absolute_uri(text)
    except UsageError as err:
        if "://user:secret@" in text and "secret" in str(err):
            raise AssertionError("a message with a password") from err
        raise
    assert "://user:secret@" not in text
    return uri


def targets() -> list[Target]:
    return [
        Target("yaml", yaml_inputs(), read_yaml, examples=600),
        Target("flags", flag_inputs(), read_flags, examples=150),
        Target("uris", uri_inputs(), read_uri, examples=1000),
    ]
