"""`archcalc`, one of whose processes ends or stalls (as FAILS says) when it is to choose its third token."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import archcalc.run.decoding.steps as steps
from archcalc.cli.main import main

choose, calls = steps.choose, []
FAILURES = {"ends": lambda: os._exit(7), "stalls": lambda: os.kill(os.getpid(), signal.SIGSTOP)}


def failing(*args: Any) -> list[int]:
    calls.append(1)
    if len(calls) == 3 and os.environ["RANK"] == "1":
        FAILURES[os.environ["FAILS"]]()
    return choose(*args)


steps.choose = failing
main(sys.argv[1:])
