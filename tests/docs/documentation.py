"""The documentation as data: pages, fenced blocks, links, tables, and the shell commands in it."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.rglob("*.md"), *(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md"))],
    key=str,
)
_FENCE = re.compile(r"^(?P<quote>(?:> ?)?)```(?P<language>\w*)\n(?P<text>.*?)^(?P=quote)```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]\[]*(?:\[[^\]]*\]\([^)]*\))?[^\]\[]*\]\((?P<target>[^)\s]+)\)")
_JOB_FILE = re.compile(r"(?:.*/)?jobs/(\w+)\.py")
_GENREMILL = re.compile(r"(?:ExecStart=)?(?:\S*bin/)?genremill")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=.*")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}-{self.number}"


@dataclass(frozen=True)
class Command:
    """A command line of a job on a page."""

    page: str
    job: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.job} {' '.join(self.flags)}"


def name_of(page: Path) -> str:
    """A page's path from the root of the repository on."""
    return str(page.relative_to(ROOT))


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of all pages that are in one of the languages."""
    return [
        Block(page, number, found["language"], found["text"].replace(f"\n{found['quote'] or chr(0)}", "\n"))
        for page in PAGES
        for number, found in enumerate(_FENCE.finditer(page.read_text()), start=1)
        if found["language"] in languages
    ]


def links(page: Path) -> list[str]:
    """Targets of a page's links and images, without those in code."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    nested = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", prose)
    return [*nested, *(found["target"] for found in _LINK.finditer(prose))]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def tables(text: str) -> Iterator[list[list[str]]]:
    """The tables of a text: rows of cells, the headings first."""
    for found in re.findall(r"(?:^\|.*\|\n?)+", _FENCE.sub("", text), flags=re.M):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in found.splitlines()]
        yield [rows[0], *rows[2:]]


def table(page: str, *headings: str) -> list[list[str]]:
    """The rows of the only table of a page that begins with these headings."""
    return rows_of((DOCS / page).read_text(), *headings)


def rows_of(text: str, *headings: str) -> list[list[str]]:
    """The rows of the only table of a text that begins with these headings."""
    (found,) = (rows for rows in tables(text) if tuple(rows[0][: len(headings)]) == headings)
    return found[1:]


def section(page: str, heading: str) -> str:
    """The text of a page from a heading to the next one of the same level."""
    text = (DOCS / page).read_text()
    level = heading.split()[0]
    return text.partition(f"\n{heading}\n")[2].partition(f"\n{level} ")[0]


def code(cell: str) -> list[str]:
    """The words of a cell that are code."""
    return re.findall(r"`([^`]+)`", cell)


def lines(block: Block) -> list[list[str]]:
    """The words of each line of a shell block or of a systemd unit; continued lines are joined."""
    joined = block.text.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if not line.startswith("[")]


def commands() -> list[Command]:
    """All command lines of jobs in shell blocks and systemd units."""
    found = [_command(name_of(block.page), words) for block in blocks("sh", "ini") for words in lines(block)]
    return [one for one in found if one]


def _command(page: str, words: list[str]) -> Command | None:
    """The job that a line runs; None if it runs no job."""
    for at, word in enumerate(words):
        rest = tuple(words[at + 1 :])
        if script := _JOB_FILE.fullmatch(word):
            return Command(page, script[1], _until_pipe(rest))
        if _GENREMILL.fullmatch(word) and rest:
            return Command(page, rest[0], _until_pipe(rest[1:]))
    return None


def _until_pipe(words: tuple[str, ...]) -> tuple[str, ...]:
    ends = [at for at, word in enumerate(words) if word in ("|", "&&", ";")]
    return words[: ends[0]] if ends else words
