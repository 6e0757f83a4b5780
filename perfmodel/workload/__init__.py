"""Workloads: model families, graphs of ops, transforms and importers.

``pm.workload(name)`` is a function and ``perfmodel.workload`` this package; whoever imports the package first
finds it under that name, so the package answers the call too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, name: str | Path | Any) -> Any:
        from perfmodel.workload.workload import workload

        return workload(name)


sys.modules[__name__].__class__ = _CallablePackage
