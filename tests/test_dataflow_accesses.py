"""Access counts: against three published tools, against a literal execution of the loop nest, and by hand."""

from __future__ import annotations

import csv
import itertools
import os
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from perfmodel.engine.dataflow.accelerator import Accelerator, Axis, Level, Widths
from perfmodel.engine.dataflow.accesses import accesses, count_iterations, cycles
from perfmodel.engine.dataflow.conventions import PEERS, Conventions
from perfmodel.engine.dataflow.mapping import Keep, Loop, LoopNest, check_mapping, read_mapping
from perfmodel.engine.dataflow.pricing import price, require_room
from perfmodel.engine.dataflow.problem import problem
from perfmodel.errors import ArgumentError, InfeasibleError, PerfmodelError
from perfmodel.ops.attention import attention
from perfmodel.ops.conv import conv1d, conv2d
from perfmodel.ops.matmul import matmul
from perfmodel.validation import peer_mappings
from perfmodel.validation.peer_architectures import architecture

SHARED = Path(os.environ.get("PERFMODEL_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "dataflow"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="shared data is not beside the repository")


def _rows(name):
    with (SHARED / name).open() as file:
        return list(csv.DictReader(file))


def _grouped(name):
    groups = defaultdict(list)
    for row in _rows(name):
        groups[row["case"]].append(row)
    return groups


def _price(row):
    op = peer_mappings.layer(row["layer"])
    peer = "zigzag" if row["peer"].startswith("zigzag") else "accelforge"
    read = peer_mappings.zigzag if peer == "zigzag" else peer_mappings.accelforge
    made, width = architecture(row["arch"], row["layer"], peer)
    nest = read(row["mapping"], op)
    return price(problem(op), made, nest, width, PEERS[peer]), nest


@needs_shared
def test_shared_mapping_accesses_equal_zigzag_and_accelforge():
    counts, operands = _grouped("mapping_accesses.csv"), {"W": ("W", "B"), "I": ("I", "A"), "O": ("O", "C")}
    for row in _rows("mapping_cases.csv"):
        priced, _ = _price(row)
        for entry in counts[row["case"]]:
            traffic = next(
                priced.traffic[entry["level"], name] for name in operands[entry["operand"]]
                if (entry["level"], name) in priced.traffic
            )
            for side in ("read", "write"):
                mine, peer = 8 * float(getattr(traffic, side)), float(entry[f"{side}_bits"])
                assert mine == pytest.approx(peer, rel=1e-12), (row["case"], entry)


@needs_shared
def test_shared_energy_equals_the_peers():
    for row in _rows("mapping_cases.csv"):
        priced, _ = _price(row)
        assert float(priced.total_energy) * 1e12 == pytest.approx(float(row["energy_pJ"]), rel=1e-8)


#: Convolutions that ZigZag 3.9.1 mapped for this test (eyeriss12x14): filters, channels, rows, columns, kernel;
#: mapping; energy [pJ]; bits read by level and operand.
ZIGZAG_RUNS = [
    ((30, 20, 20, 12, 3), "O: rf_o[OX12 FX3 OY2 C20] | glb[K8] | dram[] ; W: rf_w[OX12 FX3 OY2 C20] | glb[K8] | dram[] ; "
     "I: rf_i[OX12 FX3] | glb[OY2 C20 K8] | dram[]", "OY10 FY3 K3", 2140261.6,
     {"rf_o O": 41459712, "glb O": 57600, "rf_w W": 860160, "glb W": 42240, "rf_i I": 10321920, "glb I": 430080}),
    ((18, 10, 17, 9, 3), "O: rf_o[OY2 FX3 FY3] | glb[K18 OX9] | dram[] ; W: rf_w[OY2 FX3 FY3 K18 OX9] | glb[] | dram[] ; "
     "I: rf_i[OY2 FX3 FY3 K18] | glb[OX9] | dram[]", "OY8 C10", 647235.0,
     {"rf_o O": 8372160, "glb O": 22016, "rf_w W": 991440, "glb W": 12800, "rf_i I": 1982880, "glb I": 69120}),
    ((16, 16, 28, 28, 3), "O: rf_o[OY2 C4] | glb[K16 OX28 FX3] | dram[] ; W: rf_w[OY2 C4 K16 OX28 FX3] | glb[] | dram[] ; "
     "I: rf_i[OY2 C4 K16] | glb[OX28 FX3] | dram[]", "OY14 FY3 C4", 3412623.2,
     {"rf_o O": 72253440, "glb O": 1304576, "rf_w W": 7225344, "glb W": 18432, "rf_i I": 14450688, "glb I": 344064}),
]


@pytest.mark.parametrize(("sizes", "levels", "spatial", "energy", "reads"), ZIGZAG_RUNS)
def test_convolutions_on_fractions_of_the_array_equal_zigzag(sizes, levels, spatial, energy, reads):
    filters, channels, rows, columns, kernel = sizes
    op = conv2d(1, channels, filters, rows + kernel - 1, columns + kernel - 1, kernel, padding="valid")
    made, width = architecture("eyeriss12x14", "resnet18_conv2")
    text = f"spatial[{spatial}] temporal inner->outer per operand and level: {levels}"
    paid = price(problem(op), made, peer_mappings.zigzag(text, op), width, PEERS["zigzag"])
    assert float(paid.total_energy) * 1e12 == pytest.approx(energy, rel=1e-9)
    for key, bits in reads.items():
        assert 8 * float(paid.traffic[tuple(key.split())].read) == pytest.approx(bits, rel=1e-9)


def test_fractions_of_positions_are_rounded_if_asked_for():
    # 10 channels over 4 columns in 3 rounds: 10/3 of them are in use, or 3
    nest = read_mapping("dram [A B C]\nfor m in 6\nfor n in 3\nreg [B]\n")
    nest = LoopNest((*nest.nodes[:-1], Loop("n", 10 / 3, "cols"), nest.nodes[-1]))
    prob = problem(matmul(6, 10, 1))
    kept = accesses(prob, nest)
    rounded = accesses(prob, nest, Conventions(fractions="rounded"))
    assert kept["reg", "B"].fills == pytest.approx(6 * 10)
    assert rounded["reg", "B"].fills == pytest.approx(6 * 3 * 3)
    assert rounded["dram", "B"].reads == pytest.approx(6 * 3 * 3)
    assert rounded["dram", "C"].updates == pytest.approx(6 * 3 * 3)


@needs_shared
def test_shared_latency_equals_accelforge_and_compute_cycles_equal_zigzag():
    for row in _rows("mapping_cases.csv"):
        priced, _ = _price(row)
        assert float(priced.bottlenecks["compute"]) == pytest.approx(float(row["compute_cycles"]))
        if row["peer"].startswith("accelforge"):
            assert float(priced.cycles) == pytest.approx(float(row["latency_cycles"]))


@needs_shared
def test_shared_timeloop_accesses_are_equal():
    counts = _grouped("timeloop_accesses.csv")
    for row in _rows("timeloop_cases.csv"):
        op, nest = peer_mappings.timeloop(row["mapping"], row["problem"])
        mine = accesses(problem(op), nest, PEERS["timeloop"])
        assert float(cycles(problem(op), nest)) == float(row["cycles"])
        for entry in counts[row["case"]]:
            access, instances = mine[entry["level"], entry["dataspace"]], float(entry["utilized_instances"])
            for side in ("reads", "fills", "updates"):
                assert float(getattr(access, side)) / instances == float(entry[f"{side}_per_instance"]), row["case"]


def _execute(prob, nest, scope):
    """Run the loop nest step by step with explicit tiles; returns words by (level, tensor, action).

    Temporal loops advance one after the other; at each step every position of the array holds, for every
    level, the set of elements of its tile.  A tile that starts elsewhere than the one before is fetched whole;
    words that several positions want in the same step leave the outer level once.
    """
    loops = [(i, n) for i, n in enumerate(nest.nodes) if isinstance(n, Loop)]
    inside = {}
    for i, node in loops:
        later = [n.factor for j, n in loops if j > i and n.name == node.name]
        inside[i] = int(np.prod(later)) if later else 1
    temporal = [(i, n) for i, n in loops if n.axis is None]
    spatial = [(i, n) for i, n in loops if n.axis is not None]
    bounds = {d: int(b) for d, b in prob.bounds.items()}

    def elements(operand, index, position):
        """Elements of the tile kept at a node, for fixed outer loops."""
        ranges = {}
        for d in bounds:
            start = sum(index[i] * inside[i] for i, n in loops if n.name == d and i < position)
            own = [n.factor for i, n in loops if n.name == d and i >= position]
            span = int(np.prod(own)) if own else 1
            ranges[d] = range(start, min(start + span, bounds[d]))
        axes = [[(x,) for x in ranges[d]] for d in operand.plain]
        for w in operand.windows:
            axes.append(sorted({(o * w.stride + k * w.dilation,) for o in ranges[w.out] for k in ranges[w.kernel]}))
        if any(len(r) == 0 for r in ranges.values()):
            return frozenset()
        return frozenset(itertools.product(*axes))

    words = defaultdict(int)
    for operand in prob.operands:
        chain = [*nest.kept(operand.name), (len(nest.nodes), "mac")]
        for (a, outer), (b, inner) in itertools.pairwise(chain):
            last, seen = {}, defaultdict(set)
            for steps in itertools.product(*(range(int(n.factor)) for _, n in temporal)):
                sent = defaultdict(lambda: [None, set()])
                for places in itertools.product(*(range(int(n.factor)) for _, n in spatial)):
                    index = {i: s for (i, _), s in zip(temporal, steps, strict=True)}
                    index |= {i: s for (i, _), s in zip(spatial, places, strict=True)}
                    whole = elements(operand, index, len(nest.nodes))
                    key = tuple(places[j] for j, (i, _) in enumerate(spatial) if i < b)
                    above = tuple(places[j] for j, (i, _) in enumerate(spatial) if i < a)
                    held = elements(operand, index, b)
                    if not held or not _alive(index, loops, inside, bounds, b):
                        continue
                    stamp = tuple(
                        sum(index[i] * inside[i] for i, n in loops if n.name == d and i < b) for d in operand.loops
                    )
                    if scope or inner == "mac":
                        stamp = tuple(index[i] for i, n in temporal if i < b)
                    if inner == "mac" and not whole:
                        continue
                    if last.get(key) == stamp:
                        continue
                    if key in sent[above][1]:
                        continue
                    last[key] = stamp
                    sent[above][1].add(key)
                    words[inner, operand.name, "in"] += len(held)
                    if operand.output:
                        words[inner, operand.name, "again"] += len(held & seen[key])
                        seen[key] |= held
                    sent[above][0] = (sent[above][0] or set()) | held
                for above, (union, _) in sent.items():
                    words[outer, operand.name, "out"] += len(union or ())
                    if operand.output:
                        words[outer, operand.name, "back"] += len((union or set()) & seen["outer", above])
                        seen["outer", above] |= union or set()
    return words


def _alive(index, loops, inside, bounds, b):
    """False if the loops above b point past the end of a dimension."""
    for d, bound in bounds.items():
        if sum(index[i] * inside[i] for i, n in loops if n.name == d and i < b) >= bound:
            return False
    return True


def _random_nest(rng, prob, ragged):
    levels = ["far", "near", "close"]
    nodes = [Keep("far", tuple(o.name for o in prob.operands))]
    left = dict(prob.bounds)
    blocks = [[], [], []]
    for d, bound in left.items():
        rest = int(bound)
        for block in (2, 1):
            choices = [f for f in range(1, rest + 1) if ragged or rest % f == 0]
            factor = rng.choice(choices)
            blocks[block].append(Loop(d, float(factor)))
            rest = -(-rest // factor)
        blocks[0].append(Loop(d, float(rest)))
    for number, block in enumerate(blocks):
        rng.shuffle(block)
        if number == 1 and not ragged and block:
            turned = rng.randrange(len(block))
            loop = block.pop(turned)
            block.insert(0, Loop(loop.name, loop.factor, "lanes"))
        places = {o.name: rng.randrange(len(block) + 1) for o in prob.operands}
        for at in range(len(block) + 1):
            here = tuple(n for n, place in places.items() if place == at and number < 2)
            if here:
                nodes.append(Keep(levels[number + 1], here))
            if at < len(block):
                nodes.append(block[at])
    return LoopNest(tuple(nodes))


@pytest.mark.parametrize("ragged", [False, True])
def test_counts_equal_a_literal_execution(ragged):
    rng = random.Random(7)
    ops = [matmul(3, 4, 2), matmul(2, 3, 5), matmul(4, 1, 6), conv1d(1, 2, 2, 6, 3, padding="valid")]
    # a ragged edge may leave a tile in place where a full one moves; without retention both are exact
    conventions = Conventions(retention="scope" if ragged else "unchanged")
    for _ in range(60):
        prob = problem(rng.choice(ops))
        nest = _random_nest(rng, prob, ragged)
        mine, words = accesses(prob, nest, conventions), _execute(prob, nest, ragged)
        for (level, tensor), access in mine.items():
            text = f"{level} {tensor}\n{nest.text(prob)}"
            output = prob.operand(tensor).output
            if output:
                assert float(access.updates) == words[level, tensor, "out"], text
                assert float(access.reads) == words[level, tensor, "back"], text
                assert float(access.drains) == words[level, tensor, "in"], text
                assert float(access.fills) == words[level, tensor, "again"], text
            else:
                assert float(access.reads) == words[level, tensor, "out"], text
                assert float(access.fills) == words[level, tensor, "in"], text


def test_by_hand_output_stationary_matmul():
    nest = read_mapping("dram [A B C] for m in 4 for n in 2 buf [C:4] for k in 8 buf [A B] for m in 2 for n in 2")
    mine = accesses(problem(matmul(8, 4, 8)), nest)
    # 2 x 2 output tiles stay while k runs: A enters once per n, B once per m
    assert mine["dram", "A"].reads == 8 * 8 * 2
    assert mine["dram", "B"].reads == 4 * 8 * 4
    assert mine["dram", "C"].updates == 8 * 4
    assert mine["dram", "C"].reads == 0
    assert mine["buf", "C"].updates == 8 * 4 * 8  # one per MAC
    assert mine["buf", "C"].reads == 8 * 4 * 7  # the first sum is written, not added


def test_candidates_are_an_array_axis():
    prob = problem(matmul(64, 64, 64))
    inner = np.array([1.0, 4.0, 7.0, 64.0])
    nest = LoopNest((
        Keep("dram", ("A", "B", "C")), Loop("n", 64.0), Loop("m", np.ceil(64 / inner)), Loop("k", 64.0),
        Keep("buf", ("A", "B", "C")), Loop("m", inner),
    ))
    many = accesses(prob, nest)
    for index in range(4):
        one = accesses(prob, nest.at(index))
        for key, access in many.items():
            for side in ("reads", "fills", "updates", "drains"):
                got = np.broadcast_to(getattr(access, side), (4,))[index]
                assert got == getattr(one[key], side)


def test_ragged_iterations():
    # 10 in tiles of 4 over two lanes: lane steps 4+4, 2; inner loops see 4, 4, 2
    assert count_iterations(10.0, [2, 2, 4], [True, False, True]) == 4 + 2
    assert count_iterations(10.0, [3, 4], [True, True]) == 10
    assert count_iterations(10.0, [3, 4], [True, False]) == 3


def test_renaming_loops_changes_nothing():
    text = "far [A B C] for m in 4 for k in 2 near [A B C] for n in 8 for k in 3"
    first = accesses(problem(matmul(4, 8, 6)), read_mapping(text))
    renamed = text.replace("for m", "for x").replace("for n", "for m").replace("for x", "for n")
    swapped = renamed.replace("[A B C]", "[B A C]")
    second = accesses(problem(matmul(8, 4, 6)), read_mapping(swapped))
    for (level, tensor), access in first.items():
        assert access == second[level, {"A": "B", "B": "A", "C": "C"}[tensor]]


def test_text_form_is_read_back():
    prob = problem(conv2d(1, 8, 16, 10, 10, 3, padding="valid"))
    text = "dram [I W O]\nfor k in 4\n  buf [I:800 W:288 O:256]\n  parallel k in 4 on rows\n  for p in 8\n"
    text += "    for q in 8\n      for c in 8\n        for r in 3\n          for s in 3"
    nest = read_mapping(text)
    check_mapping(nest, prob)
    assert read_mapping(nest.text(prob)) == nest
    assert "buf [I:800 W:288 O:256]" in nest.text(prob)


def _machine(capacity=64.0):
    return Accelerator(
        name="tiny", levels=(Level(name="dram", bandwidth=4.0), Level(name="buf", capacity=capacity)),
        axes=(Axis(name="rows", size=4, under="buf"),),
    )


def test_infeasible_mapping_names_level_and_bytes():
    prob = problem(matmul(8, 4, 8))
    nest = read_mapping("dram [A B C] for m in 4 buf [A B C] for n in 4 for k in 8 for m in 2")
    # A 2 x 8 + B 4 x 8 at 1 B, C 2 x 4 partial sums at 4 B = 16 + 32 + 32
    with pytest.raises(InfeasibleError, match="buf by 16 B"):
        require_room(price(prob, _machine(), nest, Widths(), Conventions()))
    wide = read_mapping("dram [A B C] buf [A B C] parallel m in 8 on rows for n in 4 for k in 8")
    with pytest.raises(InfeasibleError, match="axis rows by 4 positions"):
        price(prob, _machine(), wide)


@pytest.mark.parametrize("text, match", [
    ("dram [A B C] for z in 4", "unknown loop"),
    ("dram [A B Z] for m in 4", "unknown tensor"),
    ("dram [A B C] for m in 4", "product is at least"),
    ("dram [A B] for m in 8 for n in 4 for k in 8", "every tensor kept"),
    ("dram [A B C] fro m in 4", "fro m in 4"),
])
def test_bad_mappings_are_refused(text, match):
    with pytest.raises(PerfmodelError, match=match):
        check_mapping(read_mapping(text), problem(matmul(8, 4, 8)))


@pytest.mark.parametrize("field, value", [
    ("capacity", -1.0), ("bandwidth", 0.0), ("read_energy", -0.1), ("write_energy", float("nan")), ("word", 0),
    ("bandwidth", np.array([1.0, -2.0])),
])
def test_bad_levels_are_refused(field, value):
    with pytest.raises(ArgumentError, match=field):
        Level(name="buf", **{field: value})


def test_other_bad_input_is_refused():
    with pytest.raises(ArgumentError, match="attention"):
        problem(attention(1, 128, 128, 8))
    with pytest.raises(ArgumentError, match="halo"):
        Conventions(halo="maybe")
    with pytest.raises(ArgumentError, match="partial"):
        Widths(partial=-8)
    with pytest.raises(PerfmodelError, match="role"):
        Level(name="buf", holds=("weights",))
    with pytest.raises(ArgumentError, match="mac_energy"):
        Accelerator(name="x", levels=(Level(name="dram"),), mac_energy=-1.0)


@needs_shared
@pytest.mark.parametrize("name, metric, share", [
    ("scalesim_cycles", "cycles", 1.0), ("timeloop_accesses", "reads", 1.0), ("timeloop_cases", "cycles", 1.0),
    ("mapping_cases", "compute_cycles", 1.0), ("mapping_accesses", "write", 0.85),
])
def test_shared_files_are_scored(name, metric, share):
    from perfmodel.validation.measured.dispatch import score

    result = score(SHARED / f"{name}.csv")
    assert result["data"] == "arrays"
    assert result["summary"][metric]["exact"] >= share
