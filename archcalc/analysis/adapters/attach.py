"""Attach adapters to the class of a model: the tensors that are trained, as rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec
from msgspec import structs

from archcalc.analysis.adapters.class_modules import ClassModules, ClassTensor
from archcalc.analysis.adapters.config import ALL_LINEAR, AdapterConfig
from archcalc.analysis.adapters.former_names import translated
from archcalc.analysis.adapters.matching import Deadline, ends_in, module_test, rank_of, test
from archcalc.analysis.adapters.methods import METHODS, RANK, AdaptedWeight, Axes, Method
from archcalc.analysis.weight_roles import role_of
from archcalc.errors import InputError, nearest, shown
from archcalc.hf import adapter_modules
from archcalc.ledger.algebra import Poly
from archcalc.ledger.leaves import Weight
from archcalc.ledger.rows import WeightRow
from archcalc.words import msg

MAX_SUGGESTIONS = 12
# The modules of which a copy is trained for a task, besides those that are named.
_TASK_MODULES = {"SEQ_CLS": ("classifier", "score")}


class Attached(msgspec.Struct, frozen=True):
    """What is trained.

    - `rows`: new tensors, adapters first, then copies of modules
    - `biases`: tensors of the model that are trained where they are
    - `shared`: new tensors that are not trained
    - `left_out`: matrices that 'all-linear' does not reach: patterns of their names
    - `not_found`: modules to copy that the class does not have
    """

    rows: tuple[WeightRow, ...]
    biases: tuple[WeightRow, ...] = ()
    shared: tuple[WeightRow, ...] = ()
    left_out: tuple[str, ...] = ()
    not_found: tuple[str, ...] = ()


def attach(config: AdapterConfig, modules: ClassModules, sizes: Mapping[str, int]) -> Attached:
    """Return what a method trains in a class. `sizes` are the ledger's.

    Raises InputError for a target that the class does not have, or that the method does not adapt.
    """
    copied = (*config.trained_modules, *_TASK_MODULES.get(config.task, ()))
    config = structs.replace(config, trained_modules=copied)
    sizes = {**sizes, "rank": config.rank}
    targets = list(_targets(config, modules))
    grouped = _Rows(sizes)
    for target in targets:
        for weight in METHODS[config.method].tensors(target):
            owner = target.tensor.pattern if target.is_parameter else target.tensor.pattern.rpartition(".")[0]
            grouped.add(target.tensor, f"{owner}.{weight.name}", weight.axes)
    adapted = {target.tensor.name for target in targets}
    for name, tensor in _copies(config, modules):
        grouped.add(tensor, tensor.pattern.replace(name, f"{name}.modules_to_save", 1), tensor.axes)
    found = {one for name in modules.names for one in copied if name.endswith(one)}
    return Attached(
        tuple(grouped.rows()),
        tuple(_biases(config, modules, {target.tensor.module for target in targets}, sizes)),
        tuple(_projections(targets, sizes)) if config.method == "vera" else (),
        tuple(_left_out(modules, adapted)) if config.targets == ALL_LINEAR else (),
        tuple(one for one in dict.fromkeys(config.trained_modules) if one not in found),
    )


def _targets(config: AdapterConfig, modules: ClassModules) -> Iterator[AdaptedWeight]:
    """Yield every weight that is adapted. Raises InputError if there is none."""
    method = METHODS[config.method]
    stated = config
    config = translated(config, modules)
    if config.targets is None and not (config.parameters and method.base == "lora"):
        config = structs.replace(config, targets=_default_targets(method, modules))
    if config.targets == ALL_LINEAR:
        config = structs.replace(config, targets=modules.linears)
    found = [*_adapted_modules(config, modules, method), *_adapted_parameters(config, modules)]
    if not found:
        raise unmatched(stated, modules)
    is_parameter = {one.module for one in _adapted_parameters(config, modules)}
    if both := [one.module for one in _adapted_modules(config, modules, method) if one.module in is_parameter]:
        raise InputError(
            msg("{module} and its weight are both targets", module=both[0]),
            where="target_parameters",
            allowed=msg("one of them"),
        )
    rank, feedforward = rank_of(config), _feedforward(config, modules)
    for tensor in _adapted_modules(config, modules, method):
        yield _target(config, tensor, rank(tensor.module), scales_inputs=feedforward(tensor.module))
    for tensor in _adapted_parameters(config, modules):
        if config.method == "dora" or config.has_bias:
            setting = "use_dora" if config.method == "dora" else "lora_bias"
            raise InputError(
                msg("parameters such as {name} cannot be adapted with {setting}", name=tensor.name, setting=setting),
                where="targets",
                allowed=msg("modules"),
            )
        yield _target(config, tensor, rank(tensor.name), is_parameter=True)


def _target(config: AdapterConfig, tensor: ClassTensor, rank: int | None, **how: bool) -> AdaptedWeight:
    n_rank = rank or config.rank
    times = n_rank // config.rank if n_rank % config.rank == 0 else 0
    symbol = times * RANK if times else Poly.constant(n_rank)
    return AdaptedWeight(tensor, symbol, n_rank, config.has_bias, **how)


def _adapted_modules(config: AdapterConfig, modules: ClassModules, method: Method) -> Iterator[ClassTensor]:
    """Yield the weight of each module that is a target. Raises InputError for one that the method does not adapt."""
    is_adapted = module_test(config)
    for name in modules.names:
        if not is_adapted(name):
            continue
        weight = modules.weights.get(name)
        if weight is None or weight.kind not in method.kinds:
            raise InputError(
                msg("{module} is no module that {method} adapts", module=name, method=method.title),
                where="targets",
                allowed=_allowed(modules),
            )
        if config.has_bias and weight.kind == "embedding":
            raise InputError(msg("{module} is a table", module=name), where="lora_bias", allowed="false")
        last = name.rpartition(".")[2]
        if (
            method.base == "lora"
            and modules.model_type in adapter_modules.REFUSED_TYPES
            and last in adapter_modules.REFUSED_MODULES
        ):
            raise InputError(
                msg(
                    "{library} does not adapt {module} of {model_type}, whose weight a kernel reads",
                    library=adapter_modules.LIBRARY,
                    module=last,
                    model_type=modules.model_type,
                ),
                where="targets",
                allowed=_allowed(modules, adapter_modules.REFUSED_MODULES),
            )
        yield weight


def _adapted_parameters(config: AdapterConfig, modules: ClassModules) -> Iterator[ClassTensor]:
    """Yield each parameter that is a target. Raises InputError for one that is no matrix."""
    deadline = Deadline()
    for tensor in modules.tensors if config.parameters else ():
        deadline.check("target_parameters")
        if not ends_in(tensor.name, config.parameters):
            continue
        if len(tensor.axes) not in (2, 3) or "." not in tensor.name:
            raise InputError(
                msg("{name} has the shape {shape}", name=tensor.name, shape=list(tensor.shape)),
                where="target_parameters",
                allowed=msg("matrices, or stacks of them"),
            )
        yield tensor


def _default_targets(method: Method, modules: ClassModules) -> str | tuple[str, ...]:
    """Return the targets of a model type. Raises InputError if it has none."""
    found = adapter_modules.targets(method.base, modules.model_type)
    if found is None:
        raise InputError(
            msg(
                "{library} names no modules of {model_type} by default",
                library=adapter_modules.LIBRARY,
                model_type=modules.model_type,
            ),
            where="targets",
            allowed=_allowed(modules),
        )
    return found


def _feedforward(config: AdapterConfig, modules: ClassModules) -> Callable[[str], bool]:
    """Return the test for modules whose inputs (IA)³ scales; it compares the ends of names without their dots."""
    if config.method != "ia3":
        return lambda _: False
    names = config.feedforward
    if names is None:
        names = adapter_modules.feedforward(modules.model_type)
        names = names if names is not None else _implied_feedforward(config, modules)
    if isinstance(names, str):
        return test(names, "feedforward_modules")
    ends = tuple(names)
    return lambda name: name.endswith(ends) if ends else False


def _implied_feedforward(config: AdapterConfig, modules: ClassModules) -> tuple[str, ...]:
    raise InputError(
        msg(
            "{library} names no modules of {model_type} by default",
            library=adapter_modules.LIBRARY,
            model_type=modules.model_type,
        ),
        where="feedforward_modules",
        allowed=", ".join(config.targets) if isinstance(config.targets, tuple) else _allowed(modules),
    )


def _copies(config: AdapterConfig, modules: ClassModules) -> Iterator[tuple[str, ClassTensor]]:
    """Yield every parameter of modules of which a copy is trained, with the pattern of the module's name."""
    done: set[str] = set()
    for name in modules.names:
        is_inside = any(name.startswith(f"{outer}.") for outer in done)
        if is_inside or not any(name.endswith(one) for one in config.trained_modules):
            continue
        done.add(name)
        n_parts = name.count(".") + 1
        for tensor in modules.tensors:
            if tensor.name.startswith(f"{name}."):
                yield ".".join(tensor.pattern.split(".")[:n_parts]), tensor


