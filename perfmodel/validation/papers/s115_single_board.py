"""S115: Nguyen, Nguyen, An Evaluation of LLMs Inference on Popular Single-board Computers, arXiv:2511.07425.

All of its models are Q4_K_M files; their bits per weight are those of the documentation of llama.cpp.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

#: mean bits per weight of a Q4_K_M file [llama.cpp, tools/quantize/README.md]
BITS = 4.89

_ROWS = {
    "S115-SBC-01": ("qwen2.5-1.5b", "raspberry-pi-5"),
    "S115-SBC-02": ("smollm2-360m", "raspberry-pi-5"),
    "S115-SBC-03": ("llama-3.2-1b", "raspberry-pi-4"),
    "S115-SBC-04": ("llama-3.2-3b", "orange-pi-5"),
}
_WHY = "the bound of the memory; cores of these boards reach a part of it"


def _rate(model: str, board: str) -> float:
    """Decode rate that the memory allows [token/s]."""
    moved = float(pm.workload(model).active_parameters) * BITS / 8.0
    return float(pm.device(board).main_memory.bandwidth) / moved


predicts({"S115-SBC-01": _ROWS["S115-SBC-01"]}, reason=_WHY)(_rate)
predicts({"S115-SBC-02": _ROWS["S115-SBC-02"]}, side="least")(_rate)
predicts({case: _ROWS[case] for case in ("S115-SBC-03", "S115-SBC-04")}, side="most", reason=_WHY)(_rate)
