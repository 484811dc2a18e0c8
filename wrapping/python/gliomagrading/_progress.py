# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""How far a function is: a callback of the user, or a bar."""

import sys
from types import TracebackType
from typing import Any, Callable, Optional, Type, Union

Progress = Union[None, bool, Callable[[float, str], object]]


class Reporter:
    """What C++ calls with the progress (0 to 1) and the stage. True stands for a bar of tqdm, or of dots without it."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._bar: Any = None
        self.callback: Optional[Callable[[float, str], object]] = None
        if progress is True:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                self.callback = self._print
            else:
                self._bar = tqdm(total=1.0, desc=title, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}")
                self.callback = self._advance
        elif progress not in (None, False):
            if not callable(progress):
                raise TypeError("progress is neither True nor a function of the progress (0 to 1) and the stage's name.")
            self.callback = progress

    def _advance(self, progress: float, stage: str) -> None:
        self._bar.set_description(stage, refresh=False)
        self._bar.update(max(0.0, min(progress, 1.0) - self._bar.n))

    def _print(self, progress: float, stage: str) -> None:
        print(f"\r{stage}: {progress:4.0%}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if self._bar is not None:
            if kind is None:
                self._bar.update(1.0 - self._bar.n)
            self._bar.close()
        elif self.callback == self._print:
            print(file=sys.stderr)
