"""The notebooks run, say what they should, and are in step with their scripts."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import jupytext
import nbformat
import pytest

from notebooks.rebuild import HERE, execute, scripts

SCRIPTS = {script.stem: script for script in scripts()}
MAX_BYTES = 300_000


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("jupyter")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(folder / name))


def stored(name: str) -> nbformat.NotebookNode:
    return nbformat.read(HERE / f"{name}.ipynb", as_version=4)


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each code cell prints; stderr must stay empty."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            streams = [out for out in cell.outputs if out.output_type == "stream"]
            assert all(out.name == "stdout" for out in streams), streams
            texts.append("".join(out.text for out in streams))
    return texts


def test_every_notebook_has_its_script_and_the_other_way_round() -> None:
    assert {path.stem for path in HERE.glob("*.ipynb")} == set(SCRIPTS)
    assert "iris_walkthrough" in SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_notebook_is_in_step_with_its_script(name: str) -> None:
    cells = [(cell.cell_type, cell.source) for cell in jupytext.read(SCRIPTS[name]).cells]

    assert len(cells) > 5
    assert cells == [(cell.cell_type, cell.source) for cell in stored(name).cells], (
        "run: python notebooks/rebuild.py"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_notebook_runs_and_prints_what_is_stored(name: str) -> None:
    before = stored(name)

    after = execute(SCRIPTS[name])

    assert printed(after) == printed(before), "run: python notebooks/rebuild.py"
    kinds = [_kinds(notebook) for notebook in (before, after)]
    assert kinds[0] == kinds[1]


def _kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return the kinds of output of each code cell: tables, pictures."""
    return [
        sorted(kind for out in cell.outputs for kind in out.get("data", {}))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.parametrize("name", SCRIPTS)
def test_stored_outputs_are_small_and_know_no_machine(name: str) -> None:
    path = HERE / f"{name}.ipynb"
    text = path.read_text()
    outputs = [out for cell in stored(name).cells for out in cell.get("outputs", [])]

    assert len(text) < MAX_BYTES
    assert outputs
    assert all(out.output_type != "error" for out in outputs)
    for place in (HERE.parent, Path.home(), Path(tempfile.gettempdir())):
        # As a path in text: a picture in base64 may hold the same few letters.
        assert not re.search(rf"(?<![A-Za-z0-9+/]){re.escape(str(place))}/", text), place


def test_walkthrough_says_the_three_accuracies_apart() -> None:
    notebook = stored("iris_walkthrough")
    lines = "".join(printed(notebook)).splitlines()
    tables = [
        out.data["text/plain"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for out in cell.outputs
        if "data" in out
    ]
    report = next(table for table in tables if "hidden seeds" in table)

    assert "18 seeds, 132 unlabelled rows" in lines
    assert "same labels as scikit-learn: True" in lines
    assert "same labels as the estimator: True" in lines
    for name, accuracy in {"seeds": "1.000", "unlabelled": "0.667", "overall": "0.707"}.items():
        assert [line.split()[1] for line in lines if line.startswith(name)] == [accuracy]
        assert re.search(rf"truth, {name} .* {accuracy} ", report)
