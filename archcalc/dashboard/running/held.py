"""Models in memory, loaded once for all visitors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from archcalc.dashboard import job
from archcalc.dashboard.models import runnable
from archcalc.dashboard.session import say
from archcalc.dashboard.shared import Shared
from archcalc.extras import require_running
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import LoadedModel, ModelSource, Quantize
    from archcalc.spec.workload import Workload

# So many models are kept; what is longest unused makes room.
_OPENED: Final[Shared[ModelSource]] = Shared(16)
_READY: Final[Shared[LoadedModel]] = Shared(2)


def opened(name: str) -> ModelSource:
    """A model of the list before its weights are loaded; raises as `open_source` does."""
    require_running()
    from archcalc.run.loading.source import open_source

    source = runnable()[name]
    return _OPENED.made(name, lambda: open_source(source))


def ready(name: str, quantize: Quantize | None, work: Workload) -> LoadedModel:
    """The model in memory; while it is loaded, how long that takes is shown, and it can be stopped.

    Passes through it share nothing but its weights, so that visitors run it side by side.
    Raises as `ModelSource.load` does: TooLargeError before anything is allocated, if `work` does not fit.
    """
    key, found = (name, quantize), opened(name)
    there = _READY.get(key)
    if there is not None:
        return there
    label = say()(msg("Loading {model}…", model=name))
    progress = job.Progress(found.checkpoint.n_bytes if found.checkpoint else 0)

    def load() -> LoadedModel:
        return found.load(work, quantize=quantize, progress=progress)

    return job.run(label, lambda: _READY.made(key, load), key="load", progress=progress)
