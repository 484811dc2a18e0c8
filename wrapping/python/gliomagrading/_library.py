# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Loads the extension, after a look at the LibTorch that it will meet."""

import atexit
import importlib.metadata
import importlib.util
import os
import re
import warnings
from types import ModuleType
from typing import Optional
from collections.abc import Iterable

from ._parameters import whole_number
from ._version import __torch_version__
from .errors import GliomaGradingWarning, InputError

_core: Optional[ModuleType] = None


def torch_folder() -> Optional[str]:
    """The folder of the installed package torch, which is not imported for it."""
    try:
        found = importlib.util.find_spec("torch")
    except ValueError:  # a module without a specification stands in its place
        return None
    if found is None or not found.submodule_search_locations:
        return None
    return os.path.realpath(next(iter(found.submodule_search_locations)))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _loaded_libraries() -> Iterable[str]:
    """Files of LibTorch that this process has loaded already."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.split(maxsplit=5)[-1].strip() for line in maps if "/" in line}
    except OSError:
        return []
    return sorted(p for p in paths if re.match(r"lib(torch|torch_cpu|c10)(-[0-9a-f]+)?\.so", os.path.basename(p)))


def check_torch() -> None:
    """Raises ImportError where LibTorch is missing, has another version, or another LibTorch is loaded already.

    Two of them in one process crash it.
    """
    wanted = _minor(__torch_version__)
    folder = torch_folder()
    if folder is None:
        raise ImportError(f"gliomagrading needs LibTorch {wanted} from the package torch: pip install 'torch=={wanted}.*'")
    version_file = os.path.join(folder, "version.py")
    try:
        with open(version_file, encoding="utf-8") as file:
            match = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", file.read(), re.MULTILINE)
    except OSError as error:
        raise ImportError(f"The package torch in {folder} is incomplete ({error}): pip install 'torch=={wanted}.*'") from error
    installed = match.group(1) if match else "of an unknown version"
    if _minor(installed) != wanted:
        raise ImportError(
            f"gliomagrading was built for LibTorch {wanted}, but torch {installed} is installed in {folder}: "
            f"pip install 'torch=={wanted}.*', or build gliomagrading again with the torch that you have."
        )
    library = os.path.join(folder, "lib")
    for path in _loaded_libraries():
        if os.path.realpath(os.path.dirname(path)) != library:
            raise ImportError(
                f"This process has loaded another LibTorch, {path}; together with that of {folder} it would crash. "
                "Use gliomagrading in a process of its own, or take the other one out of LD_LIBRARY_PATH and LD_PRELOAD."
            )


def core() -> ModuleType:
    """The extension module; loaded when it is first needed."""
    global _core
    if _core is None:
        check_torch()
        folder = torch_folder()
        beside = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "torch")
        if folder is not None and os.path.realpath(beside) != folder:
            # Another environment than ours holds torch: the RPATH does not lead there.
            import ctypes

            ctypes.CDLL(os.path.join(folder, "lib", "libtorch.so"))
        from . import _core as module

        atexit.register(module.end_runs)
        _core = module
    return _core


def pass_on_warnings() -> None:
    """Hands what C++ warned of to Python's warnings."""
    for line in core().take_warnings():
        warnings.warn(line, GliomaGradingWarning, stacklevel=4)


def set_number_of_threads(threads: int) -> None:
    """Most threads that a function uses; 0: all processors, which is the default. For the whole process."""
    threads = whole_number(threads, "threads")
    if not 0 <= threads < 1 << 31:
        raise InputError(f"threads is {threads}; give 0 (all processors) or more.")
    core().set_number_of_threads(threads)


def get_number_of_threads() -> int:
    """Threads that a function uses."""
    return int(core().get_number_of_threads())


def versions() -> dict[str, str]:
    """Versions of this package, ITK, and the LibTorch that it was built with."""
    from ._version import __version__

    return {"gliomagrading": __version__, "itk": str(core().get_itk_version()), "torch": str(core().get_torch_version())}
