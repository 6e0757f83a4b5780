"""Properties of every registered operator, over the hand-countable cases of tests/op_cases.py."""

import inspect

import numpy as np
import pytest
import sympy

import perfmodel as pm
from perfmodel.errors import ArgumentError
from perfmodel.ops import constructors
from perfmodel.ops.registry import OPERATORS
from tests.op_cases import CASES

UNITS = ("matrix", "vector", "special", "lookup")
IDS = [f"{case.op}-{i}" for i, case in enumerate(CASES)]
each_case = pytest.mark.parametrize("case", CASES, ids=IDS)


def counts(op):
    """All numbers that an engine reads from an op."""
    found = {unit: op.operations(unit) for unit in UNITS}
    found |= {"read": op.elements(output=False), "written": op.elements(output=True)}
    found |= {f"stored {kind}": op.storage(kind) for kind in ("weight", "kv", "state")}
    return found


def symbolic_sizes(case):
    """Arguments that may be symbols, and their values."""
    parameters = inspect.signature(OPERATORS[case.op]).parameters
    return {
        key: value for key, value in case.sizes.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        and parameters[key].annotation not in ("int", "float", "str")
    }


def test_every_operator_has_a_case():
    assert {case.op for case in CASES} >= set(OPERATORS)


@each_case
def test_counted_by_hand(case):
    op = getattr(pm.op, case.op)(**case.sizes)
    for unit in UNITS:
        assert op.operations(unit) == pytest.approx(getattr(case, unit), rel=1e-12), unit
    assert op.elements(output=False) == pytest.approx(case.read, rel=1e-12)
    assert op.elements(output=True) == pytest.approx(case.written, rel=1e-12)
    for kind in ("weight", "kv", "state"):
        assert op.storage(kind) == pytest.approx(case.stored.get(kind, 0), rel=1e-12), kind


@each_case
def test_float_array_and_symbol_agree(case):
    function = OPERATORS[case.op]
    plain = counts(function(**case.sizes))
    free = symbolic_sizes(case)
    arrays = {key: np.array([value, value], dtype=float) for key, value in free.items()}
    for name, value in counts(function(**{**case.sizes, **arrays})).items():
        assert np.broadcast_to(value, (2,)) == pytest.approx(plain[name], rel=1e-12), name
    symbols = {key: sympy.Symbol(key, positive=True) for key in free}
    at = {symbols[key]: value for key, value in free.items()}
    for name, value in counts(function(**{**case.sizes, **symbols})).items():
        assert float(sympy.sympify(value).subs(at)) == pytest.approx(plain[name], rel=1e-9), name


@each_case
def test_operations_scale_and_add(case):
    function, key = OPERATORS[case.op], case.scales
    size = case.sizes.get(key, inspect.signature(function).parameters[key].default)

    def operations(factor):
        op = function(**{**case.sizes, key: factor * size})
        return np.array([op.operations(unit) for unit in UNITS], dtype=float)

    one, two, three = operations(1), operations(2), operations(3)
    assert two == pytest.approx(2 * one, rel=1e-12)
    assert one + two == pytest.approx(three, rel=1e-12)
    repeated = function(**case.sizes).repeated(5.0)
    assert repeated.flops == pytest.approx(5 * one[0], rel=1e-12)


@each_case
def test_nothing_is_negative(case):
    assert all(value >= 0 for value in counts(OPERATORS[case.op](**case.sizes)).values())


BAD_SIZES = [0, -1, 0.5, float("nan"), float("inf"), "4", True, [1, 0], None]


@pytest.mark.parametrize("value", BAD_SIZES, ids=repr)
@pytest.mark.parametrize(("op", "key"), [("matmul", "m"), ("attention", "batch"), ("mla", "heads"), ("scan", "state")])
def test_bad_size_is_refused(op, key, value):
    case = next(c for c in CASES if c.op == op)
    with pytest.raises(ArgumentError) as caught:
        getattr(pm.op, op)(**{**case.sizes, key: value})
    assert f"{op}.{key}" in str(caught.value)
    assert "allowed" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: pm.op.attention(1, 8, 4, 4, 4, 64), "context"),
        (lambda: pm.op.mla(1, 8, 4, 16), "context"),
        (lambda: pm.op.attention(1, 1, 4, 6, 4, 64), "kv_heads"),
        (lambda: pm.op.attention(1, 1, 4, 8, [2, 3], 64), "kv_heads"),
        (lambda: pm.op.attention(1, 1, 4, 8, 2, 64, causal="yes"), "causal"),
        (lambda: pm.op.attention(1, 1, 4, 8, 2, 64, window=0), "window"),
        (lambda: pm.op.matmul(m=1, n=2), "k"),
        (lambda: pm.op.matmul(m=1, n=2, k=3, kk=4), "kk"),
        (lambda: pm.op.norm(3, 8, kind="batch"), "kind"),
        (lambda: pm.op.conv2d(1, 3, 8, 8, 8, (3, 3, 3)), "kernel"),
        (lambda: pm.op.conv2d(1, 3, 8, 8, 8, 3, padding="some"), "padding"),
        (lambda: pm.op.conv2d(1, 3, 8, 8, 8, 3, groups=2), "in_channels"),
        (lambda: pm.op.elementwise(4, operations=-1), "operations"),
    ],
)
def test_bad_combination_is_refused(call, word):
    with pytest.raises(ArgumentError, match=word):
        call()


def test_good_arguments_pass():
    assert pm.op.attention(1, 8, 4, 4, 4, 64, causal=False).flops > 0
    assert pm.op.matmul(64.0, 4096, 4096).flops == 2 * 64 * 4096 * 4096
    m = sympy.Symbol("m")
    assert pm.op.matmul(m, 2, 3).flops == 12.0 * m
    assert pm.op.conv2d(1, 3, 8, 8, 8, (3, 1), padding=(1, 0)).flops > 0
    assert set(dir(pm.op)) == set(OPERATORS)


def test_unknown_operator():
    with pytest.raises(pm.PerfmodelError, match="matmul"):
        _ = pm.op.matmull
    assert not hasattr(constructors, "no_such_operator")
