"""The command line: each verb parses, calls one function of the library and prints. No work of its own.

Results go to stdout, all else to stderr. Exit status: 0 done, 1 failed, 2 wrong command, 3 done in part, 130 and 143
stopped. Nothing heavy is imported before a verb runs.
"""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import TextIO

import click

from interbert import __version__
from interbert.cli.bundling import topics
from interbert.cli.converting import convert
from interbert.cli.evaluating import evaluate
from interbert.cli.exporting import export
from interbert.cli.finetuning import finetune
from interbert.cli.importing import import_features
from interbert.cli.judging import doctor, page, rank, score
from interbert.cli.learning import corpus, pretrain
from interbert.cli.pictures import extract, sample, store
from interbert.cli.recalling import index, recall
from interbert.cli.reproducing import reproduce
from interbert.cli.scores import calibrate, explain
from interbert.cli.screen import Screen
from interbert.cli.serving import serve
from interbert.cli.spamming import spam
from interbert.errors import InterbertError, unknown_name

DONE, FAILED, WRONG_COMMAND, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


class Verbs(click.Group):
    """A group that suggests the nearest verb and keeps the order in which verbs are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(unknown_name("verb", args[0], self.commands), ctx)
        return super().resolve_command(ctx, args)


VERBS = (
    sample,
    extract,
    import_features,
    store,
    spam,
    corpus,
    pretrain,
    finetune,
    evaluate,
    score,
    rank,
    explain,
    calibrate,
    page,
    index,
    recall,
    topics,
    serve,
    convert,
    export,
    reproduce,
    doctor,
)
program = Verbs(
    "interbert",
    commands={str(verb.name): verb for verb in VERBS},
    help="How pictures and sentences belong together: regions, corpora, pretraining, scores.",
    epilog="Each verb explains itself: interbert VERB --help",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
program = click.version_option(__version__, prog_name="interbert")(program)


def run(arguments: Sequence[str]) -> int:
    """One command. Returns its exit status; never raises, prints one sentence to stderr for what goes wrong."""
    screen = Screen()
    before = signal.signal(signal.SIGTERM, _terminate)
    with warnings.catch_warnings(), screen.notes():
        warnings.showwarning = _show_warning
        try:
            status = program.main(list(arguments), prog_name="interbert", obj=screen, standalone_mode=False)
            return status if isinstance(status, int) else DONE
        except BaseException as error:
            if screen.debug and not isinstance(error, SystemExit):
                traceback.print_exc()
            return _status_of(error)
        finally:
            signal.signal(signal.SIGTERM, before)


def _status_of(error: BaseException) -> int:
    """Says what went wrong, and which exit status that is."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        _say("stopped")
        return INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "interbert"
        _say(f"{error.format_message().rstrip('.')}; see  {path} --help")
        return error.exit_code
    if isinstance(error, InterbertError):
        _say(str(error))
        return error.exit_status
    if isinstance(error, OSError) and error.strerror:
        _say(f"{error.strerror}: '{error.filename}'" if error.filename else error.strerror)
        return FAILED
    _say(f"{type(error).__name__}: {error}  (a defect of interbert; with --debug it shows where)")
    return FAILED


def _say(sentence: str) -> None:
    sys.stderr.write(f"interbert: {sentence}\n")


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if category.__module__.startswith("interbert."):  # other people's warnings are not for whoever gives a command
        _say(f"note: {message}")


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)
