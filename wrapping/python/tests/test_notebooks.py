# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The notebooks of examples/notebooks/, from their first cell to their last."""

import os
import pathlib
import re
from typing import Any

import pytest

from gliomagrading._program import path as program_path

nbformat: Any = pytest.importorskip("nbformat")
nbclient: Any = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOKS = sorted((pathlib.Path(__file__).resolve().parents[3] / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{os.path.dirname(program_path())}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs), "a notebook shows a picture"
    assert not [output for output in outputs if output.output_type == "error"]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["a-cohort", "explaining-your-own-model", "first-steps-with-simpleitk"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_names_no_machine(path: pathlib.Path) -> None:
    assert path.stat().st_size < 100000
    assert not re.search("/(home|root|tmp|work)/", path.read_text(encoding="utf-8"))
