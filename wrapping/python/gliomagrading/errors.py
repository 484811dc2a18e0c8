# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Exceptions and warnings. Those that C++ raises arrive as these, with the whole message."""


class Error(RuntimeError):
    """What the C++ library could not do."""


class InputError(Error, ValueError):
    """An image or a parameter that cannot be right; the message says which value and what to do."""


class ModelError(Error):
    """A model that cannot be loaded, or that contradicts what is asked of it."""


class Aborted(Error):
    """The computation was ended early."""


class GliomaGradingWarning(UserWarning):
    """What C++ warns of, and what a result must not be used for."""
