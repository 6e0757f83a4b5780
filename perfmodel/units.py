"""The one table of units: text such as ``3.35 TB/s`` to SI floats and back.

Inside the package every number is a float in the coherent units B, s, FLOP, J, W, Hz, m, K, V, USD, kgCO2e.
The table is closed on purpose: general unit libraries read ``16 GT/s`` as tesla and ``b`` as barn, ampere or
bit.  Arithmetic is in exact fractions with one rounding at the end: ``3.35 TB/s`` is 3.35e12 to the last bit.

Rules: decimal prefixes ``k M G T P E`` and ``m u n p f``; binary ``Ki Mi Gi Ti Pi Ei`` for bytes and bits
only; ``b`` is refused; ``T`` as a unit is a transfer (``16 GT/s``); FLOP and OP are one dimension, an
operation; a MAC is not converted to operations; a bit is 1/8 B.  A year is 365.25 days.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from .errors import UnitError, nearest

_LARGE = {"k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SMALL = {"m": -3, "u": -6, "n": -9, "p": -12, "f": -15}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}

PREFIXES: dict[str, Fraction] = {
    **{name: Fraction(10) ** power for name, power in (_LARGE | _SMALL).items()},
    **{name: Fraction(2) ** power for name, power in _BINARY.items()},
}


@dataclass(frozen=True)
class _Atom:
    """A named unit: its size in coherent units, its dimension, and the prefixes that it takes."""

    factor: Fraction
    dims: tuple[tuple[str, int], ...]
    prefixes: tuple[str, ...] = ()


def _atom(size: int | str, prefixes: Any = (), **dims: int) -> _Atom:
    return _Atom(Fraction(size), tuple(sorted(dims.items())), tuple(prefixes))


_BOTH = (*_LARGE, *_SMALL)
_DAY = 86400
ATOMS: dict[str, _Atom] = {
    "1": _atom(1),
    "%": _atom("1/100"),
    "count": _atom(1),
    "B": _atom(1, (*_LARGE, *_BINARY), byte=1),
    "bit": _atom("1/8", (*_LARGE, *_BINARY), byte=1),
    "s": _atom(1, _SMALL, second=1),
    "min": _atom(60, second=1),
    "h": _atom(3600, second=1),
    "day": _atom(_DAY, second=1),
    "year": _atom(_DAY * 1461 // 4, second=1),
    "Hz": _atom(1, ("k", "M", "G", "T", "m"), second=-1),
    "FLOP": _atom(1, _LARGE, operation=1),
    "OP": _atom(1, _LARGE, operation=1),
    "MAC": _atom(1, _LARGE, mac=1),
    "J": _atom(1, _BOTH, joule=1),
    "Wh": _atom(3600, (*_LARGE, "m"), joule=1),
    "W": _atom(1, _BOTH, joule=1, second=-1),
    "m": _atom(1, ("k", "c", *_SMALL), metre=1),
    "V": _atom(1, ("k", "m", "u"), volt=1),
    "K": _atom(1, ("m",), kelvin=1),
    "degC": _atom(1, kelvin=1),
    "USD": _atom(1, ("k", "M", "G", "m", "u", "n"), dollar=1),
    "gCO2e": _atom("1/1000", (*_LARGE, "m", "u"), carbon=1),
    "T": _atom(1, _LARGE, transfer=1),
    "token": _atom(1, _LARGE, token=1),
    "request": _atom(1, _LARGE, request=1),
    "frame": _atom(1, _LARGE, frame=1),
    "event": _atom(1, _LARGE, event=1),
    "cycle": _atom(1, _LARGE, cycle=1),
    "lane": _atom(1, lane=1),
}
PREFIXES["c"] = Fraction(1, 100)  # centimetre only, see the table

#: What to write instead of a spelling that is refused.
_HINTS = {"b": "bit or B", "bps": "bit/s", "Bps": "B/s", "byte": "B", "bytes": "B", "bits": "bit", "hz": "Hz"}
_HINTS |= dict.fromkeys(("FLOPS", "flops", "Flops", "FLOP/S"), "FLOP/s") | {"FLOPs": "FLOP"}
_HINTS |= dict.fromkeys(("OPS", "ops"), "OP/s") | {"OPs": "OP", "tokens": "token", "cycles": "cycle"}
_HINTS |= dict.fromkeys(("sec", "second", "seconds"), "s") | dict.fromkeys(("hr", "hour", "hours"), "h")
_HINTS |= {"minutes": "min", "days": "day", "years": "year", "transfers": "T", "$": "USD", "usd": "USD"}
_HINTS |= {"C": "degC", "°C": "degC", "percent": "%", "watt": "W", "watts": "W"}
_COHERENT = {
    atom.dims[0][0]: name for name, atom in ATOMS.items() if atom.factor == 1 and len(atom.dims) == 1
}
_COHERENT |= {"second": "s", "operation": "FLOP", "kelvin": "K", "carbon": "kgCO2e"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_OCTAL = re.compile(r"[+-]?0[0-9]")
_TERM = re.compile(r"(?P<name>%|1|[A-Za-zµμ°$][A-Za-zµμ°$]*?(?:CO2e)?)(?:\^?(?P<power>[1-9]))?\Z")


@dataclass(frozen=True)
class Unit:
    """A parsed unit expression: ``value_in_SI = value * factor + offset``."""

    text: str
    factor: Fraction
    dims: tuple[tuple[str, int], ...]
    offset: Fraction = Fraction(0)


@lru_cache(maxsize=4096)
def unit(text: str) -> Unit:
    """Read a unit expression: names joined by ``/`` and ``*``, powers as ``mm2``.

    ``a/b/c`` is a/(b c).  Raises UnitError with the nearest known unit.
    """
    pieces = re.split(r"([*/])", text.strip())
    factor, dims = Fraction(1), dict[str, int]()
    sign = 1
    for piece in pieces:
        if piece in ("*", "/"):
            sign = -1 if piece == "/" else 1
            continue
        size, parts = _term(piece.strip(), text)
        factor *= size**sign
        for name, power in parts.items():
            dims[name] = dims.get(name, 0) + sign * power
    kept = tuple(sorted((name, power) for name, power in dims.items() if power))
    return Unit(text, factor, kept, Fraction("273.15") if text.strip() == "degC" else Fraction(0))


def _term(piece: str, text: str) -> tuple[Fraction, dict[str, int]]:
    match = _TERM.match(piece)
    if not match:
        raise UnitError(
            f"cannot read the unit {text!r}", "units joined by / or *, such as TB/s, pJ/bit, 1/cm2"
        )
    power = int(match["power"] or 1)
    prefix, atom = _split(match["name"], text)
    size = (PREFIXES[prefix] if prefix else Fraction(1)) * atom.factor
    return size**power, {name: exponent * power for name, exponent in atom.dims}


def _split(name: str, text: str) -> tuple[str, _Atom]:
    """Split a unit name in prefix and atom; a whole name wins over a prefixed one (``min``, ``T``)."""
    plain = name.replace("µ", "u").replace("μ", "u")
    if plain in ATOMS:
        return "", ATOMS[plain]
    for cut in (2, 1):
        prefix, rest = plain[:cut], plain[cut:]
        if rest in ATOMS and prefix in ATOMS[rest].prefixes:
            return prefix, ATOMS[rest]
    raise _unknown(name, text)


def _unknown(name: str, text: str) -> UnitError:
    for cut in (0, 1, 2):
        prefix, rest = name[:cut], name[cut:]
        if rest in _HINTS and (cut == 0 or prefix in PREFIXES):
            options = [prefix + option for option in _HINTS[rest].split(" or ")]
            write = " or ".join(text.replace(name, option) for option in options)
            return UnitError(f"unknown unit {text!r}: write {write}", nearest=text.replace(name, options[0]))
    if name == "Kb":
        return UnitError(f"unknown unit {text!r}: write kbit or kB", nearest=text.replace(name, "kbit"))
    if name[:1] == "K" and name[1:] in ATOMS:
        write = f"k{name[1:]} (1000) or Ki{name[1:]} (1024)"
        return UnitError(f"unknown unit {text!r}: write {write}", nearest=text.replace(name, "k" + name[1:]))
    known = [prefix + atom for atom, entry in ATOMS.items() for prefix in ("", *entry.prefixes)]
    close = nearest(name, known)
    listed = "" if close else ", ".join(ATOMS)
    return UnitError(f"unknown unit {text!r}", listed, text.replace(name, close) if close else None)


def number(text: str) -> float:
    """Read a plain decimal such as ``1e6``; ``010``, ``0x10``, ``1_000``, ``nan`` and ``inf`` are refused."""
    return _number_and_unit(text, "1", alone=True)[0]


def parse(text: object, wanted: str) -> float:
    """SI value of a quantity such as ``3.35 TB/s`` where something in unit `wanted` is expected.

    For ``wanted="1"`` a plain number or a percentage; for ``wanted="count"`` a plain whole number.
    Raises UnitError naming what is allowed.
    """
    if not isinstance(text, str):
        return _bare(text, wanted)
    if wanted in ("1", "count"):
        return _dimensionless(text, wanted)
    value, given = _number_and_unit(text, wanted)
    if given.startswith("/"):  # "0.1/cm2"
        given = "1" + given
    if given == "":
        raise UnitError(f"{text.strip()!r} has no unit", examples(wanted), f"{text.strip()} {wanted}")
    have, want = unit(given), unit(wanted)
    if have.dims != want.dims:
        raise _mismatch(text, given, wanted)
    return _exact(text, have) if value else float(have.offset)


def _bare(value: object, wanted: str) -> float:
    """A number that is already a float is taken only where no unit is needed."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnitError(f"{value!r} is not a quantity", examples(wanted))
    return parse(repr(value), wanted)


