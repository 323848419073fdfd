"""Which tensors of a model have a storage format, and which formats the others have, as its library decides."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

# The role of a tensor in its model. linear: any other matrix of a Linear. experts: the stacked matrices of a mixture.
# tied: a token table that is the head's matrix too. gate: of shared experts, one output. table: relative bias.
# vector: what is no matrix, such as norms, biases (those of experts too), sinks and depthwise convolutions.
Role = Literal[
    "linear", "experts", "router", "gate", "embedding", "tied", "head", "position", "types", "table", "vector"
]
ROLES: tuple[Role, ...] = get_args(Role)


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The format of each role: `roles` have the policy's own format, those in `exceptions` another, others `default`.

    `description` states it in words, `source` names the code that decides.
    """

    description: str
    source: str
    roles: tuple[Role, ...]
    default: str
    exceptions: tuple[tuple[Role, str], ...] = ()

    def stores(self, role: Role, own: str, default: str = "") -> str:
        """Return the name of the format of a tensor of this role; `own` is the policy's format."""
        if role in self.roles:
            return own
        return dict(self.exceptions).get(role, default or self.default)


ALL_TENSORS = Policy(
    description="every tensor",
    source="a state dict cast with .to(dtype)",
    roles=ROLES,
    default="",
)
