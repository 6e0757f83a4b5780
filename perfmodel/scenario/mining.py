"""Return on proof-of-work mining hardware: coins, energy cost, profit, and the day that it has paid off.

Reference
[1] Wickramasinghe, Das, Herremans, Smart Timing for Mining, arXiv:2512.05402 (label of its data set), with
    the difficulty rule of Nakamoto, Bitcoin, 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from perfmodel.algebra import Value
from perfmodel.errors import ArgumentError

SECONDS_PER_DAY = 86400.0
BLOCKS_PER_DAY = 144.0
#: hashes that one unit of difficulty stands for
HASHES = 2.0**32


def coins_per_day(hashrate: Value, difficulty: Value, reward: Value, fees: Value = 0.0) -> Value:
    """Coins mined per day [1]: ``H 86400/(difficulty 2^32) (reward + fees/144)``.

    hashrate [1/s]; reward per block; fees of all blocks of the day
    """
    return hashrate * SECONDS_PER_DAY / (difficulty * HASHES) * (reward + fees / BLOCKS_PER_DAY)


def daily_profit(coins: Value, price: Value, power: Value, tariff: Value) -> Value:
    """Profit of a day [USD] [1]: coins x price - energy; price [USD/coin], power [W], tariff [USD/kWh]."""
    return coins * price - power * 24.0 / 1000.0 * tariff


def return_on_investment(profits: Any, machine: float) -> float:
    """Profit of all days over the price of the machine [1]; profits [USD] one per day."""
    days = _days(profits)
    return float(np.sum(days) / machine)


def break_even_day(profits: Any, machine: float) -> int:
    """First day on which the profits so far cover the machine; the number of days if none does [1]."""
    days = _days(profits)
    reached = np.flatnonzero(np.cumsum(days) >= machine)
    return int(reached[0]) + 1 if len(reached) else len(days)


def _days(profits: Any) -> Any:
    days = np.asarray(profits, dtype=np.float64)
    if days.ndim != 1 or not len(days) or not np.all(np.isfinite(days)):
        raise ArgumentError("profits", f"shape {days.shape}", "one finite number per day")
    return days
