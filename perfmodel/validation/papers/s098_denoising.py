"""S098: Jelincic et al., An efficient probabilistic hardware architecture for diffusion-like models.

arXiv:2510.23972; its numbers as a page-scoped guide to the PDF gives them.
"""

from __future__ import annotations

from perfmodel.scenario.unconventional import sampler_energy
from perfmodel.validation.cases import predicts

SIDE, SWEEPS, CELL = 70.0, 250.0, 2e-15
#: time after which a random bit no longer tells of the one before [s]
DECAY = 100e-9


@predicts("S098-DTM-01", fidelity="count",
          reason="2.45 nJ follow from cells, sweeps and energy as page 6 prints them; what the appendix "
                 "counts to reach 1.6 nJ is not in what could be read")
def step_energy() -> float:
    """Energy of one denoising step [nJ]."""
    return float(sampler_energy(1.0, SWEEPS, SIDE**2, CELL)) * 1e9


@predicts("S098-DTM-02", fidelity="count")
def bit_rate() -> float:
    """Independent random bits per time [MHz]."""
    return 1e-6 / DECAY
