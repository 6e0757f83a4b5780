"""Named axes: every array argument becomes one axis of an open mesh.

Arrays keep the shapes ``(n, 1, 1)``, ``(1, m, 1)`` ... for as long as a formula does not mix them, so a
sweep of ten million points works on small arrays almost everywhere.
"""

from __future__ import annotations

import copyreg
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from perfmodel.algebra import is_symbolic
from perfmodel.errors import ArgumentError, UnknownNameError


def read_only(table: Mapping[str, Any]) -> MappingProxyType[str, Any]:
    """Read-only view of a table."""
    return MappingProxyType(dict(table))


def _reduced(table: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return (read_only, (dict(table),))


# read-only views travel to other processes (executors of a sweep, a Result that comes back)
copyreg.pickle(MappingProxyType, _reduced)

#: Points evaluated at once: 1 MB per array, small enough for the cache, large enough to hide the interpreter.
CHUNK = 1 << 17


#: True while a graph is built: an array given to an operator is then a value on an open mesh, not an axis.
_BUILDING: ContextVar[bool] = ContextVar("building", default=False)


@contextmanager
def arrays_are_values() -> Iterator[None]:
    """While this is entered, arguments that are arrays stay arrays instead of becoming an Axis."""
    token = _BUILDING.set(True)
    try:
        yield
    finally:
        _BUILDING.reset(token)


def is_value(value: Any) -> bool:
    """Whether an array is a value on an open mesh here."""
    return isinstance(value, np.ndarray) and _BUILDING.get()


@dataclass(frozen=True, eq=False)
class Axis:
    """Values of one named axis.  Arguments with an Axis of the same name vary together."""

    name: str
    values: Any


class NamedArray(np.ndarray[Any, np.dtype[np.float64]]):
    """Array that knows the names (`axes`) and values (`coords`) of its axes."""

    axes: tuple[str, ...]
    coords: Mapping[str, Any]

    def __new__(cls, data: Any, axes: Sequence[str], coords: Mapping[str, Any]) -> NamedArray:
        """View of `data` whose dimensions carry the names `axes`."""
        array = np.asarray(data, dtype=np.float64).view(cls)
        array.axes = tuple(axes)
        array.coords = coords
        return array

    def __reduce__(self) -> tuple[Any, ...]:
        """Names and values of the axes travel along."""
        return (NamedArray, (np.asarray(self), self.axes, dict(self.coords)))

    def sel(self, **at: Any) -> Any:
        """Values where the named axes have the given values, as in xarray: the other axes stay.

        Raises UnknownNameError for an axis that does not exist, ArgumentError for a value not on the axis.
        """
        chosen: dict[str, Any] = {name: slice(None) for name in self.axes}
        for name, value in at.items():
            if name not in chosen:
                raise UnknownNameError("axis", name, self.axes)
            values = np.asarray(self.coords[name])
            near = (
                values == value
                if values.dtype.kind in "UO"
                else np.isclose(values, value, rtol=1e-5, atol=0.0)
            )
            if not near.any():
                raise ArgumentError(name, value, "one of " + ", ".join(str(v) for v in values[:20]))
            chosen[name] = int(np.flatnonzero(near)[0])
        left = [name for name in self.axes if name not in at]
        found = np.asarray(self)[tuple(chosen.values())]
        return NamedArray(found, left, {name: self.coords[name] for name in left}) if left else float(found)

    def __array_finalize__(self, other: Any) -> None:
        """Keep the names only while the shape is unchanged."""
        same = getattr(other, "shape", None) == self.shape
        same = same and (self.base is None or self.strides == other.strides)  # not reversed
        self.axes = getattr(other, "axes", ()) if same else ()
        self.coords = getattr(other, "coords", {}) if same else {}


def as_axis(name: str, value: Any) -> Any:
    """An Axis for a list, tuple, range or 1-D array; any other value is returned as it is.

    Raises ArgumentError for an empty, non-numeric, non-finite or more than one-dimensional array.
    """
    if isinstance(value, (list, tuple, range)) or (isinstance(value, np.ndarray) and value.ndim > 0):
        values = _numeric(name, value)
        return Axis(name, values)
    if isinstance(value, Axis):
        if not isinstance(value.name, str) or not value.name:
            raise ArgumentError("Axis.name", value.name, "a text that names the axis")
        return Axis(value.name, _numeric(value.name, value.values))
    return value


def _numeric(name: str, value: Any) -> Any:
    try:
        if np.asarray(value).dtype.kind in "bSUmMcV":  # texts and truths are not read as numbers
            raise TypeError
        values = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(name, value, "a list of numbers") from error
    if values.ndim != 1 or values.size == 0:
        raise ArgumentError(name, value, "a one-dimensional list of at least one number")
    if not np.all(np.isfinite(values)):
        raise ArgumentError(name, value, "finite numbers")
    return values


@dataclass(frozen=True)
class Mesh:
    """Axes found in a set of inputs, in the order of their appearance."""

    axes: Mapping[str, Any]

    @staticmethod
    def of(inputs: Mapping[str, Any]) -> Mesh:
        """Collect the axes of all inputs (numbers, Axis, dataclasses that hold 1-D arrays).

        An array inside a dataclass names its axis by the path to it, e.g. ``device.memory.hbm.bandwidth``.
        """
        found: dict[str, Any] = {}

        def visit(axis: Axis) -> Any:
            known = found.get(axis.name)
            if known is not None and len(known) != len(axis.values):
                raise ArgumentError(axis.name, f"{len(axis.values)} values", f"{len(known)}, as given before")
            found.setdefault(axis.name, axis.values)
            return axis

        for name, value in inputs.items():
            _map_axes(value, _root(name, value), visit)
        return Mesh(MappingProxyType(found))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values per axis."""
        return tuple(len(v) for v in self.axes.values())

    @property
    def ndim(self) -> int:
        """Dimensions of the arrays on the mesh: at least two, so that a 1-D array is always an axis yet to be
        placed and never a value on the mesh."""
        return max(2, len(self.axes)) if self.axes else 0

    @property
    def size(self) -> int:
        """Number of points."""
        return int(np.prod(self.shape, dtype=np.int64))

    def substitute(self, inputs: Mapping[str, Any], index: Sequence[slice] | None = None) -> dict[str, Any]:
        """Inputs with each axis replaced by its values (or a slice of them), shaped for the open mesh."""
        index = [slice(None)] * len(self.axes) if index is None else index
        place = {name: i for i, name in enumerate(self.axes)}

        def shaped(axis: Axis) -> Any:
            i = place[axis.name]
            shape = [1] * self.ndim
            values = np.asarray(axis.values)[index[i]]
            shape[i] = len(values)
            return values.reshape(shape)

        return {name: _map_axes(value, _root(name, value), shaped) for name, value in inputs.items()}

    def evaluate(
        self,
        function: Callable[..., Mapping[str, Any]],
        inputs: Mapping[str, Any],
        *,
        chunk: int = CHUNK,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """Call ``function(**inputs) -> {name: array}`` over the mesh, in blocks of at most `chunk` points.

        Results keep length 1 along the axes they do not depend on.
        """
        if self.size <= chunk:
            values = function(**self.substitute(inputs))
            return {name: self._squeeze(np.asarray(value)) for name, value in values.items()}
        result: dict[str, Any] = {}
        blocks = list(self._blocks(chunk))
        for done, block in enumerate(blocks):
            for name, value in function(**self.substitute(inputs, block)).items():
                result[name] = self._place(result.get(name), self._squeeze(np.asarray(value)), block)
            if progress is not None:
                progress((done + 1) / len(blocks))
        return result

    def _squeeze(self, value: Any) -> Any:
        """The value without the dimension that a single axis was padded with."""
        return value[..., 0] if value.ndim > len(self.axes) else value

    def _place(self, target: Any, value: Any, block: Sequence[slice]) -> Any:
        """Write the value of a block into the array of all blocks, which grows along axes that it needs.

        A block of length 1 cannot tell whether the value depends on that axis: it is taken to.
        """
        if value.ndim == 0:
            value = value.reshape((1,) * len(self.axes))
        single = [s.stop - s.start == 1 or n == 1 for s, n in zip(block, self.shape, strict=True)]
        shape = tuple(
            n if v > 1 or one else 1 for n, v, one in zip(self.shape, value.shape, single, strict=True)
        )
        if target is None:
            target = np.empty(shape, dtype=value.dtype)
        wider, kind = np.broadcast_shapes(target.shape, shape), np.result_type(target, value)
        if target.shape != wider or target.dtype != kind:
            target = np.broadcast_to(target, wider).astype(kind)
        where = tuple(s if n > 1 else slice(None) for s, n in zip(block, target.shape, strict=True))
        target[where] = value
        return target

    def _blocks(self, chunk: int) -> Any:
        """Index blocks: the last axes whole, the first ones cut until a block has at most `chunk` points."""
        sizes, room = [], chunk
        for n in reversed(self.shape):
            sizes.append(max(1, min(n, room)))
            room = max(1, room // n)
        sizes.reverse()
        ranges = [
            [slice(start, start + size) for start in range(0, n, size)]
            for n, size in zip(self.shape, sizes, strict=True)
        ]
        return itertools.product(*ranges)


def pick(inputs: Mapping[str, Any], at: Mapping[str, float]) -> dict[str, Any]:
    """Inputs at one point: each axis replaced by its value in `at`."""
    return {
        name: _map_axes(value, _root(name, value), lambda axis: at[axis.name])
        for name, value in inputs.items()
    }


def _root(name: str, value: Any) -> str:
    """Start of the axis names of an input: a system or workload is known by the paths inside it."""
    return "" if is_dataclass(value) and not isinstance(value, Axis) else name


def _map_axes(value: Any, path: str, function: Callable[[Axis], Any]) -> Any:
    """Copy of `value` with `function` applied to each axis in it; parts without axes are not copied.

    Raises ArgumentError for a symbol: a scenario answers with numbers.
    """
    if isinstance(value, Axis):
        return function(value)
    if isinstance(value, np.ndarray):
        return function(Axis(path, value)) if value.ndim == 1 else value
    if isinstance(value, Mapping):
        mapped = {k: _map_axes(v, f"{path}.{k}", function) for k, v in value.items()}
        if all(mapped[k] is value[k] for k in value):
            return value
        return MappingProxyType(mapped)
    if isinstance(value, tuple):
        items = tuple(_map_axes(v, f"{path}.{i}", function) for i, v in enumerate(value))
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if is_dataclass(value) and not isinstance(value, type):
        changes = {}
        for f in fields(value):
            if not f.compare:
                continue
            old = getattr(value, f.name)
            new = _map_axes(old, f"{path}.{f.name}".lstrip("."), function)
            if new is not old:
                changes[f.name] = new
        return replace(value, **changes) if changes else value
    if is_symbolic(value):
        raise ArgumentError(path, value, "numbers; formulas of symbols: pm.explain")
    return value
