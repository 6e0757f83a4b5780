"""YAML descriptions: located faults, traps of YAML 1.1, sources, inheritance, what-if, schema, writing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.errors import (
    ArgumentError,
    InfeasibleError,
    PerfmodelError,
    PrecisionError,
    SpecError,
    UnitError,
    UnknownNameError,
    did_you_mean,
    nearest,
)
from perfmodel.report.files import write_atomic
from perfmodel.spec import (
    FrozenMap,
    Provenance,
    anything,
    block,
    dump,
    flag,
    get_path,
    json_schema,
    load,
    loads,
    many,
    numbers,
    paths,
    provenance,
    quantity,
    replace_path,
    table,
    text,
)


@dataclass(frozen=True, kw_only=True)
class Level:
    """A memory."""

    capacity: Any = quantity("B", doc="bytes of one instance")
    bandwidth: Any = quantity("B/s")
    latency: Any = quantity("s", default="0 s", positive=False, low=0.0)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A compute unit."""

    peak: Mapping[str, Any] = table(quantity("FLOP/s"), keys=("bf16", "fp8", "int8"))
    count: Any = quantity("count", default=1.0)
    efficiency: Any = quantity("1", default=None, high=1.0)


@dataclass(frozen=True, kw_only=True)
class Point:
    """An operating point."""

    clock: Any = quantity("Hz")
    voltages: tuple[float, ...] = numbers("V", default=())


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A device for these tests."""

    chip: str = text(doc="name")
    kind: str = text(default="gpu", choices=("gpu", "cpu", "npu"))
    ecc: bool = flag(default=False)
    memory: Mapping[str, Level] = table(Level)
    compute: Mapping[str, Unit] = table(Unit)
    boost: Point | None = block(Point, default=None)
    points: tuple[Point, ...] = many(Point, default=())
    tags: tuple[str, ...] = many(text(), default=())
    extra: Any = anything(default=None)
    provenance: Mapping[str, Provenance] = field(default_factory=dict, compare=False, repr=False)


GOOD = """\
# yaml-language-server: $schema=chip.json
chip: good-1
sources: {ds: "Maker, datasheet: v1", bench: measured}
source: ds
memory:
  hbm: {capacity: 80 GB, bandwidth: {value: 3.35 TB/s, source: bench, note: "mean, of 5"}}
  l2:
    source: bench
    capacity: 50 MiB
    bandwidth: 5.5TB/s
    latency: 200 ns
compute:
  matrix: {peak: {bf16: 989.4 TFLOP/s, int8: 1979 TOP/s}, count: 132, efficiency: 85 %}
boost: {clock: 1.98 GHz, voltages: [0.8 V, 900 mV]}
points:
  - clock: 1 GHz
  - {clock: 500 MHz, voltages: [700 mV]}
tags: [a, no, "1e6"]
extra: {rows: 12, order: [m, n], nested: {on: true, none: }}
"""

MINIMAL = """\
chip: x
sources: {a: book}
source: a
memory: {hbm: {capacity: 1 GB, bandwidth: 1 GB/s}}
compute: {}
"""


def faults(content: str, cls: type = Chip) -> list[str]:
    with pytest.raises(SpecError) as caught:
        loads(cls, content, "chip.yaml")
    lines = str(caught.value).split("\n")
    assert lines == [str(fault) for fault in caught.value.faults]
    return lines


def with_line(extra: str) -> str:
    return MINIMAL + extra + "\n"


# -- reading ---------------------------------------------------------------------------------------------------


def test_good_file_becomes_frozen_si_values():
    chip = loads(Chip, GOOD)
    assert chip.memory["hbm"] == Level(capacity=80e9, bandwidth=3.35e12, latency=0.0)
    assert chip.memory["l2"] == Level(capacity=50 * 2.0**20, bandwidth=5.5e12, latency=200e-9)
    assert list(chip.memory) == ["hbm", "l2"]  # order kept: it is the hierarchy
    assert chip.compute["matrix"].peak == {"bf16": 989.4e12, "int8": 1979e12}
    assert chip.compute["matrix"].efficiency == 0.85
    assert chip.boost == Point(clock=1.98e9, voltages=(0.8, 0.9))
    assert [point.clock for point in chip.points] == [1e9, 5e8]
    assert chip.tags == ("a", "no", "1e6")
    assert chip.extra == {"rows": 12, "order": ["m", "n"], "nested": {"on": True, "none": None}}
    with pytest.raises(FrozenInstanceError):
        chip.chip = "other"  # type: ignore[misc]


def test_loaded_objects_pickle_copy_and_hash():
    chip = loads(Chip, GOOD)
    assert pickle.loads(pickle.dumps(chip)) == chip
    assert copy.deepcopy(chip) == chip
    assert hash(chip.memory) == hash(loads(Chip, GOOD).memory)
    assert repr(FrozenMap({"a": 1})) == "FrozenMap({'a': 1})"
    assert FrozenMap({"a": 1}).set("b", 2) == {"a": 1, "b": 2}


def test_nine_faults_give_nine_located_lines():
    bad = """\
