"""`archcalc`, one of whose processes ends or stalls (as FAILS says) when it is to choose its third token."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import archcalc.run.decoding.steps as steps
from archcalc.cli.main import main

choose_tokens, calls = steps.choose_tokens, []
FAILURES = {"ends": lambda: os._exit(7), "stalls": lambda: os.kill(os.getpid(), signal.SIGSTOP)}


def failing(*args: Any) -> list[int]:
    calls.append(1)
    if len(calls) == 3 and os.environ["RANK"] == "1":
        FAILURES[os.environ["FAILS"]]()
    return choose_tokens(*args)


steps.choose_tokens = failing
main(sys.argv[1:])
