"""Models in memory, shared by all visitors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from archcalc.dashboard import job
from archcalc.dashboard.lru_cache import LruCache
from archcalc.dashboard.models import runnable_models
from archcalc.dashboard.session import say
from archcalc.extras import require_running
from archcalc.words import msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import LoadedModel, ModelSource, Quantize
    from archcalc.spec.workload import Workload

# The least recently used model is dropped first.
_SOURCES: Final[LruCache[ModelSource]] = LruCache(16)
_MODELS: Final[LruCache[LoadedModel]] = LruCache(2)


def open_model(name: str) -> ModelSource:
    """Return a model without its weights. Raises as `open_source` does."""
    require_running()
    from archcalc.run.loading.source import open_source

    source = runnable_models()[name]
    return _SOURCES.get_or_create(name, lambda: open_source(source))


def load_model(name: str, quantize: Quantize | None, work: Workload) -> LoadedModel:
    """Return the model in memory, loading it if need be behind a progress bar with a stop button.

    Visitors can run it side by side, because forward passes share only its weights.
    Raises as `ModelSource.load` does: TooLargeError before anything is allocated, if `work` does not fit.
    """
    key, source = (name, quantize), open_model(name)
    model = _MODELS.get(key)
    if model is not None:
        return model
    label = say()(msg("Loading {model}…", model=name))
    progress = job.Progress(source.checkpoint.n_bytes if source.checkpoint else 0)

    def load() -> LoadedModel:
        return source.load(work, quantize=quantize, progress=progress)

    return job.run(label, lambda: _MODELS.get_or_create(key, load), key="load", progress=progress)
