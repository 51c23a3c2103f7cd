"""The table of tasks: what `interbert finetune TASK` knows. A new task is one file beside this one and a line here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interbert.errors import UsageError, unknown_name
from interbert.model.interbert import InterBert
from interbert.tasks.task import Given, Task


@dataclass(frozen=True)
class TaskKind:
    """Where a task is: its module, the class of its options (a frozen dataclass) and the class of the task itself.

    The task's class has `open(data: Path, options, given: Given)`.
    """

    module: str
    options: str
    task: str

    def default_options(self) -> Any:
        """The options as they are where nobody says otherwise."""
        return getattr(self._module(), self.options)()

    def open(self, data: Path, options: Any, given: Given) -> Task:
        """The task on its data. Raises InterbertError for data that are not as they should be."""
        task: Task = getattr(self._module(), self.task).open(data, options, given)
        return task

    def prepared(self, model: InterBert) -> InterBert:
        """See `Task.prepared`."""
        made: InterBert = getattr(self._module(), self.task).prepared(model)
        return made

    def carry_over(self, start: Path, out: Path) -> None:
        """See `Task.carry_over`."""
        getattr(self._module(), self.task).carry_over(start, out)

    def _module(self) -> Any:
        return importlib.import_module(f"interbert.tasks.{self.module}")


TASKS: dict[str, TaskKind] = {
    "retrieval": TaskKind("retrieval", "RetrievalOptions", "Retrieval"),
    "vqa": TaskKind("vqa", "VqaOptions", "Vqa"),
    "vcr": TaskKind("vcr", "VcrOptions", "Vcr"),
    "cola": TaskKind("glue", "GlueOptions", "Cola"),
    "sst2": TaskKind("glue", "GlueOptions", "Sst2"),
    "stsb": TaskKind("glue", "GlueOptions", "Stsb"),
    "rte": TaskKind("glue", "GlueOptions", "Rte"),
    "products": TaskKind("products", "ProductsOptions", "Products"),
    "matching": TaskKind("matching", "MatchingOptions", "Matching"),
    "prefilter": TaskKind("prefilter", "PrefilterOptions", "Prefilter"),
}


def task_kind(name: str) -> TaskKind:
    """The task of that name. Raises UsageError with the nearest name."""
    if name not in TASKS:
        raise UsageError(unknown_name("task", name, TASKS))
    return TASKS[name]
