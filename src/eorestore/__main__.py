"""The command line's entry: turns errors into one line, one fix, and an exit code."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `eorestore`."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from eorestore.cli.app import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
