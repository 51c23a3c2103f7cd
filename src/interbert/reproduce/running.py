"""Doing the steps of tables: what is done is left, what was stopped goes on, what fails is said and left out.

`DIR/steps/NAME.json` says of each step whether it is done, what it found, with which program and how long it took. What
is done again makes what needs it be done again too.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from interbert.errors import InterbertError
from interbert.files import write_json
from interbert.reproduce.cells import Result
from interbert.reproduce.steps import Step
from interbert.reproduce.version import program_version

log = logging.getLogger(__name__)
STEPS = "steps"


def results_of(steps: Sequence[Step]) -> dict[str, Result]:
    """What is known of each step, by name. Raises InterbertError where one was done with other settings."""
    known: dict[str, Result] = {}
    return {step.name: _result_of(step, known) for step in steps}


def _result_of(step: Step, known: dict[str, Result]) -> Result:
    """What is known of a step, and into `known` of what it needs."""
    if step.name not in known:
        known[step.name] = _read(step, [(other.name, _result_of(other, known)) for other in step.needs])
    return known[step.name]


def _read(step: Step, needs: Sequence[tuple[str, Result]]) -> Result:
    """What the step's file says, where it still holds."""
    file = _file(step)
    if not file.is_file():
        return Result()
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        setting, after = kept.pop("setting"), kept.pop("after", {})
        result = Result(**kept)
    except (ValueError, TypeError, KeyError) as error:
        raise InterbertError(f"'{file}' is broken ({error}); remove it, and the step is done again") from error
    if result.done and step.has_folder and not step.folder.exists():
        return Result()
    if result.done and setting != _setting(step):
        remove = f"that folder and '{file}'" if step.has_folder else f"'{file}'"
        raise InterbertError(
            f"'{step.folder}' was made with other settings than it would be now ({_difference(setting, step)}); "
            f"give another --out, or remove {remove}"
        )
    if result.done and any(not of.done or after.get(name, of.finished) != of.finished for name, of in needs):
        return Result()
    return result


def _setting(step: Step) -> Any:
    """As a JSON file gives it back, without the place of DIR, which may have moved."""
    root = f"{step.root}/"
    words = [f"DIR/{word.removeprefix(root)}" if word.startswith(root) else word for word in step.command()]
    return json.loads(json.dumps(step.setting() | {"command": words}))


def _difference(before: Any, step: Step) -> str:
    """The first setting that differs."""
    one, two = dict(_flat(before)), dict(_flat(_setting(step)))
    for name in [*one, *two]:
        if one.get(name) != two.get(name):
            return f"{name} was {one.get(name)}, is {two.get(name)}"
    return "their order"


def _flat(value: Any, before: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in _flat(one, f"{before}.{key}" if before else key)]
    return [(before, value)]


def _file(step: Step) -> Path:
    return step.root / STEPS / f"{step.name}.json"


def _keep(step: Step, result: Result, results: Mapping[str, Result]) -> None:
    """results: of what it needs."""
    after = {other.name: results[other.name].finished for other in step.needs}
    file = _file(step)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, asdict(result) | {"setting": _setting(step), "after": after})


def do_steps(
    steps: Sequence[Step], *, progress: bool = False, after: Callable[[Mapping[str, Result]], None] | None = None
) -> dict[str, Result]:
    """Does every step that is not done, in order. Returns what became of each.

    A step that raises InterbertError is left out with its reason, and so is what needs it. after: called with what is
    known after each step. On Ctrl-C what is done is kept and KeyboardInterrupt goes on.
    """
    results = {name: one if one.done else replace(one, failure="") for name, one in results_of(steps).items()}
    clock = Clock(steps)
    for at, step in enumerate(steps, 1):
        if results[step.name].done:
            continue
        if failed := [other.name for other in step.needs if not results[other.name].done]:
            results[step.name] = Result(failure=f"it needs {failed[0]}: {results[failed[0]].failure}")
            continue
        log.info("[%d of %d] %s; %s", at, len(steps), step.name, clock.left(results))
        results[step.name] = _done(step, results, progress)
        if after is not None:
            after(results)
    return results


def _done(step: Step, results: Mapping[str, Result], progress: bool) -> Result:
    """Does a step; its time is kept also where it does not end."""
    began, program, before = time.monotonic(), program_version(), results[step.name]
    try:
        found = step.do(progress)
    except InterbertError as error:
        seconds = before.seconds + time.monotonic() - began
        result = Result(False, seconds, failure=str(error), program=program)
        log.warning("%s failed: %s", step.name, error)
        _keep(step, result, results)
        return result
    except BaseException:
        _keep(step, Result(False, before.seconds + time.monotonic() - began, program=program), results)
        raise
    found = json.loads(json.dumps(found, default=str))
    result = Result(True, before.seconds + time.monotonic() - began, found, program=program, finished=time.time())
    _keep(step, result, results)
    for path in step.leftovers():
        shutil.rmtree(path, ignore_errors=True)
    return result


class Clock:
    """How long the rest takes: what was reckoned for it, by what steps took of what was reckoned for them."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps, self.began = steps, time.monotonic()

    def left(self, results: Mapping[str, Result]) -> str:
        """In words, what is gone and what is left."""
        to_do = [step for step in self.steps if not results[step.name].done and not results[step.name].failure]
        seconds = seconds_left(self.steps, to_do, results)
        gone, whole = readable(time.monotonic() - self.began), sum(step.cost.seconds for step in self.steps)
        share = 1 - sum(step.cost.seconds for step in to_do) / whole if whole else 0.0
        steps = f"{len(to_do)} step{'' if len(to_do) == 1 else 's'}"
        return f"{steps} left, about {readable(seconds)}; {gone} gone  {bar(share)}"


def bar(share: float, width: int = 20) -> str:
    """A bar of what is done, as reckoned.

    >>> bar(0.5, 8)
    '[####....] 50 %'
    """
    done = round(share * width)
    return f"[{'#' * done}{'.' * (width - done)}] {share:.0%}".replace("%", " %")


def seconds_left(steps: Sequence[Step], to_do: Sequence[Step], results: Mapping[str, Result]) -> float:
    """Seconds of the steps to do, as reckoned, times what done steps of their kind took of what was reckoned for them.

    Of their kind alone: how fast pictures were extracted says nothing of a training.
    """
    return sum(one.cost.seconds * _slower(type(one), steps, results) for one in to_do)


def _slower(kind: type[Step], steps: Sequence[Step], results: Mapping[str, Result]) -> float:
    """How much longer the done steps of a kind took than was reckoned; 1 where none is done."""
    done = [step for step in steps if type(step) is kind and results[step.name].done]
    reckoned = sum(step.cost.seconds for step in done)
    return sum(results[step.name].seconds for step in done) / reckoned if reckoned else 1.0


def readable(seconds: float) -> str:
    """Seconds for people.

    >>> readable(42), readable(90), readable(5400), readable(400_000)
    ('42 s', '1.5 min', '1.5 h', '4.6 days')
    """
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size * (1.5 if unit == "days" else 1.0):
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
