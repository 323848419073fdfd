"""The entry point of the command line (`archcalc`, `python -m archcalc`), which also handles an early Ctrl-C."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        from archcalc.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("archcalc: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
