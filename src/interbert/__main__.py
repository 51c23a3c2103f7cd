"""`interbert` and `python -m interbert`."""

from __future__ import annotations

import sys

from interbert.cli import run


def main() -> None:
    """The command line; ends the process with the exit status of INTERFACE: 0, 1, 2, 3, 130 or 143."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
