"""Runs the notebook of the documentation; `python -m tests.docs.notebook` stores the output of its cells.

The cells run in this process and in the current folder. The value of the last expression of a cell is its
output, as in Jupyter.
"""

import ast
import contextlib
import io
import json
import os
import tempfile
from typing import Any

from tests.docs.documentation import DOCS

NOTEBOOK = DOCS / "python.ipynb"


def run(notebook: dict[str, Any]) -> None:
    """Runs all code cells in order, and replaces their outputs; raises what a cell raises."""
    names: dict[str, Any] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, start=1):
        tree, shown = ast.parse("".join(cell["source"])), io.StringIO()
        *_, last = tree.body
        if isinstance(last, ast.Expr):
            tree.body.pop()
        place, value = f"cell {number}", None
        with contextlib.redirect_stdout(shown):
            exec(compile(tree, place, "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), place, "eval"), names)
        cell["execution_count"] = number
        cell["outputs"] = _outputs(shown.getvalue(), value, number)


def _outputs(printed: str, value: object, number: int) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = []
    if printed:
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)})
    if value is not None:
        text = {"text/plain": repr(value).splitlines(keepends=True)}
        result = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": text}
        outputs.append(result)
    return outputs


def main() -> None:
    """Runs the notebook in an empty folder and stores it with its output."""
    from genremill.infra.session import spark_session

    notebook = json.loads(NOTEBOOK.read_text())
    with tempfile.TemporaryDirectory() as folder, spark_session("notebook"):
        os.chdir(folder)
        run(notebook)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
