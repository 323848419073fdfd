"""The texts of several residual streams in a diagram."""

from __future__ import annotations

from archcalc.spec.streams import AltUp, HyperConnections, SetAside
from archcalc.units import exact
from archcalc.words import Translator, msg


def projected(part: AltUp, say: Translator) -> str:
    """Return the line of the embedding that says how streams begin."""
    return say(msg("projected to {n} streams", n=exact(part.n_streams)))


def repeated(part: HyperConnections, say: Translator) -> str:
    """Return the line of the embedding that says how streams begin."""
    return say(msg("repeated in {n} streams", n=exact(part.n_streams)))


def connected(part: HyperConnections, say: Translator) -> str:
    """Return the line of a layer that says how its branches use the streams."""
    text = msg("a branch reads {n} streams, mixes them and adds to all") if part.mix else None
    text = text or msg("a branch reads {n} streams and adds to all")
    return say(text.fill(n=exact(part.n_streams)))


def set_aside(part: SetAside, say: Translator) -> str:
    """Return the line of the embedding that says how streams begin."""
    return say(msg("a new stream every {n} layers", n=exact(part.n_block)))


def attended(part: SetAside, say: Translator) -> str:
    """Return the line of a layer that says how its branches use the streams."""
    return say(msg("a branch reads all streams by a softmax and adds to the newest"))
