"""Operators that read tables at computed places: embedding bags, hash grids, product quantisation, top-k."""

from __future__ import annotations

from perfmodel.algebra import Value, floor, log2, minimum
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op, Tensor, Work
from perfmodel.ops.registry import operator


@operator
def embedding_bag(
    bags: Value, rows: Value, vocabulary: Value, width: Value, *, weighted: bool = False, name: str = ""
) -> Op:
    """Sum of `rows` table rows per bag, the sparse part of a recommendation model [1].

    bags, rows         bags, and rows read per bag
    vocabulary, width  stored rows and their length [elements]

    Reads bags x rows x width of the table and one index per row, writes bags x width; one addition per
    element read, one more multiplication where the rows are weighted.
    [1] Naumov et al., Deep Learning Recommendation Model, arXiv:1906.00091.
    """
    loops = {"b": bags, "r": rows, "d": width}
    tensors = (
        Tensor("index", ("b", "r"), kind="index"),
        Tensor("table", ("b", "r", "d"), kind="weight", stored=1.0 * vocabulary * width),
        Tensor("y", ("b", "d"), output=True),
    )
    each = 2.0 if weighted else 1.0
    return Op("embedding_bag", loops, tensors, (Work("vector", each * bags * rows * width),), name)


@operator
def hash_grid(
    points: Value, levels: int = 16, entries: Value = 2**19, features: Value = 2, dimensions: int = 3,
    *, coarsest: Value = 16, growth: Value = 1.4472692, name: str = "",
) -> Op:
    """Multi-resolution hash encoding: trilinear interpolation of table entries at 2^d corners per level [1].

    points             positions to encode
    levels             grids, the l-th with ``coarsest growth^l`` cells per side
    entries, features  entries per level at most, and features per entry

    Stored: ``min(entries, (floor(cells) + 1)^d)`` entries per level.  Reads a corner once however often it is
    used, so at most the table; writes levels x features per point.  Lookup unit: one per corner and level.
    Vector: 7 operations per corner to hash and weigh, 2 per corner and feature to add.
    [1] Mueller et al., Instant Neural Graphics Primitives, arXiv:2201.05989.
    """
    if not isinstance(levels, int):
        raise ArgumentError("levels", levels, "a whole number")
    corners = 2.0**dimensions
    stored: Value = 0.0
    touched: Value = 0.0
    for level in range(levels):
        kept = minimum(1.0 * entries, (floor(coarsest * growth**level) + 1.0) ** dimensions)
        stored = stored + kept * features
        touched = touched + minimum(kept, points * corners) * features
    loops = {"p": points, "l": levels, "c": corners, "f": features, "t": touched, "d": dimensions}
    tensors = (
        Tensor("x", ("p", "d")),
        Tensor("table", ("t",), kind="weight", stored=stored),
        Tensor("y", ("p", "l", "f"), output=True),
    )
    lookups = points * levels * corners
    work = (Work("lookup", 1.0 * lookups), Work("vector", lookups * (7.0 + 2.0 * features)))
    return Op("hash_grid", loops, tensors, work, name)


@operator
def code_scan(
    queries: Value, codes: Value, subspaces: Value, centroids: Value = 256, *, stored: Value | None = None,
    name: str = "",
) -> Op:
    """Scan of product-quantised vectors: distance = sum of one table entry per subspace [1].

    queries, codes        queries, and codes scanned per query
    subspaces, centroids  parts of a code, and entries of the distance table per part
    stored                codes kept in memory (None: those scanned by one query)

    A part takes ``log2(centroids)`` bit; codes are read as 32-bit words (kind index), with the table of each
    query, and one distance per code is written.  Lookup and vector units: one entry read and added per part.
    [1] Jegou, Douze, Schmid, Product Quantization for Nearest Neighbor Search, doi:10.1109/TPAMI.2010.57.
    """
    words = subspaces * log2(centroids) / 32.0
    kept = codes * words if stored is None else stored * words
    loops = {"q": queries, "n": codes, "m": subspaces, "c": centroids, "w": words}
    tensors = (
        Tensor("codes", ("q", "n", "w"), kind="index", stored=1.0 * kept),
        Tensor("table", ("q", "m", "c")),
        Tensor("distance", ("q", "n"), output=True),
    )
    entries = 1.0 * queries * codes * subspaces
    return Op("code_scan", loops, tensors, (Work("lookup", entries), Work("vector", entries)), name)


@operator
def top_k(rows: Value, width: Value, kept: Value, *, name: str = "") -> Op:
    """The `kept` smallest of `width` values per row with a heap: one comparison per value, then sorting them.

    Vector operations: ``width + kept log2(kept + 1)`` per row.
    """
    loops = {"r": rows, "w": width, "k": kept}
    tensors = (
        Tensor("x", ("r", "w")), Tensor("y", ("r", "k"), output=True),
        Tensor("place", ("r", "k"), kind="index", output=True),
    )
    work = (Work("vector", rows * (width + kept * log2(kept + 1.0))),)
    return Op("top_k", loops, tensors, work, name)
