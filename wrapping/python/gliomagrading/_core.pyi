# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# The extension is internal: only the modules beside it use it, and their functions are typed.

from typing import Any

def __getattr__(name: str) -> Any: ...
