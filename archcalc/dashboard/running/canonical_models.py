"""Models in memory that are not packed, so that taps can read them; shared by all visitors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from archcalc.dashboard.lru_cache import LruCache
from archcalc.dashboard.running.model_choice import ModelChoice
from archcalc.errors import InputError
from archcalc.extras import require_running
from archcalc.spec.set_options import changes
from archcalc.words import Bytes, msg

if TYPE_CHECKING:
    from archcalc.run.loading.source import LoadedModel, ModelSource
    from archcalc.spec.workload import Workload

# Bytes of weights of a model on these pages, at most.
MAX_WEIGHTS_BYTES: Final = 2_000_000_000

_SOURCES: Final[LruCache[ModelSource]] = LruCache(16)
_MODELS: Final[LruCache[LoadedModel]] = LruCache(3)


def open_model(choice: ModelChoice) -> ModelSource:
    """Return a model without its weights. Raises as `open_source` does."""
    require_running()
    return _SOURCES.get_or_create(choice, lambda: _open(choice))


def load_model(choice: ModelChoice, work: Workload) -> Any:
    """Return the module in memory. Raises InputError for a model beyond the limit of the pages, and as loading does."""
    source = open_model(choice)
    _check_size(source, work)
    return _MODELS.get_or_create(choice, lambda: source.load(work, packed=False, seed=choice.seed)).model


def _open(choice: ModelChoice) -> ModelSource:
    from archcalc.run.loading.source import open_source

    if not choice.is_random:
        return open_source(choice.name)
    return open_source(json.loads(choice.document), random_weights=True, changes=changes(choice.settings))


def _check_size(source: ModelSource, work: Workload) -> None:
    from archcalc.analysis.memory import summary
    from archcalc.ledger.build import build

    weights_bytes = summary(build(source.spec), work, "fp32")["weights_bytes"]
    if weights_bytes > MAX_WEIGHTS_BYTES:
        raise InputError(
            msg("needs {size} of weights in fp32", size=Bytes(weights_bytes)),
            where=source.spec.name,
            allowed=msg("up to {size} on this page", size=Bytes(MAX_WEIGHTS_BYTES)),
        )
