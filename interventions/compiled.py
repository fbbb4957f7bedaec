"""numba's compiler, which keeps compiled code where there is a place for it."""

from collections.abc import Callable
from typing import Any

import numba


def njit(*, cache: bool, nogil: bool) -> Callable[[Callable[..., Any]], Any]:
    """numba's decorator of this name; where no place for compiled code can be written to, each process compiles anew.

    Such places are the directory of the code, the user's cache and `$NUMBA_CACHE_DIR`; a container may have none.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=cache, nogil=nogil)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            return numba.njit(nogil=nogil)(function)

    return compiled
