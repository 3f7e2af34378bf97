"""Reads a Dockerfile as a list of instructions, and runs its steps in a folder instead of an image.

The folder `opt` stands for /opt in the image; no other path in the steps is changed. Debian packages are
looked up but not installed, and users are not created.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "infra" / "deploy" / "Dockerfile"
JARS = Path(os.environ.get("GENREMILL_TEST_JARS", ROOT.parent / "shared" / "jars"))


@dataclass(frozen=True)
class Instruction:
    """An instruction: a keyword such as `RUN`, and the text after it as one line."""

    keyword: str
    text: str


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile, in order; comments are left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for joined in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        keyword, _, rest = joined.partition(" ")
        yield Instruction(keyword, rest.strip())


@dataclass
class Image:
    """The folder that stands for an image's file system, and the environment of its steps."""

    root: Path
    arguments: dict[str, str]
    """Build arguments, as `--build-arg` gives them."""
    env: dict[str, str] = field(default_factory=dict)
    workdir: Path = Path("/")

    def build(self, text: str) -> None:
        """Runs all instructions; raises `CalledProcessError` if a step fails."""
        self.env = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        self.env |= {"PATH": f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(Path.home())}
        for one in instructions(text):
            print(f"{one.keyword} {one.text}", flush=True)
            if one.keyword == "ARG":
                name, _, default = one.text.partition("=")
                self.env[name] = self.arguments.get(name, default.strip('"'))
            elif one.keyword == "ENV":
                self.env |= dict(self._variables(one.text))
            elif one.keyword == "WORKDIR":
                self.workdir = Path(self.inside(one.text))
                self.workdir.mkdir(parents=True, exist_ok=True)
            elif one.keyword == "COPY":
                self._copy(one.text.split())
            elif one.keyword == "RUN":
                self._run(one.text)

    def inside(self, text: str) -> str:
        """The text with every image path replaced by its path in the folder."""
        return re.sub(r"(?<![\w.])/opt/", f"{self.root}/opt/", text)

    def _variables(self, text: str) -> Iterator[tuple[str, str]]:
        for name, value in re.findall(r'(\w+)=("[^"]*"|\S+)', text):
            expanded = re.sub(r"\$\{(\w+)\}", lambda match: self.env[match[1]], value.strip('"'))
            yield name, self.inside(expanded)

    def _copy(self, words: list[str]) -> None:
        if any(word.startswith("--from=") for word in words):
            return  # stages share the folder
        *sources, target = (word for word in words if not word.startswith("--"))
        place = self.workdir / self.inside(target)
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)

    def _run(self, text: str) -> None:
        if packages := re.search(r"apt-get install -y --no-install-recommends ([^&]+)", text):
            command = ["apt-get", "install", "--simulate", "--quiet", *packages[1].split()]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        elif not text.startswith("useradd"):
            command = ["/bin/sh", "-c", self.inside(text)]
            subprocess.run(command, check=True, cwd=self.workdir, env=self.env)

    def start(self, *command: str, **env: str) -> subprocess.Popen[str]:
        """Starts a command as in a container; stderr goes to stdout."""
        return subprocess.Popen(
            [self.inside("/opt/entrypoint.sh"), *command],
            cwd=self.workdir,
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
