# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What was measured while one thing grew."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.measure import Measurement


@dataclass(frozen=True)
class Row:
    """One measurement of a series.

    Args:
        series: What grows, such as 'image'.
        line: What is measured, such as 'inference'.
        label: The value in words, such as '256 px'.
        amount: The value that times are compared with: tokens, parameters or
            cores.
        samples: Of a call.
        flops: Of a call, in the process that measured it.
        seconds: Time of each call.
        matmul: Throughput in FLOP/s of matrix multiplications around it.
        memory: Peak above the start in bytes, None where it is unknown.
    """

    series: str
    line: str
    label: str
    amount: float
    samples: int
    flops: int
    seconds: list[float]
    matmul: list[float]
    memory: int | None

    @classmethod
    def of(
        cls,
        result: Measurement,
        series: str,
        line: str,
        label: str,
        amount: float,
    ) -> 'Row':
        """Returns the row of a measurement."""
        return cls(
            *(series, line, label, amount),
            samples=result.case.images,
            flops=result.flops,
            seconds=result.seconds,
            matmul=result.matmul,
            memory=result.memory,
        )

    @property
    def slowness(self) -> float:
        """Times as long as matrix multiplications of as many FLOPs; at the
        same moments, so that what else runs on the machine cancels out.
        """
        return statistics.median(
            seconds * matmul / self.flops
            for seconds, matmul in zip(self.seconds, self.matmul)
        )

    @property
    def median(self) -> float:
        """Median seconds of a sample, as they were."""
        return statistics.median(self.seconds) / self.samples

    def even_seconds(self, rate: float) -> float:
        """Returns the seconds of a sample, had matrix multiplication run at
        `rate` FLOP/s.
        """
        return self.slowness * self.flops / rate / self.samples


def matmul_rate(rows: Iterable[Row]) -> float:
    """Returns the median throughput of matrix multiplication in FLOP/s."""
    return statistics.median(x for row in rows for x in row.matmul)


def lines(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    """Groups rows by series and line, each by rising amount."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.series, row.line), []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: row.amount)
    return groups


def exponent(amounts: Sequence[float], values: Sequence[float]) -> float:
    """Returns k of the power law `values ~ amounts ** k`: the slope of a
    line through the logarithms, by least squares; nan for one amount.
    """
    if len(set(amounts)) < 2:
        return math.nan
    slope, _ = statistics.linear_regression(
        [math.log(x) for x in amounts], [math.log(y) for y in values]
    )
    return slope
