"""pm.list: names of what is shipped."""

from __future__ import annotations

from perfmodel.arguments import choice

KINDS = ("devices", "systems", "workloads", "cases", "operators", "formats", "precisions")


def list(kind: str) -> tuple[str, ...]:
    """Names of the shipped ``devices``, ``systems``, ``workloads``, ``cases``, ``operators``, ``formats``."""
    chosen = choice("kind", kind, KINDS)
    if chosen in ("devices", "systems"):
        from perfmodel.hardware import catalog

        return catalog.devices() if chosen == "devices" else catalog.systems()
    if chosen == "workloads":
        from perfmodel.workload.workload import workloads

        return workloads()
    if chosen == "operators":
        from perfmodel.ops import constructors  # noqa: F401  (registers all operators)
        from perfmodel.ops.registry import OPERATORS

        return tuple(sorted(OPERATORS))
    if chosen == "cases":
        from perfmodel.validation import case_names

        return case_names()
    from perfmodel import formats

    return tuple(formats.formats()) if chosen == "formats" else formats.policies()
