"""`interbert` and `python -m interbert`."""

from __future__ import annotations

import signal
import sys

from interbert.cli import run


def main() -> None:
    """The command line; ends the process with the exit status of INTERFACE: 0, 1, 2, 3, 130 or 143."""
    status = run(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C once more: ends at once, without a traceback
    sys.exit(status)


if __name__ == "__main__":
    main()