chip: h100
sources: {ds: datasheet}
source: ds
colour: green
ecc: yes
memory:
  hbm: {capacity: 80 GB, bandwidht: 3.35 TB/s}
  l2: {capacity: -50 MiB, bandwidth: 5.5 TB}
  l2: {capacity: 50 MiB, bandwidth: 5.5 TB/s}
compute:
  matrix:
    source: dss
    peak: {bf16: 1e6, int8: 2 TOP/s}
    efficiency: .nan
"""
    assert faults(bad) == [
        "chip.yaml:4:1: colour: unknown key 'colour'; allowed: chip, kind, ecc, memory, compute, boost, points, "
        "tags, extra",
        "chip.yaml:5:6: ecc: 'yes' where a flag is wanted; allowed: true, false; did you mean 'true'?",
        "chip.yaml:7:26: memory.hbm.bandwidht: unknown key 'bandwidht'; allowed: capacity, bandwidth, latency; "
        "did you mean 'bandwidth'?",
        "chip.yaml:8:18: memory.l2.capacity: '-50 MiB' is not above 0; allowed: above 0",
        "chip.yaml:8:38: memory.l2.bandwidth: '5.5 TB' is in TB where a rate is wanted: write TB/s; "
        "allowed: a number with a unit of B/s, such as 1.5 GB/s; did you mean 'TB/s'?",
        "chip.yaml:9:3: memory.l2: duplicate key 'l2', first given in line 8; allowed: each key once",
        "chip.yaml:12:13: compute.matrix.source: source 'dss' is not defined; allowed: ds; did you mean 'ds'?",
        "chip.yaml:13:18: compute.matrix.peak.bf16: '1e6' has no unit; allowed: a number with a unit of FLOP/s, "
        "such as 1.5 TFLOP/s; did you mean '1e6 FLOP/s'?",
        "chip.yaml:14:17: compute.matrix.efficiency: '.nan' is not finite; allowed: a plain number such as 0.85 "
        "or a percentage such as 85 %",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "1:1: (top): the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- 1\n", "(top): a list where a mapping is wanted"),
        ("just text", "'just text' where a mapping is wanted"),
        ("chip: [a", "not readable as YAML"),
        ("chip:\n\t- a", "not readable as YAML"),
        ("a: 1\n---\nb: 2\n", "not readable as YAML"),
        ("chip: \x00", "not readable as YAML"),
        ("chip: !!python/object:os.system x\n", "1:7: chip: the tag"),
        ("chip: &a x\nkind: *a\n", "an alias is used"),
        ("? [a, b]\n: 1\n", "a key is not a plain name"),
        ("- " * 100_000, "nested deeper than 60 levels"),
        ("[" * 100_000, "nested deeper than 60 levels"),
        (
            "sources: text\n" + MINIMAL.replace("sources: {a: book}\n", ""),
            "1:10: sources: 'text' where a mapping",
        ),
        (MINIMAL.replace("book", '""'), "sources.a: '' is not a citation"),
        (MINIMAL.replace("chip: x\n", ""), "1:1: chip: required key 'chip' is missing; allowed: a text"),
        (MINIMAL.replace("chip: x", "chip:"), "chip: an empty value where a text is wanted"),
        (MINIMAL.replace("1 GB,", "[1 GB],"), "memory.hbm.capacity: a list where a number is wanted"),
        (MINIMAL.replace("1 GB,", ","), "memory.hbm.capacity: an empty value where a number is wanted"),
        (MINIMAL.replace("1 GB,", "{source: a},"), "memory.hbm.capacity: a mapping without `value`"),
        (MINIMAL.replace("1 GB,", "{value: 1 GB, src: a},"), "unknown key 'src'"),
        (MINIMAL.replace("1 GB,", "{value: 1 GB, source: [a]},"), "a list where a source id is wanted"),
        (MINIMAL.replace("1 GB,", "1 Gb,"), "write Gbit or GB"),
        (MINIMAL.replace("1 GB,", "0 GB,"), "'0 GB' is not above 0"),
        (MINIMAL.replace("1 GB,", "010 GB,"), "ambiguous (octal or decimal?)"),
        (MINIMAL.replace("1 GB,", "yes,"), "'yes' is not a number"),
        (MINIMAL.replace("source: a\n", ""), "number without a source, like all numbers of this file"),
        (MINIMAL.replace("hbm:", "h.m:"), "'h.m' cannot be a name"),
        (MINIMAL.replace("{}", "[]"), "compute: a list where a mapping is wanted"),
        (MINIMAL.replace("{}", "{m: 3}"), "compute.m: '3' where a mapping is wanted; allowed: keys peak"),
        (with_line("kind: gpuu"), "'gpuu' is not possible; allowed: gpu, cpu, npu; did you mean 'gpu'?"),
        (with_line("ecc: 1"), "'1' where a flag is wanted"),
        (with_line("ecc: no"), "did you mean 'false'?"),
        (with_line("ecc: True"), "did you mean 'true'?"),
        (with_line('ecc: "true"'), "where a flag is wanted"),
        (with_line("boost: {clock: 1 GHz, voltages: 3 V}"), "boost.voltages: '3 V' where a list is wanted"),
        (with_line("boost: {clock: 1 GHz, voltages: [3 V, 4 A]}"), "boost.voltages.1: unknown unit 'A'"),
        (with_line("points: [{clok: 1 GHz}]"), "points.0.clok: unknown key 'clok'"),
        (with_line("points: {clock: 1 GHz}"), "points: a mapping where a list is wanted"),
        (with_line("extra: {a: 010}"), "extra.a: '010' is ambiguous"),
        (with_line("extra: [.inf]"), "extra.0: '.inf' is not finite"),
        (with_line("extra: 1_000"), "not a plain number"),
        (with_line("base: other"), "base is not possible here"),
        (with_line("<<: {kind: cpu}"), "unknown key '<<'"),
        (with_line("chip: y"), "duplicate key 'chip', first given in line 1"),
        (with_line("note: x\nnote: y"), "duplicate key 'note'"),
    ],
)
def test_each_fault_is_one_located_line(content, says):
    lines = faults(content)
    assert any(says in line for line in lines)
    assert all(line.startswith("chip.yaml:") for line in lines)


def test_all_numbers_unsourced_is_one_fault_but_some_are_one_each():
    whole = GOOD.replace("source: ds\n", "").replace("    source: bench\n", "").replace(", source: bench", "")
    assert len(faults(whole)) == 1
    partly = GOOD.replace("source: ds\n", "")
    assert (
        len([line for line in faults(partly) if "number without a source" in line]) == 11
    )  # all but memory.hbm.bandwidth and memory.l2


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("1.10", "1.10"),
        ("on", "on"),
        ("010", "010"),
        ("1e6", "1e6"),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_plain_words_stay_texts(written, value):
    assert loads(Chip, MINIMAL.replace("chip: x", f"chip: {written}")).chip == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e6", 1e6),
        ("12", 12),
        ("-3", -3),
        ("true", True),
        ("no", "no"),
        ("null", None),
        ('"12"', "12"),
        ("128x128", "128x128"),
        ("2024-01-01", "2024-01-01"),
        ("64 KiB", "64 KiB"),
        (".5", 0.5),
        ("n/a", "n/a"),
        ("infinite", "infinite"),
    ],
)
def test_raw_trees_know_no_yaml_1_1(written, value):
    got = loads(Chip, with_line(f"extra: {written}")).extra
    assert got == value and type(got) is type(value)


def test_faults_of_cross_checks_are_located():
    @dataclass(frozen=True)
    class Pair:
        a: Any = quantity("1")
        b: Any = quantity("1")
        sources_required = False

        def __post_init__(self) -> None:
            if self.a > self.b:
                raise ArgumentError("a", self.a, "at most b")

    assert loads(Pair, "a: 1\nb: 2").b == 2
    assert faults("a: 3\nb: 2", Pair) == ["chip.yaml:1:1: (top): a: 3.0 given; allowed: at most b"]


def test_files_that_cannot_be_read(tmp_path):
    for path, why in [(tmp_path / "none.yaml", "no such file"), (tmp_path, "cannot be read")]:
        with pytest.raises(SpecError, match=why):
            load(Chip, path)
    (tmp_path / "latin.yaml").write_bytes(b"chip: \xe9\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        load(Chip, tmp_path / "latin.yaml")


@given(st.text(alphabet="ab:{}[],-\n \"'&*!#|>%1.e", max_size=60))
def test_any_text_loads_or_gives_a_spec_error(content):
    with pytest.raises(SpecError):
        loads(Chip, content)


# -- sources ---------------------------------------------------------------------------------------------------


def test_every_number_knows_its_source():
    places = provenance(loads(Chip, GOOD, "chip.yaml"))
    assert places["memory.hbm.capacity"] == Provenance("ds", "Maker, datasheet: v1", "", "chip.yaml", 6)
    assert places["memory.hbm.bandwidth"] == Provenance("bench", "measured", "mean, of 5", "chip.yaml", 6)
    assert places["memory.l2.latency"].source == "bench"  # from its block
    assert places["points.1.voltages.0"].source == "ds"
    assert places["extra.order.1"].line == 19
    assert provenance(Level(capacity=1, bandwidth=1)) == {}


def test_sources_can_be_switched_off_per_class():
    @dataclass(frozen=True)
    class Free:
        size: Any = quantity("B")
        sources_required = False

    @dataclass(frozen=True)
    class Holder:
        size: Any = quantity("B")
        free: Any = block(Free)

    assert loads(Free, "size: 1 B").size == 1
    assert loads(Free, "size: 1 B\nsource: a book").size == 1  # the citation itself
    assert faults("size: 1 B\nfree: {size: 2 B}", Holder)[0].startswith("chip.yaml:1:7: size: number without")
    assert len(faults("size: 1 B\nfree: {size: 2 B}", Holder)) == 1


# -- base ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path):
    (tmp_path / "good.yaml").write_text(GOOD)

    def resolve(name: str) -> Path:
        if not (tmp_path / f"{name}.yaml").exists():
            raise UnknownNameError("chip", name, [path.stem for path in tmp_path.glob("*.yaml")])
        return tmp_path / f"{name}.yaml"

    return tmp_path, resolve


def derived(shelf: Any, content: str) -> Chip:
    folder, resolve = shelf
    (folder / "mine.yaml").write_text(content)
    return load(Chip, folder / "mine.yaml", resolve=resolve)


def test_base_gives_what_the_file_leaves_out(shelf):
    chip = derived(
        shelf,
        "base: good\nchip: mine\nsource: own\nsources: {own: my notes}\n"
        "memory: {hbm: {capacity: 96 GB}, l2: }\ntags: [b]\n",
    )
    assert chip.chip == "mine" and chip.tags == ("b",)
    assert chip.memory == {"hbm": Level(capacity=96e9, bandwidth=3.35e12, latency=0.0)}  # l2 taken out
    assert chip.compute == loads(Chip, GOOD).compute
    places = provenance(chip)
    assert places["memory.hbm.capacity"].source == "own"
    assert places["memory.hbm.bandwidth"].source == "bench"  # the base's number keeps the base's source
    assert places["compute.matrix.count"].source == "ds"
    assert places["memory.hbm.capacity"].file.endswith("mine.yaml")
    assert places["compute.matrix.count"].file.endswith("good.yaml")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("base: goood\nchip: mine\n", "mine.yaml:1:7: base: unknown chip 'goood'; did you mean 'good'?"),
        ("base: [good]\nchip: mine\n", "base: a list is not a name"),
        ("base: second\nchip: mine\n", "base: 'second' is based on another file itself"),
        (
            "base: good\nsources: {ds: something else}\n",
            "sources.ds: source 'ds' differs from the one of the base",
        ),
        ("base: good\nmemory: {hbm: {capacity: 96}}\nsource: ds\n", "mine.yaml:2:26: memory.hbm.capacity"),
        ("base: good\nmemory: {hbm: {capacity: 96 GB}}\n", "memory.hbm.capacity: number without a source"),
    ],
)
def test_base_faults(shelf, content, says):
    (shelf[0] / "second.yaml").write_text("base: good\nchip: second\n")
    with pytest.raises(SpecError) as caught:
        derived(shelf, content)
    assert says in str(caught.value)


# -- what-if ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("memory.hbm.bandwidth", "4TB/s", 4e12),
        ("memory.hbm.bandwidth", 4e12, 4e12),
        ("memory.hbm.bandwidth", np.float32(2.0), 2.0),
        ("memory.hbm.bandwidth", ["2 TB/s", 4e12], [2e12, 4e12]),
        ("memory.hbm.bandwidth", np.array([[1, 2]]), [[1.0, 2.0]]),
        ("memory.hbm.latency", 0, 0.0),
        ("compute.matrix.peak.bf16", "1 PFLOP/s", 1e15),
        ("compute.matrix.count", [8, 16], [8.0, 16.0]),
        ("compute.matrix.efficiency", "50 %", 0.5),
        ("points.1.clock", "2 GHz", 2e9),
        ("boost.voltages.0", "1 V", 1.0),
        ("boost.voltages", ["1 V", 0.5], (1.0, 0.5)),
        ("kind", "cpu", "cpu"),
        ("ecc", "true", True),
        ("ecc", True, True),
        ("boost", Point(clock=1.0), Point(clock=1.0)),
    ],
)
def test_replace_path(path, value, expected):
    chip = loads(Chip, GOOD)
    changed = replace_path(chip, path, value)
    assert np.array_equal(get_path(changed, path), expected)
    assert chip == loads(Chip, GOOD)  # the original stays
    assert provenance(changed)[path].source == "user"
    others = [other for other in paths(chip) if other != path and not other.startswith(path + ".")]
    assert all(get_path(changed, other) == get_path(chip, other) for other in others)


def test_replace_path_takes_symbols():
    sympy = pytest.importorskip("sympy")
    symbol = sympy.Symbol("b", positive=True)
    assert replace_path(loads(Chip, GOOD), "memory.hbm.bandwidth", symbol).memory["hbm"].bandwidth == symbol


@pytest.mark.parametrize(
    ("path", "value", "error", "says"),
    [
        ("memory.hbm.bandwith", 1, UnknownNameError, "did you mean 'memory.hbm.bandwidth'"),
        ("memory.hbn.bandwidth", 1, UnknownNameError, "did you mean 'memory.hbm.bandwidth'"),
        ("memory.hbm.bandwidth.x", 1, UnknownNameError, "did you mean 'memory.hbm.bandwidth'"),
        ("points.7.clock", 1, UnknownNameError, "unknown path"),
        ("", 1, UnknownNameError, "unknown path ''"),
        ("provenance", 1, UnknownNameError, "unknown path"),
        (
            "memory.hbm",
            1,
            ArgumentError,
            "memory.hbm: 1 given; allowed: a path to a single value, or a Level",
        ),
        ("memory.hbm.bandwidth", "3 TB", UnitError, "memory.hbm.bandwidth: '3 TB' is in TB"),
        ("memory.hbm.bandwidth", "-3 TB/s", UnitError, "is not above 0"),
        ("memory.hbm.bandwidth", 0, ArgumentError, "memory.hbm.bandwidth: 0.0 given; allowed: above 0"),
        ("memory.hbm.bandwidth", [1.0, -1.0], ArgumentError, "-1.0 given; allowed: above 0"),
        ("memory.hbm.bandwidth", float("nan"), ArgumentError, "nan given"),
        ("memory.hbm.bandwidth", [1.0, float("inf")], ArgumentError, "inf given"),
        ("memory.hbm.bandwidth", None, ArgumentError, "None given"),
        ("memory.hbm.bandwidth", True, ArgumentError, "True given"),
        ("memory.hbm.bandwidth", {}, ArgumentError, "{} given"),
        ("memory.hbm.bandwidth", [], ArgumentError, "at least one value"),
        ("memory.hbm.latency", -1e-9, ArgumentError, "allowed: at least 0 s"),
        ("compute.matrix.efficiency", 1.5, ArgumentError, "allowed: above 0 and at most 1"),
        ("compute.matrix.count", 1.5, ArgumentError, "a whole number above 0"),
        ("kind", "gpuu", ArgumentError, "allowed: gpu, cpu, npu"),
        ("ecc", "yes", ArgumentError, "allowed: true, false"),
    ],
)
def test_replace_path_refuses(path, value, error, says):
    with pytest.raises(error) as caught:
        replace_path(loads(Chip, GOOD), path, value)
    assert says in str(caught.value)


def test_paths_lead_through_objects_inside_objects():
    @dataclass(frozen=True)
    class Node:
        chip: Any = text()
        count: Any = quantity("count", default=1.0)

    node = Node(chip=loads(Chip, GOOD))
    assert "chip.memory.hbm.bandwidth" in paths(node)
    changed = replace_path(node, "chip.memory.hbm.bandwidth", "4 TB/s")
    assert changed.chip.memory["hbm"].bandwidth == 4e12
    assert provenance(changed.chip)["memory.hbm.bandwidth"].source == "user"


# -- schema ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def check():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema(Chip)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    return lambda content: [error.message for error in validator.iter_errors(yaml.safe_load(content))]


def test_schema_accepts_good_files(check):
    content = GOOD.replace("[a, no,", '[a, "no",').replace("{on:", '{"on":')
    assert check(content) == []
    assert check(dump(loads(Chip, GOOD))) == []
    assert (
        check(
            "base: good\nmemory: {hbm: {capacity: 96 GB}}\n".replace(
                "{capacity", "{bandwidth: 1 B/s, capacity"
            )
        )
        == []
    )


@pytest.mark.parametrize(
    "change",
    [
        ("80 GB", "80 Gb"),
        ("80 GB", "80 GB/s"),
        ("80 GB", "80"),
        ("1.98 GHz", "1.98 Ghz"),
        ("85 %", "1.5"),
        ("count: 132", "count: 0"),
        ("bf16:", "bf61:"),
        ("latency:", "latncy:"),
        ("chip: good-1\n", ""),
    ],
)
def test_schema_refuses_what_the_loader_refuses(check, change):
    content = GOOD.replace("[a, no,", '[a, "no",').replace(*change)
    assert check(content)
    assert faults(content)


def test_schema_describes_fields():
    schema = json_schema(Chip)
    assert schema["title"] == "Chip" and schema["description"] == "A device for these tests."
    assert "GB/s" in str(schema["$defs"]["Level"]["properties"]["bandwidth"]["description"])
    assert schema["$defs"]["Level"]["properties"]["capacity"]["description"].startswith("bytes of one")


# -- writing ---------------------------------------------------------------------------------------------------


def test_dump_reads_back_equal_with_sources():
    chip = loads(Chip, GOOD)
    written = dump(chip)
    again = loads(Chip, written)
    assert again == chip
    assert {path: place.source for path, place in provenance(again).items()} == {
        path: place.source for path, place in provenance(chip).items()
    } | {"memory.l2.capacity": "bench"}
    assert 'bandwidth: {value: 3.35 TB/s, source: bench, note: "mean, of 5"}' in written
    assert "capacity: {value: 50 MiB, source: bench}" in written


def test_dump_marks_what_a_user_set_and_refuses_arrays():
    chip = replace_path(loads(Chip, GOOD), "memory.hbm.bandwidth", "4 TB/s")
    again = loads(Chip, dump(chip))
    assert provenance(again)["memory.hbm.bandwidth"].source == "user"
    with pytest.raises(ArgumentError, match=r"memory\.hbm\.bandwidth"):
        dump(replace_path(chip, "memory.hbm.bandwidth", [1.0, 2.0]))


sizes = st.floats(1e-15, 1e25)
names = st.text("abcxyz019_-", min_size=1, max_size=6).filter(lambda name: name[0] not in "_-")
words = st.text(min_size=1, max_size=20).filter(str.strip)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
chips = st.builds(
    Chip,
    chip=words,
    kind=st.sampled_from(["gpu", "cpu"]),
    ecc=st.booleans(),
    memory=st.dictionaries(names, st.builds(Level, capacity=sizes, bandwidth=sizes, latency=sizes)).map(
        FrozenMap
    ),
    compute=st.just(FrozenMap[Unit]()),
    boost=st.none() | st.builds(Point, clock=sizes, voltages=st.lists(sizes, max_size=3).map(tuple)),
    points=st.lists(st.builds(Point, clock=sizes), max_size=3).map(tuple),
    tags=st.lists(words, max_size=3).map(tuple),
    extra=trees,
)


@dataclass(frozen=True, kw_only=True)
class FreeChip(Chip):
    """The same without sources."""

    sources_required = False


@given(chips)
def test_any_object_survives_dump_and_load(chip):
    free = FreeChip(**{name: getattr(chip, name) for name in vars(chip)})
    assert loads(FreeChip, dump(free)) == free


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    target = tmp_path / "a.yaml"
    write_atomic(target, "one")
    target.chmod(0o600)
    write_atomic(target, "two")
    assert target.read_text() == "two" and target.stat().st_mode & 0o777 == 0o600
    for wrong in (tmp_path / "none" / "a.yaml", tmp_path):
        with pytest.raises(ArgumentError):
            write_atomic(wrong, "x")
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "b.yaml", 3)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]  # no temporary file left


# -- errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        UnitError("m", "a", "n"),
        UnknownNameError("device", "h1000", ["h100", "h200"]),
        ArgumentError("batch", -1, "a whole number above 0"),
    ],
)
def test_errors_pickle_and_share_one_root(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert isinstance(error, PerfmodelError)
    assert not isinstance(error, (KeyError, ValueError))


def test_errors_say_what_is_there_instead():
    error = PrecisionError("fp8", "a100", ["fp16", "bf16"])
    assert str(error) == "precision 'fp8' is not available on a100; allowed: fp16, bf16"
    assert pickle.loads(pickle.dumps(error)).available == ("fp16", "bf16")
    assert pickle.loads(pickle.dumps(InfeasibleError("12 GB too much", 12e9))).excess == 12e9


def test_nearest_names():
    devices = ["a100-sxm-80gb", "h100-sxm5", "h200-sxm", "mi300x"]
    assert nearest("a100", devices) == "a100-sxm-80gb"  # the start of a long name
    assert nearest("H100-SXM", devices) == "h100-sxm5"
    assert nearest("zzz", devices) is None
    assert did_you_mean("mi300", devices) == "; did you mean 'mi300x'?"
    assert did_you_mean("zzz", devices) == "; known: a100-sxm-80gb, h100-sxm5, h200-sxm, mi300x"
    assert did_you_mean("zzz", []) == ""
    assert "(30 in all)" in did_you_mean("zzz", [f"name{i}" for i in range(30)])


def test_spec_errors_pickle():
    with pytest.raises(SpecError) as caught:
        loads(Chip, "")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
