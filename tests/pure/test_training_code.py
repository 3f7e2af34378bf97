"""The digest by which a training resumes covers the code that trains, and no other code."""

import shutil
import subprocess
import sys
from pathlib import Path

from genremill.models.training import plan

ROOT = Path(plan.__file__).parent.parent
LOADED_BUT_NOT_COVERED = """
import sys
from genremill.models.training import loop, plan
loaded = {module.__file__ for name, module in sys.modules.items() if name.startswith("genremill.models")}
print(*(loaded - {str(path) for path in plan.training_code(plan.Path(plan.__file__).parent.parent)}))
"""


def _names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in plan.training_code(root)}


def test_every_module_that_the_training_loop_loads_is_covered() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED_BUT_NOT_COVERED], check=True, capture_output=True, text=True
    )
    assert loaded.stdout.split() == []


def test_networks_encoders_recipes_and_the_loop_are_covered() -> None:
    names = _names(ROOT)
    assert names >= {
        "training/loop.py",
        "training/shards.py",
        "training/optimizer.py",
        "training/manifest.py",
        "recipe.py",
        "zoo.py",
    }
    for folder in ("networks", "encoders"):
        assert names >= {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.py")}


def test_genres_pretrained_networks_and_metrics_are_not_covered() -> None:
    names = _names(ROOT)
    assert not [name for name in names if name.startswith(("genres/", "pretrained/vggish"))]
    assert "evaluation/metrics.py" not in names


def test_a_new_import_in_any_covered_file_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(ROOT, root)
    assert _names(root) == _names(ROOT)
    (root / "training" / "new.py").write_text("")
    with (root / "networks" / "text.py").open("a") as file:
        file.write("\n\ndef _late() -> None:\n    from genremill.models.training import new\n")
    assert _names(root) == _names(ROOT) | {"training/new.py"}
