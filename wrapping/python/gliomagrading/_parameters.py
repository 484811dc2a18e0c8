# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Values on their way to C++: NumPy's numbers count as Python's, and what cannot be right is told by its name."""

import operator
import os
from typing import Any, Callable, NoReturn, Union
from collections.abc import Iterable, Sequence

import numpy as np

from .errors import InputError


def plain(value: Any) -> Any:
    """A scalar of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0) else value


def _refuse(name: str, value: Any, wanted: str) -> NoReturn:
    raise InputError(f"{name} is {plain(value)!r}; give {wanted}.")


def whole_number(value: Any, name: str) -> int:
    """An integer, 8.0 too; a fraction is refused."""
    number = plain(value)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    if isinstance(number, bool):
        _refuse(name, value, "a whole number")
    try:
        return operator.index(number)
    except TypeError:
        _refuse(name, value, "a whole number")


def real_number(value: Any, name: str) -> float:
    number = plain(value)
    if isinstance(number, (bool, str, bytes, np.ndarray)):
        _refuse(name, value, "a number")
    try:
        return float(number)
    except (TypeError, ValueError, OverflowError):
        _refuse(name, value, "a number")


def truth(value: Any, name: str) -> bool:
    answer = plain(value)
    return answer if isinstance(answer, bool) else _refuse(name, value, "True or False")


def lists(values: Any) -> list[Any]:
    """One value, or several, as a list."""
    values = plain(values)
    return list(values) if isinstance(values, Iterable) and not isinstance(values, (str, bytes)) else [values]


def name_list(values: Union[str, Sequence[str]], name: str) -> list[str]:
    """One name, or several, as a list."""
    found = lists(values)
    for value in found:
        if not isinstance(value, str):
            _refuse(name, value, "names, each a str")
    return found


def word_list(values: Any, name: str) -> list[str]:
    """The words of a command, which may be paths; one alone is one word."""
    words = lists(values)
    for word in words:
        if not isinstance(word, (str, bytes, os.PathLike)):
            _refuse(name, word, "strings and paths")
    return [os.fsdecode(word) for word in words]


def _like(example: Any, value: Any, name: str) -> Any:
    """The value in the type of an example, which C++ gave."""
    if isinstance(example, bool):
        return truth(value, name)
    if isinstance(example, int):
        return whole_number(value, name)
    if isinstance(example, float):
        return real_number(value, name)
    if isinstance(example, str):
        return value if isinstance(value, str) else _refuse(name, value, "a str")
    values, kinds = lists(value), {type(part) for part in example}
    if kinds == {int}:
        return [whole_number(part, name) for part in values]
    return values if kinds <= {str} and all(isinstance(part, str) for part in values) else [real_number(part, name) for part in values]


def _set(put: Callable[[Any], object], example: Any, value: Any, name: str) -> None:
    ready = _like(example, value, name)
    try:
        put(ready)
    except (TypeError, OverflowError):  # of the right type by now
        whole = [part for part in lists(ready) if isinstance(part, int)]
        if any(part < 0 for part in whole):
            _refuse(name, value, "0 or more")
        is_short = isinstance(ready, list) and len(example) not in (0, len(ready))
        is_large = any(part >= 1 << 31 for part in whole)
        _refuse(name, value, f"{len(example)} of them" if is_short and not is_large else "a smaller number")


def set_parameters(run: Any, **values: Any) -> None:
    """Calls set_NAME of a run; what get_NAME gives says which type it takes."""
    for name, value in values.items():
        _set(getattr(run, f"set_{name}"), getattr(run, f"get_{name}")(), value, name)


def set_members(made: Any, **values: Any) -> None:
    """The same for the members of a structure."""
    for name, value in values.items():
        _set(lambda ready, name=name: setattr(made, name, ready), getattr(made, name), value, name)  # type: ignore[misc]
