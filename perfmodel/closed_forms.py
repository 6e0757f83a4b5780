"""Closed forms: the formulas of ops and models traced with symbols (the only importer of sympy).

The functions that answer with floats and arrays are called with symbols instead, so what is printed here is
what is computed there.

    >>> e = pm.explain("matmul", "h100-sxm5", n=4096, k=4096)      # doctest: +SKIP
    >>> e.flops, e.bytes, e.crossover("m")
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from perfmodel.algebra import total
from perfmodel.counts import LAUNCH
from perfmodel.engine.roofline import OpCost, cost
from perfmodel.errors import ArgumentError, UnknownNameError
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.hardware.catalog import system as system_of
from perfmodel.hardware.device import Device, System
from perfmodel.ops.core import Op
from perfmodel.ops.registry import OPERATORS, find
from perfmodel.spec import get_path, replace_path
from perfmodel.units import format_si
from perfmodel.workload.step import Step
from perfmodel.workload.workload import Workload
from perfmodel.workload.workload import workload as workload_of


@dataclass(frozen=True, repr=False)
class Explanation:
    """Closed forms of an op or of one pass of a model on one device.

    flops, bytes  operations of the matrix unit [FLOP], traffic of the outermost memory [B]
    parts         time on each resource, summed over ops [s]
    time          roofline time: per op the longest part, plus launches [s]
    symbols       name -> symbol of each size and hardware number
    values        values of the hardware symbols in SI
    units         unit of each hardware symbol
    """

    name: str
    flops: Any
    bytes: Any
    parts: Mapping[str, Any]
    time: Any
    symbols: Mapping[str, Any]
    values: Mapping[str, float]
    units: Mapping[str, str]

    @property
    def intensity(self) -> Any:
        """Operational intensity [FLOP/B]."""
        return sympy.simplify(self.flops / self.bytes)

    def at(self, expression: str = "time", **values: float) -> Any:
        """An expression with numbers for sizes and, unless given, the device's own numbers.

        Returns a float if no symbol is left, else an expression.
        """
        chosen = self._expression(expression).subs(self._numbers(values))
        return float(chosen) if not chosen.free_symbols else chosen

    def crossover(self, symbol: str = "", **values: float) -> list[Any]:
        """Positive values of a size where computing takes as long as reading and writing memory.

        symbol  the size to solve for (default: the only one left)
        values  numbers for the other sizes; without them the answer is an expression
        Empty if one side is always longer.
        """
        name = symbol or self._only_symbol(values)
        unknown = self._symbol(name)
        matrix = any(resource.startswith("compute.matrix") for resource in self.parts)
        compute, memory = self._side("compute.matrix" if matrix else "compute"), self._side("memory")
        given = {key: value for key, value in values.items() if key != name}
        equation = sympy.together((compute - memory).subs(self._numbers(given, exact=True)))
        roots = sympy.solve(sympy.numer(equation), unknown)
        found = [root for root in roots if root.is_positive or (root.free_symbols and not root.is_negative)]
        return [float(root) if not root.free_symbols else sympy.simplify(root) for root in found]

    def sensitivity(self, symbol: str, expression: str = "time", **values: float) -> Any:
        """d ln(expression) / d ln(symbol): a float where numbers are given for all symbols."""
        chosen, wanted = self._expression(expression), self._symbol(symbol)
        slope = sympy.diff(chosen, wanted) * wanted / chosen
        result = slope.subs(self._numbers(values)) if values else slope
        return float(result) if not result.free_symbols else result

    def latex(self, expression: str = "time") -> str:
        """LaTeX of an expression: flops, bytes, intensity or time."""
        return str(sympy.latex(self._expression(expression)))

    def _expression(self, name: str) -> Any:
        if name not in ("flops", "bytes", "intensity", "time"):
            raise UnknownNameError("expression", name, ("flops", "bytes", "intensity", "time"))
        return getattr(self, name)

    def _side(self, kind: str) -> Any:
        parts = [part for resource, part in self.parts.items() if resource.startswith(kind)]
        if not parts:
            raise ArgumentError("crossover", self.name, f"an op that needs {kind}")
        return sympy.Max(*parts) if len(parts) > 1 else parts[0]

    def _symbol(self, name: str) -> Any:
        if name not in self.symbols:
            raise UnknownNameError("symbol", name, self.symbols)
        return self.symbols[name]

    def _only_symbol(self, values: Mapping[str, float]) -> str:
        free = [name for name in self.symbols if name not in values and name not in self.values]
        if len(free) != 1:
            raise ArgumentError("symbol", ", ".join(free), "one size to solve for")
        return free[0]

    def _numbers(self, values: Mapping[str, float], exact: bool = False) -> dict[Any, Any]:
        numbers = {**self.values, **values}
        convert = sympy.Rational if exact else float
        return {self._symbol(name): convert(value) for name, value in numbers.items()}

    def __repr__(self) -> str:
        hardware = ", ".join(f"{k} = {format_si(v, self.units[k])}" for k, v in self.values.items())
        rows = (("FLOP", self.flops), ("bytes", self.bytes), ("FLOP/B", self.intensity), ("time", self.time))
        lines = [self.name, *(f"  {label:<7}= {sympy.sstr(value)}" for label, value in rows)]
        return "\n".join([*lines, f"  with {hardware}"] if hardware else lines)

    def _repr_latex_(self) -> str:
        rows = " \\\\ ".join(
            rf"\mathrm{{{name}}} &= {self.latex(name)}" for name in ("flops", "bytes", "intensity", "time")
        )
        return rf"$\begin{{aligned}} {rows} \end{{aligned}}$"


def explain(
    what: str | Op | Workload,
    device: str | Device | System,
    *,
    precision: str | Mapping[str, str] | Precision = "bf16",
    **sizes: Any,
) -> Explanation:
    """Closed forms of an operator, or of one pass of a model, on one device.

    what    operator name (its required sizes become symbols), an Op (whose sizes may be sympy symbols), or a
            workload (batch and context become symbols, query is 1)
    sizes   numbers for sizes that are not to be symbols

    Peak rates, bandwidths and the launch overhead become symbols too; `values` holds their numbers.
    """
    system, policy = system_of(device), precision_of(precision)
    name, symbols, ops = _ops(what, sizes)
    found = [cost(op, system, policy) for op in ops]
    system, values, units, hardware = _symbolic(system, found)
    costs = [cost(op, system, policy) for op in ops]
    resources = dict.fromkeys(resource for c in costs for resource in c.parts)
    parts = {r: _exact(total(c.parts[r] * c.count for c in costs if r in c.parts)) for r in resources}
    moved = _exact(total(c.count * c.demand.matching("memory") for c in costs))
    return Explanation(
        f"{name} on {system.name}, {policy.name}",
        sympy.expand(_exact(total(op.flops for op in ops))),
        moved,
        parts,
        _time(costs),
        {**symbols, **hardware},
        values,
        units,
    )


def _ops(what: Any, sizes: Mapping[str, Any]) -> tuple[str, dict[str, Any], Sequence[Op]]:
    """Name, symbols of the sizes, and the ops."""
    if isinstance(what, Op):
        free = {s.name: s for bound in what.loops.values() for s in sympy.sympify(bound).free_symbols}
        return what.name or what.family, dict(sorted(free.items())), [what]
    if isinstance(what, str):
        from perfmodel.ops import constructors  # noqa: F401  (registers all operators)

        if what in OPERATORS:
            return _operator(what, sizes)
    model = workload_of(what)
    given = {"query": 1, **sizes}
    symbols = {key: _size(key) for key in ("batch", "context") if key not in given}
    return model.name, symbols, model.graph(Step(**{**symbols, **given})).ops


def _operator(name: str, sizes: Mapping[str, Any]) -> tuple[str, dict[str, Any], Sequence[Op]]:
    function = find(name)
    parameters = inspect.signature(function).parameters
    for key in sizes:
        if key not in parameters:
            raise UnknownNameError(f"size of {name}", key, parameters)
    needed = [
        key for key, p in parameters.items() if p.default is inspect.Parameter.empty and key not in sizes
    ]
    symbols = {key: _size(key) for key in needed}
    return name, symbols, [function(**{**symbols, **sizes})]


def _size(name: str) -> Any:
    return sympy.Symbol(name, positive=True)


def _symbolic(
    system: System, costs: Sequence[OpCost]
) -> tuple[System, dict[str, float], dict[str, str], dict[str, Any]]:
    """The system with symbols for the rates that the ops use."""
    values: dict[str, float] = {}
    units: dict[str, str] = {}
    symbols: dict[str, Any] = {}
    for resource in dict.fromkeys(r for c in costs for r in (*c.parts, LAUNCH)):
        for path, name, unit in _hardware(resource, system):
            values[name], units[name] = float(get_path(system, path)), unit
            symbols[name] = sympy.Symbol(name, positive=True)
            system = replace_path(system, path, symbols[name])
    return system, values, units, symbols


def _hardware(resource: str, system: System) -> list[tuple[str, str, str]]:
    """Path, symbol and unit of the numbers behind a resource."""
    kind, _, rest = resource.partition(".")
    if kind == "compute":
        unit, _, key = rest.partition(".")
        symbol = f"P_{key}" if unit == "matrix" else f"P_{unit}_{key}"
        return [(f"device.compute.{unit}.peak.{key}", symbol, "FLOP/s")]
    if kind == "memory":
        return [(f"device.memory.{rest}.bandwidth", f"W_{rest}", "B/s")]
    if kind == LAUNCH and system.device.launch is not None and system.device.launch.overhead:
        return [("device.launch.overhead", "t_launch", "s")]
    return []


def _time(costs: Sequence[OpCost]) -> Any:
    terms = []
    for item in costs:
        parts = [_exact(part * item.count) for part in item.parts.values()]
        # Max of symbols that sympy cannot compare: unevaluated, so that no assumption is tried
        longest = (
            sympy.Max(*parts, evaluate=False) if len(parts) > 1 else parts[0] if parts else sympy.Integer(0)
        )
        terms.append(longest + _exact(item.serial * item.count))
    return sympy.Add(*terms)


def _exact(value: Any) -> Any:
    """Whole and rational coefficients instead of floats."""
    return sympy.nsimplify(sympy.sympify(value), rational=True)
