# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What grows: image, text, model, or the number of processes."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.measure import Setting, measure
from benchmarks.processes import measure_processes
from benchmarks.rows import Row
from benchmarks.workload import Workload

PROCESSES, THREADS = 'processes', 'threads of a process'


@dataclass(frozen=True)
class Point:
    """One value of a series.

    Args:
        series: What grows.
        label: The value in words.
        amount: What times are compared with.
        workload: The value's.
    """

    series: str
    label: str
    amount: float
    workload: Workload


def points(
    workload: Workload,
    image_sizes: Sequence[int],
    text_lengths: Sequence[int],
    archs: dict[str, dict],
) -> Iterator[Point]:
    """Yields the values of all series, in each of which one thing grows.

    Args:
        workload: What it is otherwise.
        image_sizes: Heights and widths of images.
        text_lengths: Tokens of texts.
        archs: Arguments of models, by name.
    """
    for size in image_sizes:
        grown = replace(workload, image_size=size)
        yield Point('image', f'{size} px', grown.tokens, grown)
    for length in text_lengths:
        grown = replace(workload, text_length=length)
        yield Point('text', f'{length} words', grown.tokens, grown)
    for name, arch in archs.items():
        grown = replace(workload, arch=arch)
        yield Point('model', name, grown.parameters(), grown)


def measure_point(point: Point, setting: Setting, repeats: int) -> list[Row]:
    """Measures a training step and inference, one after the other, so that
    only one model is there at a time.
    """
    rows = []
    for case in (
        point.workload.training(setting),
        point.workload.inference(setting),
    ):
        print(f'{point.series}, {point.label}: {case.name}', file=sys.stderr)
        (result,) = measure([case], setting, repeats)
        names = (point.series, case.name, point.label, point.amount)
        rows.append(Row.of(result, *names))
    return rows


def measure_cores(
    workload: Workload, counts: Sequence[int], setting: Setting, repeats: int
) -> list[Row]:
    """Measures training steps of the same batch on one core, and on several:
    by threads of one process, and by processes of one thread.

    Args:
        workload: Its batch is shared out by processes.
        counts: Numbers of cores.
        setting: Precision and clock.
        repeats: Number of timed steps.
    """
    rows = []
    for cores in sorted({1, *counts}):
        for line in (PROCESSES, THREADS):
            if cores == 1 and rows:  # the same thing
                rows.append(replace(rows[0], line=line))
                continue
            label = f'{cores} {line}' if cores > 1 else 'one core'
            print(label, file=sys.stderr)
            numbers = (cores, 1) if line == PROCESSES else (1, cores)
            row = measure_processes(workload, *numbers, setting, repeats)
            rows.append(replace(row, line=line, label=label, amount=cores))
    return rows
