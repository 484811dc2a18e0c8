# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The C++ program glioma that comes with the package."""

import os
import sys
from collections.abc import Mapping

from ._library import check_torch, torch_folder


def path() -> str:
    """Where the program lies."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "glioma")
    if not os.path.exists(program):
        raise FileNotFoundError(f"The program glioma is not at {program}; install gliomagrading again.")
    return program


def library_folder() -> str:
    """Where LibTorch lies, if that is another environment than the package's; else the program finds it itself."""
    folder = torch_folder()
    beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "torch")
    return os.path.join(folder, "lib") if folder is not None and os.path.realpath(beside) != folder else ""


def with_library(variables: Mapping[str, str], folder: str) -> dict[str, str]:
    """An environment in which the program finds LibTorch in a folder too."""
    paths = [folder, variables.get("LD_LIBRARY_PATH", "")]
    return {**variables, **({"LD_LIBRARY_PATH": ":".join(p for p in paths if p)} if folder else {})}


def environment() -> dict[str, str]:
    """The environment of this process, in which the program finds LibTorch."""
    return with_library(os.environ, library_folder())


def main() -> None:
    """Becomes the program."""
    check_torch()
    os.execve(path(), ["glioma", *sys.argv[1:]], environment())
