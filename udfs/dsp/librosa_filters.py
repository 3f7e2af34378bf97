"""The module `librosa.filters`, imported without scipy.signal.

scipy.signal takes most of a second to import, and librosa only uses it for windows that are given by name.
"""

import sys
from functools import cache
from types import ModuleType


@cache
def librosa_filters() -> ModuleType:
    """The module; scipy imports scipy.signal when a function of librosa uses it for the first time."""
    name = "scipy.signal"
    if name in sys.modules:
        from librosa import filters
    else:
        sys.modules[name] = ModuleType(name)
        try:
            from librosa import filters
        finally:
            del sys.modules[name]
    module: ModuleType = filters
    return module
