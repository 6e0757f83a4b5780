"""What the sources of expert kernels state: blocks, who chooses their rows, what a block fetches and passes.

    fastest  rows that the autotuner of TensorRT-LLM, or a table tuned by hand, would take
    tokens   16, 32, 64, 128 rows up to 32, 96, 512 tokens of the layer and beyond [1]
    near     a half, one, two or four times the power of two above the pairs of a local expert, tuned [2]
    below    half of that power of two, where nothing was tuned [2]

The tables of vLLM call the layer without the autotuner of FlashInfer [3]: its CUTLASS kernels then run the
first entry of their list [4], 128 x 16 on Hopper, 128 x 128 on Blackwell, 32 x 128 with instructions of a
single warp, and without a cluster, so that a block fetches both operands itself.

References
[1] vLLM, fused_moe.py, default configuration of its Triton kernel; fused_marlin_moe.py: blocks up to 64 rows;
    activation and sum run over the pairs of all ranks.
[2] FlashInfer, trtllm_fused_moe_kernel_launcher.cu: tile by all pairs over the local experts;
    trtllm_fused_moe_dev_kernel.cu: with block scales the activation is a kernel of its own over all pairs.
[3] NVIDIA aiconfigurator, collector/vllm/collect_moe.py; collector/trtllm/collect_moe.py tunes every shape.
[4] FlashInfer, flashinfer_cutlass_fused_moe_binding.cu and cutlass_heuristic.cpp: lists of tiles; products of
    4-bit numbers have no tile below 128 rows on Blackwell, below 64 with the operands exchanged.
[5] TensorRT-LLM, fused_moe_triton_fp8_block_scale.py, fused_moe_cutlass.py: blocks of 16 rows, weights made
    16 bits wide; experts of other ranks become the last local one, with weight zero.
[6] TensorRT-LLM, fused_moe_deepgemm.py; DeepGEMM: blocks of 128 rows, each looks for its expert one by one.
[7] Luo et al., arXiv:2501.12084: products wait 1.5 times as long without asynchronous copies, on H800.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.engine.kernels.facts import GpuFacts
from perfmodel.engine.kernels.splits import MMA, WGMMA, generation

#: tokens of a layer up to which a block of Triton takes 16, 32 and 64 rows [1]
STEPS = (32.0, 96.0, 512.0)
#: wait of a step of warp-level products over that of asynchronous ones: 1.5 in a product [7], 2 to 7 fitted
WAIT = 2.5
#: set-up of a local expert over that of a group of CUTLASS: one list of blocks; DeepGEMM [6] (both fitted)
FLAT, SEARCHED = 0.2, 5.0
FOUR_BITS = ("nvfp4", "w4a8_mxfp4_mxfp8")


@dataclass(frozen=True)
class ExpertProgram:
    """What is known of an expert kernel."""

    rows: tuple[float, float] = (8.0, 128.0)  #: least and most rows of a block
    rule: str = "fastest"  #: who chooses among them
    columns: float = 128.0  #: of a block
    alone: bool = False  #: a block fetches both operands itself, no cluster shares them
    wide: bool = False  #: computes in 16 bits, whatever the weights
    foreign: bool = False  #: computes the pairs of other ranks too
    whole: bool = False  #: activation and sum pass over the pairs of all ranks
    single: bool = False  #: instructions of a single warp on every chip
    setup: float = 1.0  #: of a local expert, over that of a group of CUTLASS
    wait: float = 1.0  #: of a step, over that of asynchronous products


def expert_program(group: str, gpu: GpuFacts) -> ExpertProgram:
    """The kernel behind a group of measurements ``backend/source/formats`` on a GPU."""
    source, formats = [*group.split("/"), "", "", ""][1:3]
    units = int(np.max(generation(gpu)))
    wait = WAIT if units == MMA or "marlin" in source else 1.0
    least = {"rows": (128.0, 128.0)}
    known: dict[str, Any] = {}
    if "triton_fp8_block" in source:
        known = {"rows": (16.0, 16.0), "wide": True, "foreign": True, "setup": FLAT}
    elif "marlin" in source:
        known = {"rows": (8.0, 64.0), "single": True, "whole": True, "setup": FLAT}
    elif "triton" in source or source == "vllm_fused_moe":
        known = {"rule": "tokens" if "experts" in source else "fastest", "whole": True, "setup": FLAT}
    elif _generated(source, formats):
        rule = "below" if "experts" in source else "near"
        known = {"rule": rule, "setup": FLAT, "whole": formats == "fp8_block"}
    elif formats == "fp8_block":
        known = {"setup": SEARCHED} | (least if "deepgemm" in source else {})
    elif "flashinferexperts" in source:
        known = {"alone": True} | _first(units, formats)
    elif formats in FOUR_BITS:
        known = least if units == MMA else {"rows": (64.0, 128.0)}
    return ExpertProgram(wait=wait, **known)


def _generated(source: str, formats: str) -> bool:
    """Kernels that TensorRT-LLM generates for Blackwell; its tables name the default backend, or the mode."""
    named = "trtllm" in source or "min_latency" in source
    return named or (source == "moe_torch_flow" and formats in FOUR_BITS)


def _first(units: int, formats: str) -> dict[str, Any]:
    """Blocks of the first entry in the lists of CUTLASS [4]."""
    if units == MMA and formats not in FOUR_BITS:
        return {"rows": (32.0, 32.0)}
    return {"rows": (128.0, 128.0), "columns": 16.0 if units == WGMMA else 128.0}


def block_rows(program: ExpertProgram, rows: Any, each: Value, tokens: Value | None = None) -> Any:
    """Which of the candidate rows a kernel may take, last axis as `rows`.

    each    pairs of all ranks over the local experts; tokens: of the layer, where they are known
    """
    if program.rule == "tokens" and tokens is not None:
        return rows == 16.0 * 2.0 ** sum(np.where(tokens > limit, 1.0, 0.0) for limit in STEPS)
    if program.rule in ("near", "below"):
        power = np.clip(2.0 ** np.ceil(np.log2(np.maximum(each, 1.0)) - 1e-9), *program.rows)
        low = np.maximum(power / 2.0, program.rows[0])
        return rows == low if program.rule == "below" else (rows >= low) & (rows <= 4.0 * power)
    return (rows >= program.rows[0]) & (rows <= program.rows[1]) & (each > -1.0)
