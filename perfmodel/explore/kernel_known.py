"""The families of measured kernels that the models know, and which of them a table belongs to."""

from __future__ import annotations

import numpy as np

from perfmodel.errors import ArgumentError
from perfmodel.explore import kernel_families, kernel_families_more
from perfmodel.explore.kernel_tables import Family, Rows

FAMILIES: tuple[Family, ...] = (*kernel_families_more.FAMILIES, *kernel_families.FAMILIES)


def recognise(rows: Rows) -> Family:
    """Family of a table by its columns; decode is told from prefill by its single new token.

    Raises ArgumentError that names the known families.
    """
    for family in FAMILIES:
        if family.columns <= set(rows) and _stage_fits(family.name, rows):
            return family
    names = ", ".join(family.name for family in FAMILIES)
    raise ArgumentError("data", sorted(rows), "columns of one of " + names)


def _stage_fits(name: str, rows: Rows) -> bool:
    if name.endswith("_decode"):
        return bool(np.all(rows["q_len"] == 1) and np.any(rows["past_len"] > 0))
    if name == "encoder_attention":
        return "n_kv_heads" not in rows
    return name != "stream" or "n" not in rows
