# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The documentation of the C++ classes behind the functions, which the build takes from their headers."""

from typing import Any, Callable, TypeVar

try:
    from ._documentation_of_headers import CLASSES
except ImportError:
    CLASSES: dict[str, str] = {}  # type: ignore[no-redef]

F = TypeVar("F", bound=Callable[..., Any])


def documented(name: str) -> Callable[[F], F]:
    """Adds what the header of itk::<name> says to the function's own words."""

    def add(function: F) -> F:
        if name in CLASSES:
            function.__doc__ = f"{function.__doc__ or ''}\n\nThe C++ class itk::{name}:\n\n{CLASSES[name]}\n"
        return function

    return add
