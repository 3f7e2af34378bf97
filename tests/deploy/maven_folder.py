"""Creates a folder in Maven's layout from a folder of jars, so that Spark resolves them without a network.

The dependencies come from the POM that each jar contains.
"""

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias
from xml.etree import ElementTree

Coordinates: TypeAlias = tuple[str, str, str]
"""Group, artifact and version."""
NAMESPACE = "{http://maven.apache.org/POM/4.0.0}"
WITHOUT_POM = {
    "analyticsaccelerator-s3": "software.amazon.s3.analyticsaccelerator",
    "reactive-streams": "org.reactivestreams",
    "third-party-jackson-core": "software.amazon.awssdk",
    "wildfly-openssl": "org.wildfly.openssl",
}
"""Groups of the jars that contain no POM, or one of before shading; they have no dependencies."""
TEST_ONLY = ("org.mockito",)
"""Groups whose scope is declared in a parent POM, which no jar contains."""


def lay_out(jars: Path, root: Path) -> None:
    """Copies jars below `root`, each with a POM; a dependency without a jar only gets a POM."""
    versions = {artifact: version for _, artifact, version in map(_split, jars.glob("*.jar"))}
    for jar, artifact, version in map(_split, sorted(jars.glob("*.jar"))):
        group = WITHOUT_POM.get(artifact)
        needs: list[Coordinates] = []
        if group is None:
            pom = _pom(jar, artifact)
            parent = pom.findtext(f"{NAMESPACE}parent/{NAMESPACE}groupId", "")
            group = pom.findtext(f"{NAMESPACE}groupId", parent)
            needs = list(_needs(pom, versions))
        shutil.copy(jar, _write_pom(root, (group, artifact, version), needs))
        for needed in needs:
            if needed[1] not in versions:
                _write_pom(root, needed, [])


def _split(jar: Path) -> tuple[Path, str, str]:
    artifact, _, version = jar.stem.rpartition("-")
    return jar, artifact, version


def _pom(jar: Path, artifact: str) -> ElementTree.Element:
    with zipfile.ZipFile(jar) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(f"/{artifact}/pom.xml"))
        return ElementTree.fromstring(archive.read(name))


def _needs(pom: ElementTree.Element, versions: dict[str, str]) -> Iterator[Coordinates]:
    for one in pom.iterfind(f"{NAMESPACE}dependencies/{NAMESPACE}dependency"):
        group, artifact, scope, optional = (
            one.findtext(NAMESPACE + name, "") for name in ("groupId", "artifactId", "scope", "optional")
        )
        if scope not in ("test", "provided") and optional != "true" and group not in TEST_ONLY:
            yield group, artifact, versions.get(artifact, "1")


def _write_pom(root: Path, coordinates: Coordinates, needs: list[Coordinates]) -> Path:
    group, artifact, version = coordinates
    home = root.joinpath(*group.split("."), artifact, version)
    home.mkdir(parents=True, exist_ok=True)
    dependencies = "".join(f"<dependency>{_elements(one)}</dependency>" for one in needs)
    (home / f"{artifact}-{version}.pom").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"{_elements(coordinates)}<dependencies>{dependencies}</dependencies></project>"
    )
    return home


def _elements(coordinates: Coordinates) -> str:
    names = ("groupId", "artifactId", "version")
    return "".join(f"<{name}>{one}</{name}>" for name, one in zip(names, coordinates, strict=True))
