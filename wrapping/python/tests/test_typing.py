# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Types: the package and its tests under mypy --strict, and what a user's program gets."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import gliomagrading

pytest.importorskip("mypy")

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = pathlib.Path(gliomagrading.__file__).parent

PROGRAM = """
from typing import Any
import numpy as np
import numpy.typing as npt
import gliomagrading as gg

array: npt.NDArray[np.float32] = np.ones((4, 5, 6), np.float32)
reveal_type(gg.brain_mask(array))
reveal_type(gg.brain_mask("t1.nii.gz"))
reveal_type(gg.brain_mask([array, array], details=True))
reveal_type(gg.grade(["t1", "t1c", "t2", "flair"]).tumour)
reveal_type(gg.grade([array] * 4).gradcam)
gg.bounding_box_roi(array, array, mode="sphere")
"""


def mypy(folder: pathlib.Path, *arguments: str, path: str = f"{PACKAGE.parent}:{HERE}") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "MYPYPATH": path}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--cache-dir", str(folder / "cache"), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )


def test_strict(tmp_path: pathlib.Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    tests = [str(path) for path in sorted(HERE.glob("*.py"))]
    done = mypy(tmp_path, *tests)
    assert done.returncode == 0, done.stdout
    # The sources behind the stubs.
    copy = tmp_path / "sources" / "gliomagrading"
    copy.mkdir(parents=True)
    for source in [*PACKAGE.glob("*.py"), PACKAGE / "_core.pyi"]:
        shutil.copy(source, copy)
    done = mypy(copy.parent, "-p", "gliomagrading", path=str(copy.parent))
    assert done.returncode == 0, done.stdout
    done = mypy(tmp_path, str(program))
    lines = [line for line in done.stdout.splitlines() if "program.py" in line]
    said = "\n".join(lines)
    assert "ndarray" in lines[0] and "gliomagrading.images.Image" in lines[1], said
    assert "BrainMaskDetails" in lines[2] and "gliomagrading.images.Image" in lines[3] and "Mapping" in lines[4], said
    assert "No overload variant" in lines[5] or "incompatible type" in lines[5], said


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    for stub in PACKAGE.glob("*.pyi"):
        assert (PACKAGE / (stub.stem + ".py")).exists()
