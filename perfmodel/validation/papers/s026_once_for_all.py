"""S026: Cai et al., Once-for-All, ICLR 2020, arXiv:1908.09791; specialised networks of the repository.

Fixed time + MAC/rate per device, from the other networks on the device.  The networks that the headline
compares with are predicted from the MobileNets measured on a Pixel 1 (S088).
"""

from __future__ import annotations

import re
from functools import partial

import perfmodel as pm
from perfmodel.validation.cases import predicts, published
from perfmodel.validation.heldout import held_out, held_out_cases, network_features
from perfmodel.validation.papers.s088_edge_tpu import MOBILE, mobile_features


def _macs(case: str) -> tuple[float, float]:
    found = re.search(r"([\d.]+) MMAC", published()[case].workload)
    return 1.0, float(found.group(1)) if found else 0.0


_groups: dict[str, list[str]] = {}
for _row in published().values():
    if _row.case.startswith("S026-NETS"):
        _groups.setdefault(_row.group, []).append(_row.case)
for _cases in _groups.values():
    held_out_cases(
        {case: partial(_macs, case) for case in _cases},
        reason="times are printed in whole milliseconds, and MACs alone do not tell kernel sizes apart",
    )


@predicts({"S026-HEAD-01": ("efficientnet-b2", 143.0), "S026-HEAD-02": ("mobilenet-v3-large", 40.0)},
          fidelity="calibrated", reason="the engine that ran the baseline is not said")
def faster(baseline: str, milliseconds: float) -> float:
    """Time of a network on a Pixel 1 over that of the specialised one of its accuracy (80.1 and 74.9 %)."""
    known = {f"S088-MBNET-Pixel1-{index}": mobile_features(index, "pixel-1") for index in MOBILE}
    times = {case: published()[case].value for case in known}
    asked = network_features(pm.workload(baseline), "pixel-1", precision="fp32")
    return held_out({**known, baseline: asked}, times, baseline) / milliseconds
