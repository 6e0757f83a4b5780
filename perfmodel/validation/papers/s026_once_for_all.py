"""S026: Cai et al., Once-for-All, ICLR 2020, arXiv:1908.09791; specialised networks of the repository.

Fixed time + MAC/rate per device, from the other networks on the device.
"""

from __future__ import annotations

import re
from functools import partial

from perfmodel.validation.cases import published
from perfmodel.validation.heldout import held_out_cases


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
