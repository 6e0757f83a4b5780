"""The unit table: values against pint where both speak, refusals where a general library guesses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.errors import UnitError
from perfmodel.units import ATOMS, PREFIXES, convert, examples, format_si, number, parse, unit

# atom -> the same unit in pint's words, in which the coherent unit of perfmodel is the second entry
PINT = {
    "B": ("byte", "byte"),
    "bit": ("bit", "byte"),
    "s": ("second", "second"),
    "min": ("minute", "second"),
    "h": ("hour", "second"),
    "day": ("day", "second"),
    "year": ("year", "second"),
    "Hz": ("hertz", "1/second"),
    "J": ("joule", "joule"),
    "Wh": ("watt_hour", "joule"),
    "W": ("watt", "watt"),
    "m": ("meter", "meter"),
    "V": ("volt", "volt"),
    "K": ("kelvin", "kelvin"),
}
SAME_SYMBOL = [  # texts that both libraries read by themselves
    "kB", "MB", "GB", "TB", "PB", "EB", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "B", "bit", "kbit", "Gbit", "Tbit",
    "Mibit", "s", "ms", "us", "µs", "ns", "ps", "fs", "min", "h", "day", "year", "Hz", "kHz", "MHz", "GHz", "J", "mJ",
    "uJ", "nJ", "pJ", "fJ", "kJ", "MJ", "Wh", "kWh", "MWh", "W", "mW", "kW", "MW", "GW", "m", "mm", "cm", "um", "nm",
    "km", "V", "mV", "K", "mm^2", "cm^2", "um^2", "B/s", "kB/s", "GB/s", "TB/s", "GiB/s", "Gbit/s", "Mbit/s", "pJ/bit",
    "nJ/B", "fJ/bit", "W/mm^2", "J/s", "B/J", "bit/s/mm^2", "1/cm^2", "kWh/day", "B/ns", "J*s", "GB/s/W",
]  # fmt: skip
COHERENT = {
    "byte": "byte",
    "second": "second",
    "joule": "joule",
    "metre": "meter",
    "volt": "volt",
    "kelvin": "kelvin",
}


@pytest.fixture(scope="module")
def pint():
    return pytest.importorskip("pint").UnitRegistry()


@pytest.mark.parametrize("name", sorted(PINT))
def test_every_prefixed_unit_agrees_with_pint(pint, name):
    long, coherent = PINT[name]
    words = {
        "": "", "k": "kilo", "M": "mega", "G": "giga", "T": "tera", "P": "peta", "E": "exa", "m": "milli", "u": "micro",
        "n": "nano", "p": "pico", "f": "femto", "c": "centi", "Ki": "kibi", "Mi": "mebi", "Gi": "gibi", "Ti": "tebi",
        "Pi": "pebi", "Ei": "exbi",
    }  # fmt: skip
    for prefix in ("", *ATOMS[name].prefixes):
        ours = parse(f"3.7 {prefix}{name}", name)
        theirs = pint.Quantity(3.7, words[prefix] + long).to(coherent).magnitude
        assert ours == pytest.approx(theirs, rel=1e-14), prefix + name


@pytest.mark.parametrize("text", SAME_SYMBOL)
def test_same_text_same_value_as_pint(pint, text):
    dims = unit(text).dims
    coherent = "*".join(f"{COHERENT[name]}**{power}" for name, power in dims)
    theirs = pint.Quantity(3.7, text).to(coherent).magnitude
    assert parse(f"3.7 {text}", text) == pytest.approx(theirs, rel=1e-14)


def test_degrees_agree_with_pint(pint):
    theirs = pint.Quantity(85, "degC").to("kelvin").magnitude
    assert parse("85 degC", "K") == pytest.approx(theirs, rel=1e-15)
    assert parse("0 degC", "K") == 273.15
    assert convert(np.array([0.0, 85.0]), "degC", "K") == pytest.approx([273.15, 358.15])


@pytest.mark.parametrize("prefix", sorted(PREFIXES))
def test_prefixes_are_exact_powers(prefix):
    expected = {
        "k": 1e3,
        "M": 1e6,
        "G": 1e9,
        "T": 1e12,
        "P": 1e15,
        "E": 1e18,
        "m": 1e-3,
        "u": 1e-6,
        "n": 1e-9,
    }
    expected |= {"p": 1e-12, "f": 1e-15, "c": 1e-2}
    expected |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}
    assert float(PREFIXES[prefix]) == expected[prefix]


@pytest.mark.parametrize(
    ("text", "wanted", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("4TB/s", "B/s", 4e12),
        ("400 Gbit/s", "B/s", 50e9),  # 400e9 / 8
        ("64 KiB", "B", 65536.0),  # 64 * 1024
        ("80GiB", "B", 80 * 2.0**30),
        ("16 GT/s", "T/s", 16e9),  # transfers, never tera or tesla
        ("64 bit", "B", 8.0),
        ("1e6", "1", 1e6),  # a text in YAML 1.1
        ("1.5e-3", "1", 1.5e-3),
        ("85 %", "1", 0.85),
        ("85%", "1", 0.85),
        ("-2", "1", -2.0),
        ("132", "count", 132.0),
        ("1e3", "count", 1000.0),
        ("5 pJ/bit", "J/B", 40e-12),
        ("1 pJ/FLOP", "J/FLOP", 1e-12),
        ("1979 TOP/s", "FLOP/s", 1979e12),
        ("2 USD/h", "USD/s", 2 / 3600),
        ("3600 USD/h", "USD/h", 1.0),
        ("814 mm2", "m2", 814e-6),
        ("0.1 1/cm2", "1/m2", 1000.0),
        ("0.1/cm2", "1/m2", 1000.0),
        ("360 gCO2e/kWh", "kgCO2e/J", 1e-7),
        ("1 year", "s", 365.25 * 86400),
        ("12 µs", "s", 12e-6),
        ("12 μs", "s", 12e-6),
        ("5 J/s", "W", 5.0),
        ("1 kWh", "J", 3.6e6),
        ("7 nm", "m", 7e-9),
        ("10 token/s", "token/s", 10.0),
        ("0 s", "s", 0.0),
    ],
)
def test_values(text, wanted, value):
    assert parse(text, wanted) == value


@pytest.mark.parametrize(
    ("text", "wanted", "says"),
    [
        ("400 Gb/s", "B/s", "write Gbit/s or GB/s"),
        ("3 b", "B", "write bit or B"),
        ("64 Kb", "B", "write kbit or kB"),
        ("64 KB", "B", "write kB (1000) or KiB (1024)"),
        ("3.35 TB", "B/s", "where a rate is wanted: write TB/s"),
        ("3.35 TB/s", "B", "is in TB/s where a quantity in B is wanted"),
        ("989 TFLOPS", "FLOP/s", "write TFLOP/s"),
        ("989 TFLOP", "FLOP/s", "write TFLOP/s"),
        ("3 GBps", "B/s", "write GB/s"),
        ("10 Gbps", "B/s", "write Gbit/s"),
        ("5 sec", "s", "write s"),
        ("1e6", "B/s", "has no unit; allowed: a number with a unit of B/s, such as 1.5 GB/s"),
        ("12", "s", "has no unit"),
        ("12 s", "1", "has a unit where a plain number is wanted"),
        ("5 %", "B", "is in %"),
        ("5 foo", "B", "unknown unit 'foo'"),
        ("5 Gs", "s", "unknown unit 'Gs'"),
        ("5 mB", "B", "unknown unit 'mB'"),
        ("5 GHZ", "Hz", "did you mean 'GHz'"),
        ("5 TT", "B", "is in TT"),
        ("16 TB", "T", "is in TB"),
        ("1 GMAC", "FLOP", "is in GMAC"),
        ("010", "1", "ambiguous (octal or decimal?)"),
        ("007 s", "s", "did you mean '7 s'"),
        ("0x10", "1", "not a plain number"),
        ("0o10", "1", "not a plain number"),
        ("1_000", "1", "did you mean '1000'"),
        ("1,000 B", "B", "did you mean '1000 B'"),
        ("1:30", "1", "not a plain number"),
        ("1.2.3", "1", "not a plain number"),
        ("nan", "1", "is not finite"),
        (".inf", "1", "is not finite"),
        ("-inf B", "B", "is not a number"),
        ("1e400 B", "B", "is not finite"),
        ("1e308 GB", "B", "too large"),
        ("1e999999999999 B", "B", "is not finite"),
        ("yes", "1", "is not a number"),
        ("", "B", "is not a number"),
        ("B", "B", "is not a number"),
        ("5 B//s", "B/s", "cannot read the unit"),
        ("5 B s", "B", "cannot read the unit"),
        ("0.5", "count", "not a whole number above 0"),
        ("0", "count", "not a whole number above 0"),
        ("-1", "count", "not a whole number above 0"),
        ("8 GPU", "count", "has a unit where a plain number is wanted"),
    ],
)
def test_refusals_say_what_to_write(text, wanted, says):
    with pytest.raises(UnitError) as caught:
        parse(text, wanted)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_only_texts_and_plain_numbers_are_quantities(value):
    with pytest.raises(UnitError):
        parse(value, "1")


def test_bare_floats_need_no_text_where_no_unit_is_needed():
    assert parse(3, "count") == 3.0
    assert parse(0.5, "1") == 0.5
    with pytest.raises(UnitError, match="has no unit"):
        parse(3e12, "B/s")
    with pytest.raises(UnitError, match="not finite"):
        parse(math.nan, "1")


def test_number_reads_plain_decimals_only():
    assert number("1e6") == 1e6
    for text in ("1 s", "5%", "1e", "--1", "٣"):
        with pytest.raises(UnitError):
            number(text)


@pytest.mark.parametrize(
    ("value", "wanted", "text"),
    [
        (3.35e12, "B/s", "3.35 TB/s"),
        (0.0124, "s", "12.4 ms"),
        (1.0, "s", "1 s"),
        (999.96e3, "B", "1 MB"),
        (0.0, "B", "0 B"),
        (8.14e-4, "m2", "814 mm2"),
        (2 / 3600, "USD/h", "2 USD/h"),
        (1e-12, "J/FLOP", "1 pJ/FLOP"),
        (989.4e12, "FLOP/s", "989.4 TFLOP/s"),
        (132.0, "count", "132"),
        (0.85, "1", "0.85"),
        (358.15, "degC", "85 degC"),
        (-5e9, "B", "-5 GB"),
        (math.inf, "B", "inf"),
    ],
)
def test_text_for_people(value, wanted, text):
    assert format_si(value, wanted) == text


def test_binary_prefixes_for_people():
    assert format_si(80 * 2**30, "B", binary=True) == "80 GiB"
    assert format_si(3e-3, "s", binary=True) == "3 ms"  # no binary prefix for a second


WRITTEN = [
    "B",
    "B/s",
    "FLOP/s",
    "OP/s",
    "s",
    "Hz",
    "J",
    "J/B",
    "J/FLOP",
    "W",
    "m2",
    "USD",
    "USD/h",
    "1/m2",
    "kgCO2e",
]
WRITTEN += ["T/s", "token/s", "bit", "kWh", "W/mm2", "pJ/bit", "degC", "1", "B*s", "gCO2e/kWh", "V", "year"]


@given(st.floats(1e-30, 1e30), st.sampled_from(WRITTEN), st.booleans())
def test_all_digits_read_back_to_the_last_bit(value, wanted, binary):
    assert parse(format_si(value, wanted, digits=None, binary=binary), wanted) == value


@given(st.floats(1e-12, 1e18), st.sampled_from([u for u in WRITTEN if u != "degC"]))
def test_text_for_people_is_close(value, wanted):
    assert parse(format_si(value, wanted), wanted) == pytest.approx(value, rel=5e-4)


@given(st.floats(1e-9, 1e17), st.sampled_from(["J", "W"]))
def test_prefix_leaves_one_to_a_thousand(value, wanted):
    assert 1 <= float(format_si(value, wanted).split()[0]) < 1000


@given(
    st.floats(1e-20, 1e20),
    st.sampled_from([("GB/s", "Gbit/s"), ("h", "s"), ("mm2", "cm2"), ("pJ/bit", "J/B")]),
)
def test_convert_and_back(value, pair):
    there = convert(value, *pair)
    assert convert(there, *reversed(pair)) == pytest.approx(value, rel=1e-14)
    assert convert(np.array([value]), *pair)[0] == there


def test_convert_refuses_other_dimensions():
    with pytest.raises(UnitError, match="cannot convert B to s"):
        convert(1.0, "B", "s")
    assert convert(1.0, "GB/s", "Gbit/s") == 8.0


@given(st.text(max_size=12), st.sampled_from(["B/s", "1", "count", "s"]))
def test_any_text_is_a_value_or_a_unit_error(text, wanted):
    try:
        assert math.isfinite(parse(text, wanted))
    except UnitError as error:
        assert str(error)


def test_examples_are_readable_by_the_parser():
    for wanted in ("B", "B/s", "FLOP/s", "s", "Hz", "J/bit", "m2", "T/s"):
        sample = examples(wanted).split("such as ")[1]
        assert parse(sample, wanted) > 0
