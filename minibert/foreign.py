"""Arguments that a call takes in `transformers` but not here: a snippet that gives them runs, or learns what to do."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from .errors import InputError

Function = TypeVar("Function", bound=Callable[..., Any])

ANYTHING = object()  # any value, for what decides nothing that a result depends on


def foreign(
    arguments: Mapping[str, tuple[tuple[Any, ...], str]], renamed: Mapping[str, str] | None = None
) -> Callable[[Function], Function]:
    """A decorator for a function that is to know these arguments, too.

    arguments: by name, the values that ask for nothing else than what is done here anyway, and what to do instead of
        any other value, which raises an `InputError`.
    renamed: names of older versions of `transformers`, with those of today.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            for name in arguments.keys() & named:
                value = named.pop(name)
                same, instead = arguments[name]
                if ANYTHING not in same and value not in same:
                    found = " ".join(reprlib.repr(value).split())
                    raise InputError(f"'{name}' cannot be {found} here: {instead}.")
            for old in (renamed or {}).keys() & named:
                new = (renamed or {})[old]
                if new in named:
                    raise InputError(f"'{old}' is the old name of '{new}': give one of them.")
                named[new] = named.pop(old)
            return function(*given, **named)

        return cast("Function", call)

    return decorate
