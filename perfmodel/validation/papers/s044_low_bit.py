"""S044: Gong et al., A Survey of Low-bit Large Language Models, arXiv:2409.16694: catalogue of formats."""

from __future__ import annotations

from perfmodel.formats import find_format
from perfmodel.validation.cases import predicts

_FORMATS = ("q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "nf4")


_CASES = {f"S044-FORMAT-{i:02}": name for i, name in enumerate(_FORMATS, start=1)}


@predicts(_CASES, fidelity="count",
          reason={"S044-FORMAT-01": "a block of 84 bytes has two 16-bit numbers, the description counts one"})
def bits(name: str) -> float:
    """Stored bits of a weight, scales and minima included."""
    return find_format(name).bits_per_element
