"""What a kernel model of a GPU is asked: one op, with the facts and corrections that answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perfmodel.algebra import Value
from perfmodel.engine.achieved import kernel_files
from perfmodel.engine.kernels.calibration import Applied, corrections_for
from perfmodel.engine.kernels.facts import GpuFacts
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
        kinds = [(t.output, self.precision.bytes(t.kind)) for t in self.op.tensors if t.kind != "index"]
        read = [size for output, size in kinds if not output] or [2.0]
        written = [size for output, size in kinds if output] or [2.0]
        second = read[1] if len(read) > 1 else read[0]
        return Storage(read[0], second, max(written[0], 2.0), compute_format(self.op, self.precision).compute)


#: names of number formats in the tables that the corrections were fitted to
TABLE_NAMES: Mapping[str, str] = {
    "bf16": "bfloat16",
    "fp16": "bfloat16",
    "fp8": "fp8",
    "fp4": "nvfp4",
    "int8": "sq",
}