def _dimensionless(text: str, wanted: str) -> float:
    value, given = _number_and_unit(text, wanted)
    if given == "%" and wanted == "1":
        return _exact(text, unit("%")) if value else 0.0
    if given:
        raise UnitError(f"{text.strip()!r} has a unit where a plain number is wanted", examples(wanted))
    if wanted == "count" and (value != math.floor(value) or value <= 0):
        raise UnitError(f"{text.strip()!r} is not a whole number above 0", examples(wanted))
    return value


def _number_and_unit(text: str, wanted: str, alone: bool = False) -> tuple[float, str]:
    stripped = text.strip()
    match = _NUMBER.match(stripped)
    allowed = "a plain number such as 12, 0.5 or 1e6" if alone else examples(wanted)
    if not match:
        word = stripped.lower().lstrip("+-.")
        why = "is not finite" if word in ("nan", "inf", "infinity") else "is not a number"
        raise UnitError(f"{stripped!r} {why}", allowed)
    if _OCTAL.match(stripped):
        decimal = stripped.lstrip("+-").lstrip("0") or "0"
        raise UnitError(
            f"{stripped!r} is ambiguous (octal or decimal?)", "numbers without leading zeros", decimal
        )
    rest = stripped[match.end() :]
    if rest[:1] in ("_", ",", ":", ".") or (alone and rest) or re.match(r"[xo][0-9a-fA-F]", rest):
        close = stripped.replace("_", "").replace(",", "") if rest[:1] in ("_", ",") else None
        raise UnitError(f"{stripped!r} is not a plain number", allowed, close)
    value = float(match[0])
    if math.isinf(value):
        raise UnitError(f"{stripped!r} is not finite", allowed)
    return value, rest.strip()


