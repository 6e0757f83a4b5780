"""Workloads around tables: recommendation (DLRM), neural graphics, vector search, tabular preprocessing."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.elementwise import elementwise
from perfmodel.ops.lookup import code_scan, embedding_bag, hash_grid, top_k
from perfmodel.ops.matmul import matmul
from perfmodel.spec import flag, numbers, quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.builder import Feature, Net
from perfmodel.workload.step import Step


def layers(net: Net, x: Feature, widths: tuple[Value, ...], name: str, *, last: str = "relu",
           bias: bool = True) -> Feature:
    """Linear layers with ReLU between them."""
    for index, width in enumerate(widths):
        act = last if index == len(widths) - 1 else "relu"
        x = net.linear(x, width, act=act, bias=bias, name=f"{name}{index + 1}")
    return x


@dataclass(frozen=True, kw_only=True)
class Dlrm:
    """Deep learning recommendation model: dense layers, embedding bags, pairwise products [1].

    [1] Naumov et al., arXiv:1906.00091.
    """

    dense: Value = quantity("count", default=13.0, doc="continuous features")
    bottom: tuple[Value, ...] = numbers("count",
                                        doc="widths of the bottom layers; the last is the embedding width")
    top: tuple[Value, ...] = numbers("count", doc="widths of the top layers; the last is 1")
    tables: Value = quantity("count", default=26.0, doc="embedding tables")
    rows: Value = quantity("count", doc="rows of all tables together")
    pooling: Value = quantity("count", default=1.0, doc="rows read per table and sample")

    def graph(self, step: Step, name: str = "dlrm") -> Graph:
        """Ops of a batch of samples."""
        net = Net(name, step.batch)
        x = layers(net, Feature(self.dense), self.bottom, "bottom")
        width = self.bottom[-1]
        bags = embedding_bag(step.batch * self.tables, self.pooling, self.rows, width)
        sparse = net.push(bags, (), Feature(width, self.tables), "tables")
        vectors = self.tables + 1
        joined = net.concat(x.reshaped(width), sparse).reshaped(width, vectors)
        pairs = net.push(matmul(vectors, vectors, width, batch=step.batch, weight=False), (joined,),
                         Feature(vectors * (vectors - 1) / 2), "interaction")
        z = Feature(pairs.channels + width, 1.0, 1.0, (*pairs.producers, *x.producers))
        layers(net, z, self.top, "top", last="sigmoid")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class NeuralGraphics:
    """Hash-grid encoding and one or two small networks per sample point; the batch counts images [1].

    [1] Mueller et al., Instant Neural Graphics Primitives, arXiv:2201.05989.
    """

    height: Value = quantity("count", default=1080.0, doc="image rows")
    width: Value = quantity("count", default=1920.0, doc="image columns")
    samples: Value = quantity("count", default=1.0, doc="points per pixel")
    dimensions: Value = quantity("count", default=3.0, doc="dimensions of the grid")
    levels: Value = quantity("count", default=16.0, doc="grids")
    entries: Value = quantity("count", default=2.0**19, doc="table entries per grid")
    features: Value = quantity("count", default=2.0, doc="features per entry")
    coarsest: Value = quantity("count", default=16.0, doc="cells per side of the coarsest grid")
    growth: Value = quantity("1", default=1.4472692, doc="ratio of successive grids")
    first: tuple[Value, ...] = numbers("count", default=(64.0, 16.0), doc="widths of the first network")
    second: tuple[Value, ...] = numbers("count", default=(64.0, 64.0, 16.0),
                                        doc="widths of the second network")
    view: Value = quantity("1", positive=False, low=0, default=16.0,
                           doc="width of the encoded viewing direction that enters the second network")
    two: bool = flag(default=True, doc="a second network (colour) follows")

    def graph(self, step: Step, name: str = "graphics") -> Graph:
        """Ops of a batch of images."""
        points = self.height * self.width * self.samples
        net = Net(name, step.batch)
        encode = hash_grid(step.batch * points, int(self.levels), self.entries, self.features,
                           int(self.dimensions),
                           coarsest=self.coarsest, growth=self.growth)
        x = net.push(encode, (), Feature(self.levels * self.features, points), "encoding")
        x = layers(net, x, self.first, "first", last="none", bias=False)
        if self.two:
            x = Feature(x.channels + self.view, points, 1.0, x.producers)
            layers(net, x, self.second, "second", last="none", bias=False)
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class VectorSearch:
    """IVF-PQ search in six stages: rotation, cell distances, cell choice, tables, scan, top-k [1].

    [1] Jiang et al., Co-design Hardware and Algorithm for Vector Search, arXiv:2306.11182.
    """

    vectors: Value = quantity("count", doc="stored vectors")
    dimension: Value = quantity("count", default=128.0, doc="dimension of a vector")
    cells: Value = quantity("count", doc="inverted lists")
    probes: Value = quantity("count", doc="lists scanned per query")
    subspaces: Value = quantity("count", default=16.0, doc="bytes of a code")
    kept: Value = quantity("count", default=10.0, doc="results per query")
    rotation: bool = flag(default=True, doc="optimised product quantisation: rotate the query first")

    def graph(self, step: Step, name: str = "search") -> Graph:
        """Ops of a batch of queries."""
        net = Net(name, step.batch)
        x = Feature(self.dimension)
        if self.rotation:
            x = net.linear(x, self.dimension, bias=False, name="rotate")
        distances = net.linear(x, self.cells, bias=False, name="cell_distance")
        chosen = net.push(top_k(step.batch, self.cells, self.probes),
        (distances,), Feature(self.probes), "cell_choice")
        part = self.dimension / self.subspaces
        table = matmul(256.0, 1.0, part, batch=step.batch * self.probes * self.subspaces, weight=False)
        tables = net.push(table, (chosen, x), Feature(256 * self.subspaces, self.probes), "table")
        codes = self.vectors / self.cells * self.probes
        scan = code_scan(step.batch, codes, self.subspaces, stored=self.vectors)
        found = net.push(scan, (tables,), Feature(codes), "scan")
        net.push(top_k(step.batch, codes, self.kept), (found,), Feature(self.kept), "top_k")
        return net.graph()


@dataclass(frozen=True, kw_only=True)
class Tabular:
    """Preprocessing of click logs: decode, hash, vocabulary, logarithm; the batch counts rows [1].

    [1] Zhu et al., Efficient Tabular Data Preprocessing of ML Pipelines, arXiv:2409.14912.
    """

    dense: Value = quantity("count", default=13.0, doc="continuous columns")
    sparse: Value = quantity("count", default=26.0, doc="categorical columns")
    vocabulary: Value = quantity("count", default=5000.0, doc="entries kept per categorical column")
    binary: bool = flag(default=False, doc="the input is binary; else text of 8 characters per column")
    source: str = text(default="criteo", doc="name of the data set")

    def graph(self, step: Step, name: str = "tabular") -> Graph:
        """Ops of a batch of rows."""
        net = Net(name, step.batch)
        columns = self.dense + self.sparse
        x = Feature(columns)
        if not self.binary:
            decode = elementwise(step.batch * columns, inputs=2,
                                 operations=16)  # 8 characters: shift and add each
            x = net.push(decode, (), x, "decode")
        hashed = net.push(elementwise(step.batch * self.sparse, operations=3),
        (x,), Feature(self.sparse), "hash")
        net.push(embedding_bag(step.batch * self.sparse, 1, self.vocabulary * self.sparse, 1), (hashed,),
                 Feature(self.sparse), "vocabulary")
        net.push(elementwise(step.batch * self.dense, operations=2, special=1),
        (x,), Feature(self.dense), "logarithm")
        return net.graph()
