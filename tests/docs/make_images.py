"""Takes screenshots of a warehouse's reports with headless chromium: `make docs`.

python -m tests.docs.make_images build/warehouse docs/images
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tyro

PAGES = {"report.html": "model-report.png", "night.html": "nightly-report.png"}
"""Page of a run, and the name of its screenshot."""
WINDOW = "1000,1100"
MOST_BYTES = 300_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str:
    """Path of the browser."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit(
            f"make docs needs chromium, but none of {', '.join(CHROMIUM)} is installed "
            "(Debian: apt install chromium)"
        )
    return found


def newest(warehouse: Path, page: str) -> Path:
    """The page of the newest run that has one."""
    pages = sorted(warehouse.glob(f"reports/*/{page}"))
    if not pages:
        raise SystemExit(f"{warehouse}/reports has no {page}: run `make run` first")
    return pages[-1]


def without_path(text: str, warehouse: Path) -> str:
    """A page that does not show where the warehouse is on this machine."""
    return text.replace(str(warehouse.resolve()), "/data/warehouse")


def take(browser: str, text: str, image: Path) -> None:
    """Saves the top of a page as a PNG."""
    with tempfile.TemporaryDirectory() as profile:
        page = Path(profile) / "page.html"
        page.write_text(text)
        flags = [
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--blink-settings=preferredColorScheme=1",  # light
            f"--user-data-dir={profile}",
            f"--window-size={WINDOW}",
            f"--screenshot={image.resolve()}",
        ]
        done = subprocess.run(
            [browser, *flags, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if done.returncode or not image.exists():
        raise SystemExit(f"{browser} could not take the picture {image}:\n{done.stderr}")
    if image.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{image} has {image.stat().st_size:,} bytes; expected at most {MOST_BYTES:,}")


def main(warehouse: tyro.conf.Positional[Path], images: tyro.conf.Positional[Path]) -> None:
    """Saves screenshots of a warehouse's newest reports in a folder."""
    browser = chromium()
    for page, image in PAGES.items():
        take(browser, without_path(newest(warehouse, page).read_text(), warehouse), images / image)
        print(images / image)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