def _biases(
    config: AdapterConfig, modules: ClassModules, adapted: Collection[str], sizes: Mapping[str, int]
) -> Iterator[WeightRow]:
    """Yield the biases of the model that are trained where they are."""
    if config.bias == "none":
        return
    grouped = _Rows(sizes)
    for module, tensor in modules.biases.items():
        if config.bias == "all" or module in adapted:
            grouped.add(tensor, tensor.pattern, tensor.axes)
    yield from grouped.rows()


def _projections(targets: Iterable[AdaptedWeight], sizes: Mapping[str, int]) -> Iterator[WeightRow]:
    """Yield the two fixed matrices of VeRA that all its modules share, as wide as the widest of them."""
    shapes = [one.tensor.shape[::-1] if one.tensor.kind == "transposed" else one.tensor.shape for one in targets]
    out, into = (Poly.constant(max(shape[axis] for shape in shapes)) for axis in (0, 1))
    for name, axes in (("vera_A", (RANK, into)), ("vera_B", (out, RANK))):
        yield WeightRow(name, Weight(name, axes, "other", kind="buffer"), "", (), Poly.constant(1), sizes)


def _left_out(modules: ClassModules, adapted: Collection[str]) -> Iterator[str]:
    """Yield the patterns of the matrices of Linears, experts and routers that are not adapted, but for the head's."""
    found: dict[str, None] = {}
    for tensor in modules.tensors:
        if _is_product(tensor) and tensor.name not in adapted and not tensor.is_output:
            found[tensor.pattern.removesuffix(".weight").replace("{i}", "*")] = None
    yield from found


