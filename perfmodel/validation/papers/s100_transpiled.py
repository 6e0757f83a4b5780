"""S100: Heakl et al., Guaranteed Guess: CISC-to-RISC transpilation, arXiv:2506.14606.

How much faster native code is than translated code is an input; the energy that this saves is not.
"""

from __future__ import annotations

from perfmodel.validation.cases import predicts

#: mean time of a program under Rosetta 2 and of the transpiled one on an M2 Pro [ms; table of the repository]
TRANSLATED, NATIVE = 13.94, 8.03


@predicts("S100-HEAD-02", fidelity="calibrated")
def energy() -> float:
    """Energy gain of a busy core, whose power does not depend on the code: the gain in time."""
    return TRANSLATED / NATIVE