def _exact(text: str, have: Unit) -> float:
    """Number times factor in exact fractions, rounded once."""
    match = _NUMBER.match(text.strip())
    digits = match[0] if match else "0"
    try:
        return float(Fraction(digits) * have.factor + have.offset)
    except OverflowError:
        raise UnitError(f"{text.strip()!r} is too large for a float") from None


def _mismatch(text: str, given: str, wanted: str) -> UnitError:
    close = None
    for divisor in re.findall(r"/([^*/]+)", wanted):
        if unit(f"{given}/{divisor}").dims == unit(wanted).dims:
            close = f"{given}/{divisor}"
    what = "a rate" if wanted.endswith("/s") else f"a quantity in {wanted}"
    message = f"{text.strip()!r} is in {given} where {what} is wanted"
    if close:
        message += f": write {close}"
    return UnitError(message, examples(wanted), close)


_USUAL = {
    "B": "GiB",
    "B/s": "GB/s",
    "FLOP/s": "TFLOP/s",
    "OP/s": "TOP/s",
    "s": "us",
    "Hz": "GHz",
    "m2": "mm2",
}
_USUAL |= {"m": "mm", "T/s": "GT/s", "J": "pJ"} | {
    f"J/{x}": f"pJ/{x}" for x in ("B", "bit", "FLOP", "OP", "MAC")
}


def _usual(wanted: str) -> str:
    return _USUAL.get(wanted, wanted)


