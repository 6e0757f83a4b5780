"""S078: Li et al., PRIMA.CPP, arXiv:2504.08791; tables of the authors' repository (MIT).

Four devices at home: what memory they have free, and their disks, are printed; the bandwidths are those of
their descriptions.  Q4_K files are taken as 4.8 bits per weight.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.scenario.cluster import Tier, ring_time
from perfmodel.scenario.offload import placed_read_time
from perfmodel.validation.cases import predicts

BITS = 4.8
#: dual-channel DDR4-3200 of the two computers [B/s, recalled]
HOST = 51.2e9
GIB = 2.0**30
#: disk of the desktop, and of all four [B/s]
DISK, DISKS = 3.17e9, (0.72 + 2.98 + 3.17 + 1.37) * 1e9

#: model of a row -> weights: by name, the descriptions of the same size
_WEIGHTS = {
    "8B": "llama-3-8b", "14B": 14e9, "30B": "llama-30b", "45B": 45e9, "60B": 60e9, "65B": "llama-65b",
    "70B": "llama-3-70b",
}
_SIZES = ("8B", "14B", "30B", "45B", "60B", "65B", "70B")


def _bytes(size: str) -> float:
    known = _WEIGHTS[size]
    weights = float(pm.workload(known).parameters) if isinstance(known, str) else float(known)  # type: ignore[arg-type]
    return weights * BITS / 8.0


def _bandwidth(name: str) -> float:
    return float(pm.device(name).main_memory.bandwidth)


def _tiers() -> list[Tier]:
    return [
        Tier("2080ti", 11.0 * GIB, _bandwidth("rtx-2080ti")), Tier("3070", 8.0 * GIB, _bandwidth("rtx-3070")),
        Tier("desktop", 9.7 * GIB, HOST), Tier("laptop", 4.1 * GIB, HOST),
        Tier("m1", 2.4 * GIB, _bandwidth("apple-m1")), Tier("phone", 1.9 * GIB, _bandwidth("kirin-9000")),
    ]


@predicts({f"S078-LAT-Llama-{2 * i + 1:02}": size for i, size in enumerate(_SIZES)}, reason={
    "S078-LAT-Llama-01": "7 ms of a token do not depend on the model: that of 14 G is 6 ms off, too",
    "S078-LAT-Llama-07": "more than the printed free memory must hold pages: the model reads all from disk",
})
def one_device(size: str) -> float:
    """Time of a token on the desktop alone [ms]: GPU memory, then free memory, else the rest from disk."""
    time = placed_read_time(_bytes(size), 11.0 * GIB, 9.7 * GIB, _bandwidth("rtx-2080ti"), HOST, DISK)
    return float(time) * 1e3


@predicts({f"S078-LAT-Llama-{2 * i + 2:02}": size for i, size in enumerate(_SIZES)})
def cluster(size: str) -> float:
    """Time of a token on all four devices [ms], disks read ahead."""
    return float(ring_time(_bytes(size), _tiers(), DISKS)) * 1e3


@predicts({"S078-ABLATION-02": "30B", "S078-ABLATION-05": "45B", "S078-ABLATION-08": "60B"})
def without_prefetch(size: str) -> float:
    """Time of a token on all four devices [ms], disk reads not hidden."""
    return float(ring_time(_bytes(size), _tiers(), DISK)) * 1e3
