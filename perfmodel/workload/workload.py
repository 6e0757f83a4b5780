"""Workload: a model family with its dimensions, and the counts that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from perfmodel import shipped
from perfmodel.algebra import Value, is_symbolic
from perfmodel.arguments import number
from perfmodel.axes import arrays_are_values
from perfmodel.errors import ArgumentError
from perfmodel.formats import Precision
from perfmodel.formats import precision as precision_of
from perfmodel.ops.attention import eager
from perfmodel.spec import replace_path
from perfmodel.workload.graph import Graph
from perfmodel.workload.rewriting import StepTransform, Transform, each
from perfmodel.workload.step import Step

PLACE = "workloads"


@dataclass(frozen=True)
class Workload:
    """Ordered ops of a model, built from a few dimensions for each pass.

    dims        dimensions of the family, e.g. a Decoder; ``dims.graph(step, name)`` builds the ops
    transforms  applied to each graph, in order
    notes       what a reader should know, e.g. parts of a checkpoint that are not counted
    """

    name: str
    family: str
    dims: Any
    source: str = ""
    published_parameters: float | None = None
    published_flops: float | None = None
    transforms: tuple[Transform, ...] = field(default=(), compare=False)
    notes: str = ""

    def graph(self, step: Step | None = None, **dims: Any) -> Graph:
        """Ops of one pass.  Give a Step or its fields: ``graph(batch=8, query=1, context=1024)``."""
        step = Step(**dims) if step is None else step
        for transform in self.transforms:
            if isinstance(transform, StepTransform):
                step = transform.step(step)
        with arrays_are_values():
            graph: Graph = self.dims.graph(step, self.name)
            if step.attention == "eager":
                graph = each(lambda op: eager(op) if op.family == "attention" else op)(graph)
            for transform in self.transforms:
                graph = transform(graph)
        return graph

    def pass_step(self, step: Step, prompt: Value, decode: bool) -> Step:
        """The Step of one pass of a generation from `prompt` tokens: the prompt pass, or one further token.

        An encoder-decoder reads the prompt with its encoder; a decoder takes the Step as it is.
        """
        adjust = getattr(self.dims, "pass_step", None)
        adjusted: Step = step if adjust is None else adjust(step, prompt, decode)
        return adjusted

    def apply(self, *transforms: Transform) -> Workload:
        """The workload with further transforms."""
        return replace(self, transforms=(*self.transforms, *transforms))

    def vary(self, changes: Mapping[str, Any]) -> Workload:
        """Copy with dimensions replaced by path; a list of values becomes a named axis."""
        if not isinstance(changes, Mapping) or not all(isinstance(path, str) for path in changes):
            raise ArgumentError("changes", changes, "a mapping of paths to values")
        dims = self.dims
        for path, value in changes.items():
            dims = replace_path(dims, path.removeprefix("dims."), value)
        return replace(self, dims=dims)

    @property
    def generates(self) -> bool:
        """Whether it is a language model that writes token after token."""
        return self.family in ("decoder", "encoder_decoder")

    @property
    def parameters(self) -> Value:
        """Stored weights, tied ones counted once."""
        return self.graph(batch=1, query=1, context=1).elements("weight")

    @property
    def active_parameters(self) -> Value:
        """Weights that one token passes through: all but the embedding table and the experts not chosen."""
        graph = self.graph(batch=1, query=1, context=1)
        return sum(
            (op.count * op.elements(kind="weight") for op in graph.ops if op.family != "embedding"), 0.0
        )

    def kv_bytes_per_token(self, precision: str | Precision = "bf16") -> Value:
        """Growth of the key-value cache with one more token of context [B]."""
        chosen = precision_of(precision)
        one, two = (self.graph(batch=1, query=1, context=c, source=1).bytes("kv", chosen) for c in (1, 2))
        return two - one

    def flops(
        self,
        batch: Value = 1,
        query: Value = 1,
        context: Value | None = None,
        causal: bool = True,
        logits: str = "all",
    ) -> Value:
        """FLOP of the matrix products of one pass, 2 per multiply-accumulate.

        context  tokens the last new one attends to, itself included (None: the new ones)
        causal   exact causal pairs; False counts the full square, as many profilers do
        logits   head on ``all`` new positions or on the ``last`` of each sequence
        """
        context = query if context is None else context
        for argument, value in (("batch", batch), ("query", query), ("context", context)):
            number(argument, value)
        if not is_symbolic(query, context) and np.any(np.less(context, query)):
            raise ArgumentError("context", context, "at least query (the context holds the new tokens too)")
        return self.graph(batch=batch, query=query, context=context, causal=causal, logits=logits).flops


def workload(name: str | Path | Workload) -> Workload:
    """Workload of a shipped name, a YAML file, a Hugging Face ``config.json`` or an ONNX file.

    Raises UnknownNameError with the nearest match, SpecError with every fault of the file.
    """
    if isinstance(name, Workload):
        return name
    path = shipped.locate(name, PLACE, "workload")
    if path.suffix == ".json":
        from perfmodel.workload.importers.hf import from_config

        return from_config(path)
    if path.suffix == ".onnx":
        from perfmodel.workload.importers.onnx import from_onnx

        return from_onnx(path)
    if path.suffix not in (".yaml", ".yml"):
        raise ArgumentError("workload", str(name), "a .yaml, .json or .onnx file")
    from perfmodel.workload.families import load_workload

    return load_workload(path)


def language_model(name: str | Path | Workload) -> Workload:
    """As `workload`, for scenarios that generate tokens.  Raises ArgumentError for any other workload."""
    found: Workload = workload(name)
    if not found.generates:
        allowed = "a language model that generates tokens (pm.forward runs any)"
        raise ArgumentError("workload", found.name, allowed)
    return found


def workloads() -> tuple[str, ...]:
    """Names of the shipped workloads."""
    return shipped.names(PLACE, "workload")
