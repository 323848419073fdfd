"""An interpreter of the expressions of a trace, in plain tensors; it uses nothing of the model's forward pass."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archcalc.interp.trace.expression import Call, Expression, Module, Parameter, Value
from archcalc.spec import Spec
from archcalc.spec.compressed import CompressedAttention
from archcalc.spec.norm import Affine
from archcalc.spec.sparse import LocalBlocks, RandomBlocks

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "softplus": lambda x: torch.log1p(torch.exp(x)),
    "sqrt_softplus": lambda x: torch.log1p(torch.exp(x)).sqrt(),
    "relu2": lambda x: torch.relu(x) ** 2,
}


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "−": operator.sub, "·": operator.mul}


class Interpreter:
    """Evaluate expressions, given the values of earlier steps and the weights by their canonical names."""

    def __init__(self, spec: Spec, weights: Mapping[str, Tensor], theta: float = 10_000.0) -> None:
        self.spec, self.weights, self.theta = spec, weights, theta
        first = spec.stacks[0].stack
        self.pattern = getattr(first.runs[0].pattern[0].attention, "pattern", None)
        own = first.runs[0].pattern[0].attention
        is_compressed = isinstance(own, CompressedAttention)
        self.window = own.window if is_compressed else None
        self.n_pool = own.compression.n_pool if is_compressed and own.compression else 1
        self.global_tokens = first.global_tokens
        bottleneck = first.runs[0].pattern[0].bottleneck
        self.is_affine = bottleneck is not None and isinstance(bottleneck.norm, Affine)
        self.unit_offset = getattr(first.runs[0].pattern[0].norm, "unit_offset", False)

    def value(self, expression: Expression, known: Mapping[str, Tensor]) -> Tensor:
        """Return the value of an expression."""
        text = next(reversed([value for name, value in known.items() if name.endswith("ids")]), torch.zeros(0))
        found: Tensor = self._of(
            expression, {**known, "token_positions": torch.arange(len(text)), **self.repeats(text)}
        )
        return found

    def _of(self, node: Expression | float, known: Mapping[str, Tensor]) -> Any:
        match node:
            case Value(name):
                return known[name]
            case Parameter(name):
                return self.weights[name]
            case Module(name):
                return name
            case Call(function, arguments):
                found = OPERATORS.get(function) or ACTIVATIONS.get(function) or getattr(self, function)
                return found(*(self._of(argument, known) for argument in arguments))
        return node

    def _weight(self, name: str, kind: str = "weight") -> Tensor | None:
        return self.weights.get(f"{name}.{kind}")

    def rows(self, table: str, ids: Tensor) -> Tensor:
        return self.weights[f"{table}.weight"][ids]

    def linear(self, x: Tensor, module: str, bias: Tensor | None = None) -> Tensor:
        b = self._weight(module, "bias") if bias is None else bias
        y = x @ self.weights[f"{module}.weight"].T
        return y if b is None else y + b

    def grouped(self, x: Tensor, module: str, n: int) -> Tensor:
        """Each group of outputs has the weights of its own channels."""
        groups = x.split(n, -1)
        weights = self.weights[f"{module}.weight"].squeeze(-1).chunk(len(groups))
        y = torch.cat([group @ w.T for group, w in zip(groups, weights, strict=True)], -1)
        b = self._weight(module, "bias")
        return y if b is None else y + b

    def by_heads(self, x: Tensor, module: str) -> Tensor:
        return torch.einsum("td,dnh->nth", x, self.weights[f"{module}.weight"])

    def from_heads(self, y: Tensor, module: str) -> Tensor:
        return torch.einsum("nth,dnh->td", y, self.weights[f"{module}.weight"])

    @staticmethod
    def each_head(p: Tensor) -> Tensor:
        return p[:, None]

    @staticmethod
    def distance_sinusoids(x: Tensor, c: int | None = None) -> Tensor:
        n, width = x.shape
        distances = torch.arange(n, -n, -1.0)
        distances = distances if c is None else distances.clamp(-c, c)
        angles = distances[:, None] / 10_000 ** (torch.arange(0, width, 2) / width)
        return torch.cat((angles.sin(), angles.cos()), -1)

    @staticmethod
    def at_distances(x: Tensor) -> Tensor:
        n = x.shape[1]
        return torch.stack([x[:, i, n - i : 2 * n - i] for i in range(n)], 1)

    def unit(self, x: Tensor) -> Tensor:
        return x / x.pow(2).sum(-1, keepdim=True).sqrt()

    def collisions(self, x: Tensor, n: int) -> Tensor:
        return (1 - torch.arccos(x.clamp(-1, 1)) / torch.pi).pow(n)

    @staticmethod
    def _around(x: Tensor, width: int) -> Tensor:
        """The tokens around each [.., T, C, W], of [.., T, C]; zeros beside the text."""
        still = x.new_zeros(*x.shape[:-2], width // 2, x.shape[-1])
        wide = torch.cat((still, x, still), -2)
        return torch.stack([wide[..., i : i + x.shape[-2], :] for i in range(width)], -1)

    def convolved_each(self, x: Tensor, module: str) -> Tensor:
        """By one filter of each head [N, T, H], or of each channel [T, C]."""
        w = self.weights[f"{module}.weight"].squeeze(1)
        windows = self._around(x, w.shape[-1])
        return (windows * (w[:, None, None] if x.dim() == 3 else w)).sum(-1)

    def spans(self, x: Tensor, k: Tensor, n: int) -> Tensor:
        kernels = k.unflatten(-1, (n, -1))
        windows = self._around(x, kernels.shape[-1]).unflatten(-2, (n, -1))
        return (windows * kernels.softmax(-1).unsqueeze(-2)).sum(-1).flatten(-2)

    def standardized(self, x: Tensor, eps: float) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        return centered / (centered.pow(2).mean(-1, keepdim=True) + eps).sqrt()

    def over_rms(self, x: Tensor, eps: float) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()

    def scaled(self, x: Tensor, module: str) -> Tensor:
        weight, bias = self._weight(module), self._weight(module, "bias")
        if weight is not None and weight.dim() == 2:  # a weight of its own for each head
            weight = weight[:, None]
        if weight is not None and self.unit_offset:
            weight = 1 + weight
        if weight is not None and weight.dim() == 2:  # a weight of its own for each head
            weight = weight[:, None]
        x = x if weight is None else x * weight
        return x if bias is None else x + bias

    def heads(self, x: Tensor, n: int) -> Tensor:
        return torch.stack(x.chunk(n, -1))

    def rotated(self, x: Tensor, r: int) -> Tensor:
        """Pairs half of r apart, by position · θ^(−2i/r) (Su et al. 2021)."""
        pairs, still = x[..., :r], x[..., r:]
        angles = torch.arange(x.shape[-2])[:, None] * self.theta ** (-torch.arange(0, r, 2) / r)
        a, b = pairs.chunk(2, -1)
        rotated = torch.cat((a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()), -1)
        return torch.cat((rotated, still), -1)

    def clamped(self, x: Tensor, c: float) -> Tensor:
        return torch.where(x > c, c, torch.where(x < -c, -c, x))

    def at_least(self, x: Tensor, c: float) -> Tensor:
        return torch.where(x < c, c, x)

    def at_most(self, x: Tensor, c: float) -> Tensor:
        return torch.where(x > c, c, x)

    def of_heads(self, x: Tensor) -> Tensor:
        return x[:, None]

    def no_longer(self, x: Tensor, c: float) -> Tensor:
        return x * (c / (x.pow(2).sum(-1, keepdim=True).sqrt() + 1e-6)).clamp(max=1)

    def by_slice(self, x: Tensor, *slices: float) -> Tensor:
        pieces = x.split([int(width) for width in slices[::2]], -1)
        return torch.cat([piece * factor for piece, factor in zip(pieces, slices[1::2], strict=True)], -1)

    def by_head(self, x: Tensor) -> Tensor:
        return x[:, None, None]

    def log_tempered(self, x: Tensor, places: Tensor, a: float, n: int) -> Tensor:
        return x * (1 + a * torch.log(1.0 + places // n))[:, None]

    def power_tempered(self, x: Tensor, places: Tensor, a: float, n: int) -> Tensor:
        return x * ((1 + places / n) ** a)[:, None]

    def sinusoid_halves(self, places: Tensor) -> Tensor:
        """Vaswani et al. 2017, section 3.5: column 2i is a sine, 2i + 1 a cosine; sines are put first."""
        width = self.spec.d_model
        columns = torch.arange(width)
        angles = places[:, None] / 10_000 ** ((columns - columns % 2) / width)
        return torch.cat((angles.sin()[:, ::2], angles.cos()[:, 1::2]), -1)

    def fairseq_sinusoids(self, places: Tensor) -> Tensor:
        half = self.spec.d_model // 2
        angles = places[:, None] / 10_000 ** (torch.arange(half) / (half - 1))
        return torch.cat((angles.sin(), angles.cos()), -1)

    def first(self, x: Tensor, n: int) -> Tensor:
        return x[..., :n]

    def last(self, x: Tensor, n: int) -> Tensor:
        return x[..., -n:]

    def concat(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat((x, y.expand(*x.shape[:-1], -1)), -1)

    def with_neighbors(self, x: Tensor, n: int) -> Tensor:
        beyond = x.new_zeros(n, x.shape[1])
        wide = torch.cat((beyond, x, beyond))
        return torch.cat([wide[2 * n - i : 2 * n - i + len(x)] for i in range(2 * n + 1)], -1)

    def norm(self, x: Tensor, module: str) -> Tensor:
        """By what has a bias: a layer norm of BERT's eps, else an RMS norm of its default."""
        if self.is_affine:
            return self.scaled(x, module)
        plain = self.over_rms(x, 1e-6) if self._weight(module, "bias") is None else self.standardized(x, 1e-12)
        return self.scaled(plain, module)

    def group_norm(self, x: Tensor, n: int, module: str) -> Tensor:
        return self.scaled(torch.cat([self.over_rms(group, 1e-6) for group in x.chunk(n, -1)], -1), module)

    def at(self, x: Tensor, places: Tensor) -> Tensor:
        return x.gather(-1, places)

    def summed(self, weights: Tensor, x: Tensor) -> Tensor:
        return (weights[..., None] * x).sum(-2)

    def total(self, x: Tensor) -> Tensor:
        return x.sum(-2)

    def experts(self, x: Tensor, chosen: Tensor, module: str, weights: Tensor | None = None) -> Tensor:
        """Each chosen expert's gated feed-forward, one token and one expert at a time."""
        gate, up, down = (self.weights[f"{module}.{name}.weight"] for name in ("gate", "up", "down"))
        rows = []
        for t, of_token in enumerate(chosen.tolist()):
            reads = [x[t] if weights is None else weights[t, k] * x[t] for k in range(len(of_token))]
            made = [
                down[e] @ (F.silu(gate[e] @ read) * (up[e] @ read))
                for e, read in zip((min(e, len(down) - 1) for e in of_token), reads, strict=True)
            ]
            rows.append(torch.stack(made))
        return torch.stack(rows)

    def fourier(self, x: Tensor) -> Tensor:
        """Sines and cosines written out: (C − iS)·x·(C − iS) has the real part C·x·C − S·x·S."""
        (c_T, s_T), (c_D, s_D) = ((a.cos(), a.sin()) for a in map(self._angles, x.shape))
        return c_T @ x @ c_D - s_T @ x @ s_D

    @staticmethod
    def _angles(n: int) -> Tensor:
        return 2 * torch.pi * torch.outer(torch.arange(n), torch.arange(n)) / n

    def linear_at(self, x: Tensor, i: int, module: str) -> Tensor:
        bias = self._weight(module, "bias")
        y = x @ self.weights[f"{module}.weight"][i].T
        return y if bias is None else y + bias[i]

    def or_input(self, outputs: Tensor, x: Tensor, chosen: Tensor, n: int) -> Tensor:
        rows = [
            torch.stack([outputs[t, k] if e < n else x[t] for k, e in enumerate(of_token)])
            for t, of_token in enumerate(chosen.tolist())
        ]
        return torch.stack(rows)

    def or_zero(self, outputs: Tensor, chosen: Tensor, n: int) -> Tensor:
        return outputs * (chosen < n)[..., None]

    def convolved_heads(self, x: Tensor, module: str) -> Tensor:
        """Token by token, head by head; the first convolution computes its bias before the text."""
        first, second = (self.weights[f"{module}.{name}.weight"] for name in ("depthwise", "grouped"))
        before = first.shape[-1] + second.shape[-1] - 2
        wide = torch.cat((x.new_zeros(before, x.shape[1]), x))
        each = [(wide[t : t + first.shape[-1]] * first[:, 0].T).sum(0) for t in range(len(wide) - first.shape[-1] + 1)]
        y = torch.stack(each) + self.weights[f"{module}.depthwise.bias"]
        width, rows = second.shape[1], []
        for t in range(len(x)):
            near = y[t : t + second.shape[-1]]
            rows.append(
                torch.cat(
                    [
                        torch.einsum("wi,oiw->o", near[:, h : h + width], second[h : h + width])
                        for h in range(0, x.shape[1], width)
                    ]
                )
            )
        return torch.stack(rows) + self.weights[f"{module}.grouped.bias"]

    @staticmethod
    def each_repeated(x: Tensor, n: int) -> Tensor:
        return torch.stack([head for head in x for _ in range(n)])

    @staticmethod
    def head_means(x: Tensor, n: int) -> Tensor:
        return torch.stack([heads.sum(0) / n for heads in x.split(n)])

    def place(self, x: Tensor, n: int) -> Tensor:
        return x[n][None]

    def average(self, x: Tensor) -> Tensor:
        return x.sum(0, keepdim=True) / len(x)

    def rescaled(self, ids: Tensor, masked: int, share: float) -> Tensor:
        """Each token's factor, a column."""
        is_masked = [token == masked for token in ids.tolist()]
        factor = (1 - share) / (1 - sum(is_masked) / len(is_masked))
        return torch.tensor([[0.0 if one else factor] for one in is_masked])

    def shares(self, x: Tensor, least: float = 0.0) -> Tensor:
        return x / x.sum(-1, keepdim=True).clamp(min=least)

    def taken(self, weights: Tensor, chosen: Tensor, capacity: int) -> Tensor:
        """One choice after another: first choices first."""
        free, kept = dict.fromkeys(chosen.flatten().tolist(), capacity), weights.clone()
        for k in range(chosen.shape[1]):
            for t in range(len(chosen)):
                free[int(chosen[t, k])] -= 1
                if free[int(chosen[t, k])] < 0:
                    kept[t, k] = 0
        return kept

    def best_groups(self, x: Tensor, n: int, n_best: int, n_kept: int) -> Tensor:
        rows = []
        for row in x:
            groups = row.chunk(n)
            worth = [float(group.sort(descending=True).values[:n_best].sum()) for group in groups]
            best = sorted(range(n), key=lambda g: -worth[g])[:n_kept]
            rows.append(torch.cat([group if g in best else group - torch.inf for g, group in enumerate(groups)]))
        return torch.stack(rows)

    def sparsemixer(self, x: Tensor, chosen: Tensor, jitter: float) -> Tensor:
        rows = []
        for row, of_token in zip(x.tolist(), chosen.tolist(), strict=True):
            weights, left = [], set(range(len(row)))
            for e in of_token:
                near = [i for i in left if (row[e] - row[i]) / max(abs(row[i]), row[e]) <= 2 * jitter]
                weights.append(math.exp(row[e]) / sum(math.exp(row[i]) for i in near))
                left.remove(e)
            rows.append(weights)
        return torch.tensor(rows)

    def within(self, x: Tensor, c: float) -> Tensor:
        return torch.where(x.abs() > c, c * x.sign(), x)

    def clamped_swish(self, x: Tensor, c: float, a: float) -> Tensor:
        y = torch.where(x > c, c, x)
        return y / (1 + torch.exp(-a * y))

    def xielu(self, x: Tensor, module: str) -> Tensor:
        a, b = (torch.log(1 + torch.exp(self.weights[f"{module}.alpha_{sign}"])) for sign in "pn")
        return torch.where(x > 0, a * x**2, (b + 0.5) * (torch.exp(x) - 1 - x)) + x / 2

    def sparse(self, x: Tensor, s: float) -> Tensor:
        quantile = 2**0.5 * float(torch.erfinv(torch.tensor(2 * s - 1, dtype=torch.float64)))
        centered = x - x.mean(-1, keepdim=True)
        return torch.relu(centered - quantile * centered.pow(2).mean(-1, keepdim=True).sqrt())

    def in_table(self, ids: Tensor, n: int) -> Tensor:
        return ids * (ids < n)

    def piece(self, x: Tensor, i: int, n: int) -> Tensor:
        return x.chunk(n, -1)[i]

    def convolved_around(self, x: Tensor, module: str) -> Tensor:
        weight_DDW, bias_D = (self.weights[f"{module}.{kind}"] for kind in ("weight", "bias"))
        width = weight_DDW.shape[-1]
        padded = F.pad(x, (0, 0, width // 2, width // 2))
        return sum(padded[i : len(x) + i] @ weight_DDW[:, :, i].T for i in range(width)) + bias_D

    def convolved(self, x: Tensor, module: str) -> Tensor:
        """Each channel's sum over its last tokens, one token at a time."""
        weight, bias = self.weights[f"{module}.weight"][:, 0], self._weight(module, "bias")
        before = torch.cat((x.new_zeros(weight.shape[1] - 1, x.shape[1]), x))
        y = torch.stack([(before[t : t + weight.shape[1]] * weight.T).sum(0) for t in range(len(x))])
        return y if bias is None else y + bias

    def convolved_by(self, x: Tensor, module: str, numbers: Tensor, n: int) -> Tensor:
        """Token by token and head by head, the newest token first."""
        weight = self.weights[f"{module}.kernel"]
        width, each = len(weight), x.shape[1] // n
        rows = []
        for t in range(len(x)):
            own = weight + numbers[t].view(n, width).T.repeat_interleave(each, 1)
            rows.append(sum(own[i] * x[t - i] for i in range(min(width, t + 1))))
        return torch.stack(rows)

    def exp(self, x: Tensor) -> Tensor:
        return x.exp()

    def delta_rule(self, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor, n: int, m: int) -> Tensor:
        """Head by head, token by token (Yang et al. 2025, eq. 10)."""
        q, k = (torch.stack(x.chunk(m, -1)) for x in (q, k))
        q, k = (x / (x.pow(2).sum(-1, keepdim=True) + 1e-6).sqrt() for x in (q, k))
        heads = []
        for head, values in enumerate(v.chunk(n, -1)):
            state, of_key = torch.zeros(q.shape[-1], values.shape[-1]), head // (n // m)
            rows = []
            for t in range(len(values)):
                state = state * decay[t, head].exp()
                error = beta[t, head] * (values[t] - k[of_key, t] @ state)
                state = state + torch.outer(k[of_key, t], error)
                rows.append(q[of_key, t] @ state / q.shape[-1] ** 0.5)
            heads.append(torch.stack(rows))
        return torch.cat(heads, -1)

    def decayed_attention(self, q: Tensor, k: Tensor, v: Tensor, n: int, rate: float) -> Tensor:
        """Head by head: a sum over earlier tokens, each decayed by its distance (Qin et al. 2024, eq. 4)."""
        t = torch.arange(len(q))
        distance = (t[:, None] - t).float()
        heads = []
        for head, (q_h, k_h, v_h) in enumerate(zip(*(x.chunk(n, -1) for x in (q, k, v)), strict=True), 1):
            decay = torch.exp(-rate * 2 ** (-8 * head / n) * distance).tril()
            heads.append((q_h @ k_h.T * decay) @ v_h)
        return torch.cat(heads, -1)

    def matrix_memory(self, q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor, n: int) -> Tensor:
        """Head by head, token by token, without a scale of the exponents (Beck et al. 2024, eq. 19 to 27)."""
        heads = []
        for head, (q_h, k_h, v_h) in enumerate(zip(*(x.chunk(n, -1) for x in (q, k, v)), strict=True)):
            memory, total, rows = torch.zeros(k_h.shape[1], v_h.shape[1]), torch.zeros(k_h.shape[1]), []
            for t in range(len(q)):
                kept, written = torch.sigmoid(f[t, head]), torch.exp(i[t, head])
                memory = kept * memory + written * torch.outer(k_h[t], v_h[t])
                total = kept * total + written * k_h[t]
                read = q_h[t] / q_h.shape[1] ** 0.5
                rows.append(read @ memory / max(abs(float(read @ total)), 1.0))
            heads.append(torch.stack(rows))
        return torch.cat(heads, -1)

    def selective_scan(self, x: Tensor, delta: Tensor, b: Tensor, c: Tensor, module: str) -> Tensor:
        """Gu & Dao 2023, algorithm 2, a number at a time along the tokens; each head of channels has b and c."""
        a, d = -torch.exp(self.weights[f"{module}.A_log"]), self.weights[f"{module}.D"]
        n_heads = b.shape[1] // a.shape[1]
        b, c = (y.view(len(y), n_heads, -1).repeat_interleave(len(a) // n_heads, 1) for y in (b, c))
        state, rows = torch.zeros_like(a), []
        for t in range(len(x)):
            state = torch.exp(delta[t, :, None] * a) * state + (delta[t] * x[t])[:, None] * b[t]
            rows.append((state * c[t]).sum(1) + d * x[t])
        return torch.stack(rows)

    def blockwise(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        pieces = x.chunk(len(weight), -1)
        return torch.cat([piece @ w + b for piece, w, b in zip(pieces, weight, bias, strict=True)], -1)

    def gated_scan(self, x: Tensor, i: Tensor, r: Tensor, rate: Tensor) -> Tensor:
        """De et al. 2024, eq. 1 to 4, one token after another."""
        a = torch.exp(-8 * torch.log1p(torch.exp(rate)) * r)
        states = [i[0] * x[0]]
        for t in range(1, len(x)):
            states.append(a[t] * states[-1] + (1 - a[t] ** 2).sqrt() * i[t] * x[t])
        return torch.stack(states)

    def shifted(self, x: Tensor) -> Tensor:
        return torch.cat((torch.zeros_like(x[:1]), x[:-1]))

    def weighted_means(self, k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor) -> Tensor:
        """Peng et al. 2023, eq. 14, the sums written out."""
        rows = []
        for t in range(len(k)):
            ages = torch.arange(t - 1, -1, -1)[:, None]
            weights = torch.cat((torch.exp(k[:t] - ages * decay.exp()), torch.exp(k[t] + bonus)[None]))
            rows.append((weights * v[: t + 1]).sum(0) / weights.sum(0))
        return torch.stack(rows)

    def head_scan(self, x: Tensor, delta: Tensor, b: Tensor, c: Tensor, n_groups: int, module: str) -> Tensor:
        """Head by head, token by token (Dao & Gu 2024, eq. 1)."""
        a, d = -torch.exp(self.weights[f"{module}.A_log"]), self.weights[f"{module}.D"]
        heads = []
        for head, values in enumerate(x.chunk(len(a), -1)):
            group = head // (len(a) // n_groups)
            b_head, c_head = b.chunk(n_groups, -1)[group], c.chunk(n_groups, -1)[group]
            state, rows = torch.zeros(values.shape[1], b_head.shape[1]), []
            for t in range(len(values)):
                step = delta[t, head]
                state = torch.exp(step * a[head]) * state + torch.outer(step * values[t], b_head[t])
                rows.append(state @ c_head[t] + d[head] * values[t])
            heads.append(torch.stack(rows))
        return torch.cat(heads, -1)

    def dot(self, q: Tensor, k: Tensor) -> Tensor:
        return q @ k.repeat_interleave(q.shape[0] // k.shape[0], 0).transpose(-1, -2)

    def by_distance(self, x: Tensor, rows: Tensor) -> Tensor:
        t = torch.arange(len(rows))[:, None]
        return x[:, t, rows]

    def of_distance(self, x: Tensor, rows: Tensor) -> Tensor:
        s = torch.arange(rows.shape[1])
        return x[:, rows, s]

    def streams(self, *x: Tensor) -> Tensor:
        return torch.stack(x, -2)

    def attended_streams(self, x: Tensor, query: Tensor, eps: float) -> Tensor:
        """One token after another."""
        rows = []
        for streams in x:
            normed = self.over_rms(streams, eps)
            weights = torch.exp(normed @ query / x.shape[-1] ** 0.5)
            rows.append((weights[:, None] * normed).sum(0) / weights.sum())
        return torch.stack(rows)

    def with_stream(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat((x, y[:, None]), 1)

    def to_newest(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack((*x.unbind(1)[:-1], x[:, -1] + y), 1)

    def stream(self, x: Tensor, i: int) -> Tensor:
        return x[:, i]

    def as_large(self, y: Tensor, x: Tensor) -> Tensor:
        return y * x.norm(dim=-1, keepdim=True) / y.norm(dim=-1, keepdim=True)

    def mixed_streams(self, w: Tensor, x: Tensor) -> Tensor:
        n = x.shape[1]
        rows = [sum(w[:, n * j + i, None] * x[:, i] for i in range(n)) for j in range(n)]
        return torch.stack(rows, 1)

    def stream_logits(self, x: Tensor, module: str, eps: float) -> Tensor:
        flat = torch.cat(x.unbind(1), -1)
        y = flat @ self.weights[f"{module}.projection"].T / (flat.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        n, scale = x.shape[1], self.weights[f"{module}.scale"]
        each = [scale[min(i // n, 2)] for i in range(y.shape[-1])]
        return y * torch.stack(each) + self.weights[f"{module}.bias"]

    def over_streams(self, x: Tensor, w: Tensor) -> Tensor:
        return sum(w[:, j, None] * x[:, j] for j in range(x.shape[1]))

    def balanced(self, x: Tensor, n_turns: int, eps: float) -> Tensor:
        n = math.isqrt(x.shape[-1])
        columns = x.exp().view(-1, n, n)
        m = (columns / columns.sum(-1, keepdim=True) + eps).transpose(1, 2)
        for turn in range(n_turns):
            m = m / (m.sum(1, keepdim=True) + eps) if turn else m
            m = m / (m.sum(2, keepdim=True) + eps)
        return m.flatten(1)

    def spread(self, y: Tensor, w: Tensor) -> Tensor:
        return torch.stack([w[:, j, None] * y for j in range(w.shape[1])], 1)

    def to_later(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([x[:, 0], *(stream + y for stream in x[:, 1:].unbind(1))], 1)

    def rotated_at(self, x: Tensor, r: int, n: int) -> Tensor:
        spaced = x.new_zeros(*x.shape[:-2], n * x.shape[-2], x.shape[-1])
        spaced[..., ::n, :] = x
        return self.rotated(spaced, r)[..., ::n, :]

    def turned_back(self, x: Tensor, r: int) -> Tensor:
        """The rotation of a pair whose second is negated, negated."""
        sign = torch.cat((torch.ones(r // 2), -torch.ones(r - r // 2)))
        return self.rotated(x * sign, r) * sign

    def pooled(self, v: Tensor, g: Tensor, p: Tensor) -> Tensor:
        n = len(p)
        each = [range(n * i, n * (i + 1)) for i in range(len(v) // n)]
        return torch.stack([(v[list(t)] * (g[list(t)] + p).softmax(0)).sum(0) for t in each])

    def overlapped(self, v: Tensor, g: Tensor, p: Tensor) -> Tensor:
        n, w = len(p), v.shape[-1] // 2
        entries = []
        for first in range(0, len(v) - n + 1, n):
            own, before = slice(first, first + n), slice(first - n, first)
            values, gates = [v[own, w:]], [g[own, w:] + p[:, w:]]
            if first:
                values, gates = [v[before, :w], *values], [g[before, :w] + p[:, :w], *gates]
            entries.append((torch.cat(values) * torch.cat(gates).softmax(0)).sum(0))
        return torch.stack(entries)

    def linear_by_group(self, x: Tensor, module: str, n: int) -> Tensor:
        matrices = self.weights[f"{module}.weight"].chunk(n)
        return torch.cat([piece @ m.T for piece, m in zip(x.chunk(n, -1), matrices, strict=True)], -1)

    def picked(self, table: Tensor, ids: Tensor) -> Tensor:
        return table[ids]

    def selected_entries(self, x: Tensor, places: Tensor) -> Tensor:
        n_tokens = x.shape[-2]
        places = places[:, None] if places.dim() == 1 else places
        kept = [[s < n_tokens or s - n_tokens in chosen for s in range(x.shape[-1])] for chosen in places.tolist()]
        return x.masked_fill(~torch.tensor(kept), -torch.inf)

    def masked_entries(self, x: Tensor, n: int) -> Tensor:
        seen = [[(s + 1) * n <= t + 1 for s in range(x.shape[-1])] for t in range(x.shape[-2])]
        return x.masked_fill(~torch.tensor(seen), -torch.inf)

    def first_tokens(self, x: Tensor, n: int) -> Tensor:
        return x[:n]

    def with_first(self, x: Tensor, y: Tensor, n: int) -> Tensor:
        return torch.stack([(y if t < n else x)[:, t] for t in range(x.shape[1])], 1)

    def followed(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.cat((x, y), -2)

    def rows_from(self, x: Tensor, a: int, n: int) -> Tensor:
        return torch.stack([x[a + i] for i in range(n)])

    def without_first(self, x: Tensor, n: int) -> Tensor:
        return torch.stack(x.unbind()[n:])

    def without_last(self, x: Tensor, n: int) -> Tensor:
        return x[: len(x) - n]

    def scaled_apart(self, x: Tensor, module: str, of_last: str, n: int) -> Tensor:
        rows = [self.scaled(row, module if t < len(x) - n else of_last) for t, row in enumerate(x)]
        return torch.stack(rows)

    def block_sums(self, x: Tensor, n: int) -> Tensor:
        """One token after another."""
        sums = x.new_zeros(len(x) // n, x.shape[-1])
        for t in range(len(x)):
            if len(sums):
                sums[min(t // n, len(sums) - 1)] += x[t]
        return sums

    def repeats(self, text: Tensor) -> dict[str, Tensor]:
        """Return the logarithm of how often each token of a text reads each key, where blocks are read again."""
        pattern = self.pattern
        if not isinstance(pattern, RandomBlocks):
            return {}
        last, log = (len(text) - 1) // pattern.n_block, math.log(1 + pattern.n_random)
        is_long = len(text) > (5 + 2 * pattern.n_random) * pattern.n_block
        rows = [
            [log if is_long and s < pattern.n_block <= t < last * pattern.n_block else 0.0 for s in range(len(text))]
            for t in range(len(text))
        ]
        return {"log_reads": torch.tensor(rows)}

    def reads(self, t: int, s: int, n: int) -> bool:
        """Return whether token t of n reads key s; what is after the tokens is a summary."""
        pattern = self.pattern
        if isinstance(pattern, LocalBlocks):
            n_text = n - (self.global_tokens.n_tokens if self.global_tokens else 0)
            shift = pattern.n_block // 2 if pattern.staggered else 0
            return max(t, s) >= n_text or (t + shift) // pattern.n_block == (s + shift) // pattern.n_block
        if not isinstance(pattern, RandomBlocks):
            first = getattr(pattern, "n_global", 0)
            return s >= n or abs(t - s) < pattern.window or min(t, s) < first
        blocks, last = (t // pattern.n_block, s // pattern.n_block), (n - 1) // pattern.n_block
        is_long = n > (5 + 2 * pattern.n_random) * pattern.n_block
        return not is_long or abs(blocks[0] - blocks[1]) < 2 or bool({0, last} & set(blocks))

    def masked(self, x: Tensor) -> Tensor:
        if self.pattern is not None:
            n, m = x.shape[-2:]
            kept = [[self.reads(t, s, n) for s in range(m)] for t in range(n)]
            return x.masked_fill(~torch.tensor(kept), -torch.inf)
        if self.window is not None:
            t, n_pool = x.shape[-2], self.n_pool
            far = ~(torch.ones(t, t).tril().bool() & torch.ones(t, t).triu(1 - self.window).bool())
            seen = [[(s + 1) * n_pool <= i + 1 for s in range(x.shape[-1] - t)] for i in range(t)]
            return x.masked_fill(torch.cat((far, ~torch.tensor(seen).view(t, -1).bool()), 1), -torch.inf)
        n_before = x.shape[-1] - x.shape[-2]  # learned keys, which every query sees
        return x.masked_fill(torch.ones(x.shape[-2:]).triu(1 + n_before).bool(), -torch.inf)

    def selected(self, x: Tensor, places: Tensor) -> Tensor:
        """Every key of every query by itself."""
        places = places[:, None] if places.dim() == 1 else places  # `top` of one gives no list
        kept = [[s in chosen for s in range(x.shape[-1])] for chosen in places.tolist()]
        return x.masked_fill(~torch.tensor(kept), -torch.inf)

    def at_distance(self, x: Tensor, t: Tensor) -> Tensor:
        biases = torch.cat((x @ t, torch.zeros(*x.shape[:-1], 1)), -1)
        n_texts, last = x.shape[1], t.shape[1]
        places = [[min(abs(i - j), last) for j in range(n_texts)] for i in range(n_texts)]
        return torch.stack([biases[:, i, row] for i, row in enumerate(places)], 1)

    def every_expert(self, x: Tensor, module: str) -> Tensor:
        n = len(self.weights[f"{module}.gate.weight"])
        return self.experts(x, torch.arange(n).repeat(len(x), 1), module)

    def late_tempered(self, x: Tensor, places: Tensor, a: float, n: int) -> Tensor:
        grown = [1 + a * math.log(max(1.0, p / n)) for p in places.tolist()]
        return x * torch.tensor(grown)[:, None]

    def of_keys(self, x: Tensor, n: int) -> Tensor:
        """[S, K] to [n, 1, S]: heads in turn have the numbers of one key head."""
        return torch.stack([x[:, head * x.shape[1] // n] for head in range(n)])[:, None]

    def kept(self, x: Tensor, b: Tensor, n: int) -> Tensor:
        """Every query by itself, among the keys up to its own."""
        kept = torch.full_like(x, -torch.inf)
        for head, t in itertools.product(range(x.shape[0]), range(x.shape[1])):
            best = sorted(range(t + 1), key=lambda s: float(b[head, 0, s]), reverse=True)[:n]
            kept[head, t, best] = x[head, t, best]
        return kept

    def over_heads(self, x: Tensor, w: Tensor) -> Tensor:
        return torch.einsum("nts,tn->ts", x, w)

    def capped(self, x: Tensor, c: float) -> Tensor:
        return c * torch.tanh(x / c)

    def softmax(self, x: Tensor, sinks: Tensor | None = None) -> Tensor:
        most = x.amax(-1, keepdim=True)
        e = torch.exp(x - most)
        rest = 0 if sinks is None else torch.exp((sinks if sinks.dim() == 3 else sinks[:, None, None]) - most)
        return e / (e.sum(-1, keepdim=True) + rest)

    def mix(self, p: Tensor, v: Tensor) -> Tensor:
        return p @ v.repeat_interleave(p.shape[0] // v.shape[0], 0)

    def paired(self, x: Tensor) -> Tensor:
        """Two heads half of all heads apart are one of twice the width, which both read."""
        n = len(x) // 2
        return torch.stack([torch.cat((x[head % n], x[head % n + n]), -1) for head in range(2 * n)])

    def less(self, x: Tensor, c: Tensor) -> Tensor:
        n = len(x) // 2
        return torch.stack([x[head] - c * x[head + n] for head in range(n)])

    def pair_factor(self, module: str, c: float) -> Tensor:
        first, second = (
            torch.exp(self.weights[f"{module}.lambda_q{i}"] @ self.weights[f"{module}.lambda_k{i}"]) for i in (1, 2)
        )
        return first - second + c

    def linears(self, x: Tensor, places: Tensor, module: str) -> Tensor:
        """Every choice of every token by itself."""
        places, weight = places[:, None] if places.dim() == 1 else places, self.weights[f"{module}.weight"]
        return torch.stack(
            [
                torch.stack([weight[i] @ (x[t, c] if x.dim() == 3 else x[t]) for c, i in enumerate(row)])
                for t, row in enumerate(places.tolist())
            ]
        )

    def pieces(self, x: Tensor, n: int) -> Tensor:
        return torch.stack(x.chunk(n, -1), 1)

    def in_a_row(self, x: Tensor) -> Tensor:
        return torch.cat(x.unbind(1), -1)

    def repeated(self, x: Tensor, n: int) -> Tensor:
        return torch.cat([x] * n)

    def joined(self, x: Tensor) -> Tensor:
        return torch.cat(tuple(x), -1)

    def pair_sums(self, x: Tensor) -> Tensor:
        n = x.shape[-1] // 2
        return torch.stack([x[..., i] + x[..., n + j] for i in range(n) for j in range(n)], -1)

    def top(self, x: Tensor, n: int) -> Tensor:
        found = x.topk(min(n, x.shape[-1]), -1).indices
        return found[..., 0] if n == 1 else found
