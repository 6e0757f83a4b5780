"""What a kernel model of a GPU is asked: one op, with the facts and corrections that answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from perfmodel.algebra import Value, where
from perfmodel.engine.achieved import kernel_files
from perfmodel.engine.kernels.calibration import Applied, corrections_for
from perfmodel.engine.kernels.facts import GpuFacts, KernelTime, either
from perfmodel.engine.kernels.gemm import Storage
from perfmodel.engine.roofline import compute_format
from perfmodel.formats import Precision
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op


@dataclass(frozen=True)
class Question:
    """One op on one GPU: what a kernel model needs to answer."""

    op: Op
    system: System
    precision: Precision
    gpu: GpuFacts
    calibrated: bool
    runtime: str
    origin: list[Applied] = field(default_factory=list)

    def corrections(self, family: str, kind: type[Any], mode: str = "", group: str = "") -> Any:
        """Fitted corrections of a kernel family, or the documented starts at fidelity ``dataflow``.

        group  name of the group of measurements; empty: from runtime, number formats and mode
        """
        if not self.calibrated:
            return kind()
        device = self.system.device
        found = corrections_for(
            family, kind, device.name, group or self.group(family, mode), kernel_files(device)
        )
        self.origin.append(found)
        return found.values

    def spread(self, end: str) -> Value:
        """Factor from the middle to an end of the interval."""
        if end == "middle" or not self.origin:
            return 1.0
        return self.origin[-1].low if end == "low" else self.origin[-1].high

    def group(self, family: str, mode: str) -> str:
        """Name of the measurements that are most like this op; the nearest known group answers."""
        formats = TABLE_NAMES.get(compute_format(self.op, self.precision).compute, "bfloat16")
        if family == "moe" and formats == "fp8":
            formats = "fp8_block"  # experts in fp8 carry block scales
        return "/".join([self.runtime, "any", formats, *([mode] if mode else [])])

    def storage(self) -> Storage:
        """Bytes of the operands and the format of the matrix unit."""
        kinds = [(t.output, self.precision.of(t).bytes) for t in self.op.tensors if t.kind != "index"]
        read = [size for output, size in kinds if not output] or [2.0]
        written = [size for output, size in kinds if output] or [2.0]
        second = read[1] if len(read) > 1 else read[0]
        return Storage(read[0], second, max(written[0], 2.0), compute_format(self.op, self.precision).compute)


#: what answers a question
KernelModel: TypeAlias = Callable[[Question], KernelTime]


def by_point(q: Question, models: Sequence[tuple[Any, KernelModel]]) -> KernelTime:
    """Each point of an axis gets the kernel it needs.

    models  where a kernel answers (masks that cover every point), and its model
    """
    needed = [(mask, model) for mask, model in models if np.any(mask)]
    answer = needed[0][1](q)
    for mask, model in needed[1:]:
        known, other = q.origin[-1:], model(q)
        for first in known:
            last = q.origin[-1]
            ends = {"low": where(mask, last.low, first.low), "high": where(mask, last.high, first.high)}
            q.origin.append(replace(first, **ends))
        answer = either(mask, other, answer)
    return answer


#: names of number formats in the tables that the corrections were fitted to
TABLE_NAMES: Mapping[str, str] = {
    "bf16": "bfloat16",
    "fp16": "bfloat16",
    "fp8": "fp8",
    "fp4": "nvfp4",
    "int8": "sq",
}
