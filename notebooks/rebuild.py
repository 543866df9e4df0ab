"""Execute the notebooks again from their scripts, and keep the outputs.

Usage: python notebooks/rebuild.py [NAME ...]   (default: all). The `.py` file is the source, in
jupytext's percent format; the `.ipynb` file beside it is made here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
HEADER = "# ---\n# jupyter:"
CELL_SECONDS = 300


def scripts() -> list[Path]:
    """Return the scripts that are notebooks."""
    return [path for path in sorted(HERE.glob("*.py")) if path.read_text().startswith(HEADER)]


def execute(script: Path) -> nbformat.NotebookNode:
    """Return the notebook of a script, executed in its own folder by this Python."""
    notebook: nbformat.NotebookNode = jupytext.read(script)
    # The project's code is found as in a checkout, installed or not.
    paths = [str(HERE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(HERE)}},
    )
    client.execute(env=env)
    # Nothing of this machine, and nothing random, goes into the file.
    notebook.metadata.pop("language_info", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def main(names: list[str]) -> None:
    """Rebuild the named notebooks, or all."""
    for script in scripts():
        if not names or script.stem in names:
            nbformat.write(execute(script), script.with_suffix(".ipynb"))
            print(script.with_suffix(".ipynb").name)


if __name__ == "__main__":
    main(sys.argv[1:])
