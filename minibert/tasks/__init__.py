"""The tasks, one file each: `--task NAME` is the class below in the file NAME.py."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task import Task

TASKS = {"classification": "ClassificationTask"}


def task_class(name: str) -> type[Task]:
    """The class of a task. It brings torch along, which `--help` does without."""
    found: Any = getattr(import_module(f".{name}", __package__), TASKS[name])
    return found  # type: ignore[no-any-return]
