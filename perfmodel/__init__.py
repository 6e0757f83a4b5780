"""perfmodel: analytical performance simulation of machine-learning workloads on described hardware.

    names -> specs -> workload (phase, dims) -> transforms -> ops -> demand -> time, energy, capacity
    -> scenario metrics -> Result -> report

Everything public is an attribute of this module and is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: public name -> module that defines it
_WHERE = {
    "workload": "perfmodel.workload.workload",
    "Workload": "perfmodel.workload.workload",
    "device": "perfmodel.hardware.catalog",
    "system": "perfmodel.hardware.catalog",
    "Device": "perfmodel.hardware.device",
    "System": "perfmodel.hardware.device",
    "technology": "perfmodel.hardware.technology",
    "Axis": "perfmodel.axes",
    "precision": "perfmodel.formats",
    "Precision": "perfmodel.formats",
    "inference": "perfmodel.scenario.inference",
    "forward": "perfmodel.scenario.forward",
    "training": "perfmodel.scenario.training",
    "serving": "perfmodel.scenario.serve",
    "kernel": "perfmodel.scenario.kernel",
    "collective": "perfmodel.scenario.kernel",
    "map": "perfmodel.scenario.mapping",
    "map_network": "perfmodel.scenario.network_mapping",
    "list": "perfmodel.listing",
    "sweep": "perfmodel.explore.sweep",
    "calibrate": "perfmodel.explore.calibrate",
    "calibration_plan": "perfmodel.explore.calibrate",
    "probe": "perfmodel.explore.probe",
    "search": "perfmodel.explore.search",
    "pareto": "perfmodel.explore.pareto",
    "sensitivity": "perfmodel.explore.sensitivity",
    "explain": "perfmodel.closed_forms",
    "validate": "perfmodel.validation.cases",
    "Result": "perfmodel.result",
    "PerfmodelError": "perfmodel.errors",
}
_MODULES = {
    "op": "perfmodel.ops.constructors",
    "transform": "perfmodel.workload.transforms",
    "network": "perfmodel.engine.network",
    "silicon": "perfmodel.engine.silicon",
    "energy": "perfmodel.engine.energy",
    "fused": "perfmodel.engine.dataflow.fused",
    "lowbit": "perfmodel.engine.lowbit",
    "speculative": "perfmodel.scenario.speculative",
    "offload": "perfmodel.scenario.offload",
    "cluster": "perfmodel.scenario.cluster",
    "pipeline": "perfmodel.scenario.pipeline",
    "flowgraph": "perfmodel.scenario.flowgraph",
    "expert_parallel": "perfmodel.scenario.expert_parallel",
    "vector_search": "perfmodel.scenario.vector_search",
    "composition": "perfmodel.scenario.composition",
    "control": "perfmodel.scenario.control",
    "mining": "perfmodel.scenario.mining",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'perfmodel' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE, *_MODULES})