def examples(wanted: str) -> str:
    """What may be written for a quantity in unit `wanted`, for messages and documentation."""
    if wanted == "count":
        return "a whole number above 0, such as 8"
    if wanted == "1":
        return "a plain number such as 0.85 or a percentage such as 85 %"
    usual = _usual(wanted)
    return f"a number with a unit of {wanted}" + (f", such as 1.5 {usual}" if usual != wanted else "")


def convert(value: Any, source: str, target: str) -> Any:
    """Convert a number or array from unit `source` to unit `target` (same dimension)."""
    have, want = unit(source), unit(target)
    if have.dims != want.dims:
        raise UnitError(f"cannot convert {source} to {target}")
    if have.offset or want.offset:
        return (value * float(have.factor) + float(have.offset - want.offset)) / float(want.factor)
    ratio = have.factor / want.factor
    if ratio.denominator == 1 or ratio.numerator != 1:
        return value * float(ratio)
    return value / float(1 / ratio)


def format_si(value: float, wanted: str, digits: int | None = 4, binary: bool = False) -> str:
    """Text for people: SI `value` in unit `wanted` with a fitting prefix, ``3.35 TB/s``.

    digits: significant digits; None writes all digits, so that :func:`parse` returns `value` to the last bit.
    binary: use Ki, Mi, ... for bytes and bits.
    """
    value = float(value)
    if wanted in ("1", "count") or not math.isfinite(value):
        return _digits(value, digits)
    chosen = _with_prefix(wanted, value, binary)
    if digits is None:
        return _exact_text(value, wanted, chosen)
    shown = _digits(_scaled(value, chosen), digits)
    if abs(float(shown)) >= 1000 and not binary:  # 999.96 kB rounds to 1000 kB: step up to 1 MB
        chosen = _with_prefix(wanted, value * (1 + 10.0 ** (1 - digits)), binary)
        shown = _digits(_scaled(value, chosen), digits)
    return f"{shown} {chosen}"


def _scaled(value: float, text: str) -> float:
    have = unit(text)
    return float((Fraction(value) - have.offset) / have.factor)


def _with_prefix(wanted: str, value: float, binary: bool) -> str:
    """Put the prefix on the first name of `wanted` that leaves 1 <= number < 1000 where one exists."""
    head, slash, tail = wanted.partition("/")
    match = _TERM.match(head)
    if not match or match["name"] not in ATOMS or "*" in head:
        return wanted
    atom = ATOMS[match["name"]]
    binary = binary and "Ki" in atom.prefixes
    names = [prefix for prefix in atom.prefixes if (prefix in _BINARY) == binary and prefix != "c"]
    if head == "USD":  # nobody counts money in thousandths
        names = [prefix for prefix in names if PREFIXES[prefix] > 1]
    options = sorted(["", *names], key=lambda prefix: PREFIXES.get(prefix, Fraction(1)))
    best = options[0] if value else ""
    for prefix in options:
        if value and abs(_scaled(value, f"{prefix}{head}{slash}{tail}")) >= 1:
            best = prefix
    return f"{best}{head}{slash}{tail}"


def _digits(value: float, digits: int | None) -> str:
    if not math.isfinite(value):
        return repr(value)
    if digits is None:
        return str(int(value)) if value == math.floor(value) and abs(value) < 1e15 else repr(value)
    text = f"{value:.{digits}g}"
    if "e" in text and 1e-4 <= abs(value) < 1e7:
        return f"{float(text):.0f}"
    return text


def _exact_text(value: float, wanted: str, chosen: str) -> str:
    """Shortest text that reads back to the same float, in the fitting unit or else in the coherent one."""
    have = unit(chosen)
    quotient = (Fraction(repr(value)) - have.offset) / have.factor
    for precision in (6, 12, 15, 17, 20, 25):
        text = f"{_plain(quotient, precision)} {chosen}"
        if parse(text, wanted) == value:
            return text
    return f"{value!r} {_coherent(have)}"


def _coherent(have: Unit) -> str:
    """The same dimension in units without prefix and factor."""
    up: list[str] = []
    down: list[str] = []
    for name, power in have.dims:
        term = _COHERENT[name] + (str(abs(power)) if abs(power) > 1 else "")
        (up if power > 0 else down).append(term)
    return "/".join(["*".join(up) or "1", *down])


def _plain(value: Fraction, precision: int) -> str:
    import decimal

    context = decimal.Context(prec=precision)
    quotient = context.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(context)
    text = f"{quotient:f}"
    return text if len(text) <= precision + 6 else f"{quotient:e}"
