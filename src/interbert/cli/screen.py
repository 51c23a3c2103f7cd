"""What a verb says and where: results on stdout, notes and progress on stderr; and the options that all verbs share."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click


@dataclass
class Screen:
    """The shared options of the command that runs."""

    as_json: bool = False
    quiet: bool = False
    hide_progress: bool = False
    debug: bool = False

    @property
    def progress(self) -> bool:
        """Whether bars of progress are wanted: never where stderr is a file."""
        return not (self.quiet or self.hide_progress) and sys.stderr.isatty()

    def say(self, sentence: str) -> None:
        """A note for people."""
        if not self.quiet:
            sys.stderr.write(sentence + "\n")

    @contextmanager
    def notes(self) -> Iterator[None]:
        """Inside, what the library logs is said too."""
        logger, handler = logging.getLogger("interbert"), _Said(self)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    def show(self, value: Any, lines: Iterable[str]) -> None:
        """The result: `value` as one JSON object where --json is given, else the lines."""
        shown = [json.dumps(value, ensure_ascii=False, default=str)] if self.as_json else lines
        try:
            sys.stdout.writelines(line + "\n" for line in shown)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever reads has heard enough; nothing more is written, also not at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Said(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.say(record.getMessage())


def verb(name: str, *, examples: Sequence[str]) -> Callable[[Callable[..., Any]], click.Command]:
    """A command whose function takes the Screen first; its help ends with the examples."""

    def made(function: Callable[..., Any]) -> click.Command:
        epilog = "\b\nExamples:\n" + "\n".join(f"  {example}" for example in examples)
        command = click.command(name, epilog=epilog)(click.pass_obj(function))
        command.params += [_shared_option(field, flag, text) for field, flag, text in _SHARED]
        return command

    return made


def plain(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else " " for character in text)


_SHARED = (
    ("as_json", "--json", "The result as one JSON object."),
    ("quiet", "--quiet", "Nothing on stderr but errors."),
    ("hide_progress", "--no-progress", "No progress bars."),
    ("debug", "--debug", "Errors with a traceback."),
)


def _shared_option(field: str, flag: str, text: str) -> click.Option:
    def note(context: click.Context, _: click.Parameter, value: bool) -> None:
        setattr(context.obj, field, value)

    return click.Option([flag], is_flag=True, expose_value=False, is_eager=True, callback=note, help=text)


precision_option = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of products. auto: of fp32 and bf16 the faster, as doctor measured; int8 rounds most.",
)