def _is_product(tensor: ClassTensor) -> bool:
    """Return whether tokens are multiplied by a tensor: a Linear's, the experts', a router's."""
    roles = ("linear", "experts", "router", "gate")
    return len(tensor.axes) > 1 and tensor.ours[0].endswith(".weight") and role_of(tensor.source) in roles


def unmatched(config: AdapterConfig, modules: ClassModules) -> InputError:
    """Return the error for targets that no module of the class matches."""
    names = config.targets if isinstance(config.targets, tuple) else (config.targets or "",)
    found = shown(", ".join(names) or ", ".join(config.parameters), 100)
    last = sorted({name.rpartition(".")[2] for name in modules.weights})
    hint = nearest(names[0], last) if names else ""
    return InputError(
        msg("no module of {class_name} matches {found}{hint}", class_name=modules.class_name, found=found, hint=hint),
        where="targets",
        allowed=_allowed(modules),
    )


def _allowed(modules: ClassModules, without: Collection[str] = ()) -> str:
    """Return the last names of Linears, as many as an error has room for."""
    names = [name for name in dict.fromkeys(name.rpartition(".")[2] for name in modules.linears) if name not in without]
    more = ["…"] if len(names) > MAX_SUGGESTIONS else []
    return ", ".join([ALL_LINEAR, *names[:MAX_SUGGESTIONS], *more] if not without else names)


class _Rows:
    """Joins the tensors of a name and shape into a row over their layers."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._found: dict[tuple[str, Axes], list[ClassTensor]] = {}

    def add(self, owner: ClassTensor, path: str, axes: Axes) -> None:
        """Add a tensor beside `owner`, under the pattern of its name."""
        self._found.setdefault((path, axes), []).append(owner)

    def rows(self) -> Iterator[WeightRow]:
        """Yield the rows in the order in which their first tensors were added."""
        for (path, axes), owners in self._found.items():
            source = owners[0].source
            indices = tuple(owner.index or 0 for owner in owners)
            repeats = source.repeats if indices == source.indices else Poly.constant(len(indices))
            weight = Weight(path.rpartition(".")[2], axes, source.component)
            row_path = path if "{i}" in path or len(indices) == 1 else f"{path}{{i}}"
            yield WeightRow(row_path, weight, source.group, indices, repeats, self._sizes)
