# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The C++ program glioma that comes with the package."""

import os
import sys

from ._library import check_torch, torch_folder


def path() -> str:
    """Where the program lies."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "glioma")
    if not os.path.exists(program):
        raise FileNotFoundError(f"The program glioma is not at {program}; install gliomagrading again.")
    return program


def environment() -> dict[str, str]:
    """The environment in which the program finds LibTorch, also that of another environment than the package's."""
    variables = dict(os.environ)
    folder = torch_folder()
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "torch")
    if folder is not None and os.path.realpath(beside) != folder:
        paths = [os.path.join(folder, "lib"), variables.get("LD_LIBRARY_PATH", "")]
        variables["LD_LIBRARY_PATH"] = ":".join(p for p in paths if p)
    return variables


def main() -> None:
    """Becomes the program."""
    check_torch()
    os.execve(path(), ["glioma", *sys.argv[1:]], environment())
