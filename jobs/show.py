"""Shows one track: its data, its tag, its features and a picture of its audio.

Reads `tracks`, `tags`, `features`, `rejects` and audio under --audio-root. Writes a PNG file.

    genremill show TRACK --warehouse build/warehouse --audio-root build/demo
"""

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

import tyro
from pyspark.sql import SparkSession

from genremill.infra import storage
from genremill.infra.audio.faults import AudioRejected
from genremill.infra.audio.store import AudioStore
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalFile, Uris
from genremill.infra.terminal import plain
from genremill.infra.warehouse import Warehouse
from genremill.jobs import command
from genremill.jobs.inspection import sheet as track_sheet
from genremill.jobs.inspection.sheet import TrackSheet
from genremill.jobs.inspection.sheet_text import fact, lines_of, tag_text
from genremill.udfs.decoding import ffmpeg
from genremill.udfs.decoding.settings import Decoded, DecodeSettings, Offset

SR = 22050
MAX_SECONDS = 600.0
"""In a picture of longer audio, one column of pixels would cover more than half a second."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which track to show and how to draw its audio."""

    track: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="TRACK")]]
    """A track_id, or the path or URI of an audio file."""
    explain: bool = False
    """Name the words and tags that speak most for the label, with their evidence: the part of each in the
    logarithm of the odds."""
    audio_root: Uris = ()
    """Folders or URI prefixes from which audio may be read; without one, no picture is drawn."""
    out: OptionalFile = None
    """PNG file to write. [reports/show/TRACK.png in the warehouse]"""
    seconds: float = 30.0
    """Seconds of audio to draw."""
    offset: Offset = Offset.START
    """Part of the audio to draw: the start or the middle."""
    ffmpeg: bool = False
    """Also decode formats that libsndfile lacks with FFmpeg; needs the extra genremill[ffmpeg]."""


@dataclass(frozen=True)
class Picture:
    """The picture of the audio, or the reason why there is none."""

    audio_uri: str
    path: str | None = None
    seconds_decoded: float | None = None
    coverage: float | None = None  # decoded of what the header declares within these seconds, 0 to 1
    tempo: float | None = None  # beats per minute
    reason: str | None = None


def run(spark: SparkSession, work: command.Run, cfg: Config) -> command.Outcome:
    """Describes the track and draws its audio."""
    sheet, picture = track_sheet.read(spark, work.warehouse, cfg.track, explain=cfg.explain), None
    if sheet is None:
        _check_audio(work, cfg)
    audio_uri = sheet.audio_uri if sheet else cfg.track
    if audio_uri is not None:
        try:
            picture = _draw(work, cfg, audio_uri, sheet)
        except AudioRejected as err:
            if sheet is None:
                raise UsageError(plain(f"{cfg.track}: {err}")) from err
            picture = Picture(audio_uri, reason=str(err))
    lines = [*lines_of(sheet), ""] if sheet else [fact("audio", cfg.track)]
    summary = {
        "track": dataclasses.asdict(sheet) if sheet else None,
        "picture": dataclasses.asdict(picture) if picture else None,
    }
    return command.Outcome(summary, "\n".join([*lines, *_picture_lines(picture)]))


def ready(warehouse: Warehouse, cfg: Config) -> Config:
    """The settings; raises on all errors that can be seen without Spark."""
    if not 0.1 <= cfg.seconds <= MAX_SECONDS:
        raise UsageError(f"--seconds {cfg.seconds:g}: expected 0.1 to {MAX_SECONDS:g}")
    if cfg.out is not None and not cfg.out.endswith(".png"):
        raise UsageError(f"--out {cfg.out}: expected a file name that ends in .png")
    if cfg.out is not None and storage.exists(cfg.out) and not storage.is_object(cfg.out):
        raise UsageError(f"--out {cfg.out} is a folder; expected a file")
    if cfg.ffmpeg:
        ffmpeg.require()
    AudioStore(cfg.audio_root)
    return cfg


def _check_audio(work: command.Run, cfg: Config) -> None:
    """Raises if the name, which is no track of the warehouse, is not audio that may be read either."""
    if "/" not in cfg.track:
        raise UsageError(
            f"{work.warehouse.uri} has no track {cfg.track!r}; "
            "expected a track_id of its current tracks, or the path or URI of audio"
        )
    if not cfg.audio_root:
        hint = "name the folder or prefix that it is in"
        raise UsageError(f"--audio-root is missing; to draw {cfg.track}, {hint}")


def _draw(work: command.Run, cfg: Config, audio_uri: str, sheet: TrackSheet | None) -> Picture:
    """Reads the audio and writes its picture, unless --audio-root is missing or this is a dry run."""
    if not cfg.audio_root:
        reason = "the audio is not read without --audio-root, the folder or prefix that it is in"
        return Picture(audio_uri, reason=reason)
    name, heading = audio_uri, audio_uri.rpartition("/")[2]
    lines: tuple[str, ...] = ("not a track of this warehouse",)
    if sheet:
        name, heading = sheet.track_id, sheet.heading
        lines = (f"genres: {', '.join(sheet.genres) or 'none'}", f"tag: {tag_text(sheet.tag)}")
    reports = work.warehouse.path("reports", "show")
    path = storage.absolute_uri(cfg.out) if cfg.out else f"{reports}/{safe_name(name)}.png"
    if work.dry_run:
        return Picture(audio_uri, path)
    # Imported here because --help needs neither librosa nor matplotlib.
    from genremill.jobs.inspection import picture as track_picture

    decoded = _decode(cfg, audio_uri)
    settings = track_picture.PanelSettings(sr=SR)
    panels = track_picture.analyze(decoded.y, settings)
    part = f" within the middle {cfg.seconds:g} s" if cfg.offset is Offset.MIDDLE else ""
    caption = track_picture.Caption(heading, lines, f"time (s){part}")
    storage.write_atomic(path, track_picture.png(panels, settings, caption))
    return Picture(audio_uri, path, decoded.seconds_decoded, decoded.coverage, panels.tempo)


def _decode(cfg: Config, audio_uri: str) -> Decoded:
    from genremill.udfs.decoding.sandbox import Sandbox

    store = AudioStore(cfg.audio_root)
    settings = DecodeSettings(sr=SR, seconds=cfg.seconds, offset=cfg.offset, ffmpeg=cfg.ffmpeg)
    with store.open(store.stat(audio_uri)) as audio, Sandbox() as sandbox:
        return sandbox.decode(audio.fd, settings)


def safe_name(name: str) -> str:
    """A file name for a track id. Different ids have different names.

    >>> safe_name("7lmeHLHBe4nmXzuXc0HDjk")
    '7lmeHLHBe4nmXzuXc0HDjk'
    >>> safe_name("../../etc/passwd")
    'etc-passwd-3754d6cb'
    """
    safe = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[-60:]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".strip("-")


def _picture_lines(picture: Picture | None) -> list[str]:
    if picture is None:
        return [fact("picture", "none: the track has no audio")]
    if picture.reason is not None:
        return [fact("picture", f"none: {picture.reason}")]
    if picture.seconds_decoded is None:
        return [fact("picture", f"dry run: would be written to {picture.path}")]
    decoded = f"{picture.seconds_decoded:.1f} s decoded, tempo {picture.tempo:.1f} BPM"
    return [fact("audio", decoded), fact("picture", str(picture.path))]


main = command.job("show", __doc__, Config, ready, command.with_spark("show", run))

if __name__ == "__main__":
    raise SystemExit(main())
