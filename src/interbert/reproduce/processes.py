"""A command of this program over several GPUs: torchrun starts it once for each, and its result comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import torch

from interbert.errors import InterbertError


def gpus() -> int:
    """How many GPUs torch sees."""
    return torch.cuda.device_count()


def torchrun(command: Sequence[str], processes: int) -> list[str]:
    """The words that start `interbert …` in so many processes.

    >>> torchrun(["interbert", "pretrain", "corpus"], 8)[1:]
    ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '8', '-m', 'interbert', 'pretrain', 'corpus']
    """
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*start, "-m", "interbert", *command[1:]]


def under_torchrun(command: Sequence[str], processes: int) -> dict[str, Any]:
    """The command's --json. Raises InterbertError where it fails; what it says on stderr is seen.

    Ctrl-C goes to the processes too, which stop with a checkpoint: it is waited for, then KeyboardInterrupt goes on.
    """
    stopped = False
    words = [*torchrun(command, processes), "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - our own program
        while True:
            try:
                said, _ = child.communicate()
                break
            except KeyboardInterrupt:
                stopped = True
            except SystemExit:
                child.terminate()
                child.wait()
                raise
    if stopped:
        raise KeyboardInterrupt
    if child.returncode:
        raise InterbertError(f"'{' '.join(command)}' failed in {processes} processes; what they said stands above")
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found
