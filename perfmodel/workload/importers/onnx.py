"""ONNX graphs as workloads: shapes by inference, constants by evaluation, one op per node with a cost.

The ``onnx`` package is optional (``pip install perfmodel[onnx]``) and imported when first needed.
Weights may be absent (``*.onnx`` without its external data): only their shapes matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError, GraphError, PerfmodelError, optional
from perfmodel.ops.core import Op
from perfmodel.workload.graph import Graph
from perfmodel.workload.importers import onnx_fuse, onnx_nodes
from perfmodel.workload.importers.onnx_tables import FREE
from perfmodel.workload.nets.builder import FUSIONS
from perfmodel.workload.step import Step
from perfmodel.workload.workload import Workload

#: constants up to this many elements are evaluated: they are shapes, axes and indices
_SMALL = 4096


@dataclass(frozen=True)
class OnnxGraph:
    """Ops of an ONNX graph at its own batch; another batch scales the batch loop of each op.

    ops     op and the loops that grow with the batch
    batch   batch that the ops were built for
    """

    ops: tuple[tuple[Op, tuple[str, ...]], ...] = field(compare=False)
    batch: Value = 1.0

    def graph(self, step: Step, name: str = "onnx") -> Graph:
        """Ops of one pass with ``step.batch`` items."""
        factor = step.batch / self.batch
        return Graph(name, tuple(scaled(op, loops, factor) for op, loops in self.ops))


def scaled(op: Op, loops: Sequence[str], factor: Value) -> Op:
    """The op on a batch `factor` times as large."""
    if isinstance(factor, (int, float)) and factor == 1:
        return op
    bounds = {name: bound * factor if name in loops else bound for name, bound in op.loops.items()}
    work = tuple(replace(w, operations=w.operations * factor) for w in op.work)
    return replace(op, loops=bounds, work=work)


def from_onnx(
    path: str | Path,
    *,
    sizes: Mapping[str, int] | None = None,
    batch_axis: int = 0,
    fusion: str = "activation",
) -> Workload:
    """Workload of an ONNX file.

    sizes       values of the symbolic dimensions of the inputs, e.g. ``{"sequence": 128}``; the batch is 1 if
                it is symbolic and not given
    batch_axis  axis of the first input that is the batch (1 for a time-first recurrent network)
    fusion      ``none``: one kernel per node; ``activation``: pointwise nodes run in the kernel before them
                and score-softmax-value chains as fused attention; ``residual``: sums of two branches too

    Raises ArgumentError for a missing package, an unreadable file, an unknown operator or dimension.
    """
    if fusion not in FUSIONS:
        raise ArgumentError("fusion", fusion, ", ".join(FUSIONS))
    onnx = _package()
    path = Path(path)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises several unrelated classes
        raise ArgumentError("workload", str(path), "a readable ONNX file") from error
    if not model.graph.node:
        raise ArgumentError("workload", str(path), "an ONNX file with at least one node")
    _drop_weights(model.graph)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    reader = _Reader(onnx, model, dict(sizes or {}), batch_axis)
    nodes = reader.nodes()
    ops = onnx_fuse.fuse(nodes, fusion)
    dims = OnnxGraph(tuple(ops), reader.batch)
    return Workload(path.stem, "onnx", dims, source=f"ONNX file {path.name}")


def _drop_weights(graph: Any) -> None:
    """Forget the values of large tensors: only their shapes matter."""
    literals = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute]
    for tensor in (*graph.initializer, *literals):
        if np.prod(tensor.dims, dtype=float) > _SMALL:
            for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(name)


def _package() -> Any:
    return optional("onnx", "inliner", "reference", "shape_inference")


class _Reader:
    """Walks the nodes in order; keeps the shape of every tensor and the value of the small constant ones."""

    def __init__(self, onnx: Any, model: Any, sizes: dict[str, int], batch_axis: int) -> None:
        self.onnx, self.graph = onnx, model.graph
        self.opsets = list(model.opset_import)
        self.types: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.constant: set[str] = set()
        self.root: dict[str, str] = {}
        self.counted: set[str] = set()
        for item in self.graph.initializer:
            self.keep(item.name, item)
        self.batch = self.inputs(sizes, batch_axis)

    def keep(self, name: str, tensor: Any) -> None:
        """A constant tensor: its type, and its value if it is small and there."""
        self.types[name] = self.onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        self.constant.add(name)
        if np.prod(tensor.dims, dtype=float) <= _SMALL and not tensor.external_data:
            self.values[name] = self.onnx.numpy_helper.to_array(tensor)

    def inputs(self, sizes: dict[str, int], batch_axis: int) -> float:
        """Types of the inputs with symbolic dimensions replaced; returns the batch."""
        batch: float | None = None
        missing: set[str] = set()
        used: set[str] = set()
        for item in self.graph.input:
            if item.name in self.constant:
                continue
            kind = self.onnx.TypeProto()
            kind.CopyFrom(item.type)
            for axis, dim in enumerate(kind.tensor_type.shape.dim):
                if dim.HasField("dim_value") and dim.dim_value > 0:
                    continue
                label = dim.dim_param or f"{item.name}[{axis}]"
                used.add(label)
                if label not in sizes and axis != batch_axis:
                    missing.add(label)
                dim.dim_value = int(sizes.get(label, 1))
            self.types[item.name] = kind
            shape = self.shape(item.name)
            if batch is None and len(shape) > batch_axis:
                batch = float(shape[batch_axis])
        if missing:
            raise ArgumentError("sizes", dict(sizes), "values for " + ", ".join(sorted(missing)))
        unknown = set(sizes) - used
        if unknown:
            raise ArgumentError(
                "sizes", dict(sizes), "symbolic dimensions: " + (", ".join(sorted(used)) or "none")
            )
        return batch or 1.0

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor; empty for a scalar.  Raises GraphError if inference left it open."""
        if name not in self.types:
            raise GraphError(f"{self.graph.name}: the shape of tensor {name!r} is not known")
        dims = self.types[name].tensor_type.shape.dim
        if any(not dim.HasField("dim_value") for dim in dims):
            raise GraphError(f"{self.graph.name}: the shape of tensor {name!r} depends on values")
        return tuple(dim.dim_value for dim in dims)

    def nodes(self) -> list[onnx_nodes.Node]:
        """Nodes that do something at run time, with shapes and their op."""
        found = []
        taken: set[str] = set()
        for index, raw in enumerate(self.graph.node):
            label = raw.name or f"{raw.op_type}_{index}"
            label = label.strip("/").replace("/", ".")
            while label in taken:
                label += "_"
            taken.add(label)
            if self.folded(raw):
                continue
            self.infer(raw, label)
            node = onnx_nodes.Node(
                label,
                raw.op_type,
                tuple(raw.input),
                tuple(raw.output),
                {a.name: self.onnx.helper.get_attribute_value(a) for a in raw.attribute},
                [self.shape(name) if name else () for name in raw.input],
                [self.shape(name) if name else () for name in raw.output],
                [name in self.constant for name in raw.input],
                [self.values.get(name) for name in raw.input],
                repeated=self.counted_before(raw),
            )
            node.build()
            found.append(node)
        return found

    def counted_before(self, raw: Any) -> int:
        """Elements of the constant inputs that an earlier node has stored."""
        again = 0
        for name in raw.input:
            if name not in self.constant or raw.op_type in FREE:
                continue
            root, size = self.root.get(name, name), int(np.prod(self.shape(name)))
            if root in self.counted and size > 1:
                again += size
            self.counted.add(root)
        return again

    def folded(self, raw: Any) -> bool:
        """Evaluate a node whose inputs are all known; True if it vanishes."""
        if raw.op_type == "Constant":
            self.literal(raw)
            return True
        given = [name for name in raw.input if name]
        if raw.op_type == "Shape" and given[0] in self.types:
            dims = np.array(self.shape(given[0]), dtype=np.int64)
            first, last = (
                next((a.i for a in raw.attribute if a.name == n), d)
                for n, d in (("start", 0), ("end", len(dims)))
            )
            self.set_value(raw.output[0], dims[first:last])
            return True
        if given and all(name in self.constant for name in given):
            if len(given) == 1:
                self.root.update(dict.fromkeys(raw.output, self.root.get(given[0], given[0])))
            if all(name in self.values for name in given):
                self.evaluate(raw, given)
            else:
                self.infer(raw, raw.name)
                self.constant.update(raw.output)
            return True
        return False

    def literal(self, raw: Any) -> None:
        """A Constant node."""
        attribute = raw.attribute[0]
        if attribute.name == "value":
            self.keep(raw.output[0], attribute.t)
        else:
            self.set_value(raw.output[0], np.array(self.onnx.helper.get_attribute_value(attribute)))

    def set_value(self, name: str, value: Any) -> None:
        """A small constant."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        self.types[name] = self.onnx.helper.make_tensor_type_proto(kind, list(value.shape))
        self.values[name] = value
        self.constant.add(name)

    def evaluate(self, raw: Any, given: list[str]) -> None:
        """Run one node on its constant inputs."""
        helper = self.onnx.helper
        inputs = [helper.make_value_info(name, self.types[name]) for name in dict.fromkeys(given)]
        outputs = [helper.make_value_info(name, self.onnx.TypeProto()) for name in raw.output if name]
        graph = helper.make_graph([raw], "one", inputs, outputs)
        run = self.onnx.reference.ReferenceEvaluator(helper.make_model(graph, opset_imports=self.opsets))
        results = run.run(None, {name: self.values[name] for name in given})
        for name, value in zip((name for name in raw.output if name), results, strict=True):
            self.set_value(name, np.asarray(value))

    def infer(self, raw: Any, label: str) -> None:
        """Types of the outputs of a node."""
        schema_version = next((o.version for o in self.opsets if o.domain == raw.domain), None)
        if raw.domain not in ("", "ai.onnx") or schema_version is None or raw.op_type not in onnx_nodes.KNOWN:
            name = f"{raw.domain}.{raw.op_type}" if raw.domain else raw.op_type
            raise ArgumentError(
                "ONNX operator", f"{name} (node {label})", ", ".join(sorted(onnx_nodes.KNOWN))
            )
        schema = self.onnx.defs.get_schema(raw.op_type, schema_version, raw.domain)
        numpy_helper = self.onnx.numpy_helper
        types = {name: self.types[name] for name in raw.input if name}
        data = {
            name: numpy_helper.from_array(np.asarray(self.values[name]), name)
            for name in raw.input
            if name in self.values
        }
        try:
            found = self.onnx.shape_inference.infer_node_outputs(
                schema, raw, types, data, opset_imports=self.opsets
            )
        except PerfmodelError:
            raise
        except Exception as error:  # the C++ checker raises its own classes
            raise GraphError(f"{self.graph.name}: node {label}: {str(error).splitlines()[0]}") from error
        self.types.update(found)
