# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Series of measurements as Markdown tables, as JSON and as a plot."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from benchmarks.measure import Setting
from benchmarks.report import machine, markdown
from benchmarks.rows import Row, exponent, lines, matmul_rate

AMOUNTS = {
    'image': 'tokens of a sample',
    'text': 'tokens of a sample',
    'model': 'parameters',
    'processes': 'cores',
}
TOLERANCE = 0.15  # of times on a machine that does other things too
COLOURS = ('tab:blue', 'tab:orange')


def measurements(rows: Sequence[Row]) -> str:
    """Returns a Markdown table with a row for each measurement."""
    header = (
        *('grows', 'to', 'case', 's/sample', 'GFLOP/sample'),
        *('time / matmul', 'peak memory, MB'),
    )
    cells = [
        (
            *(row.series, row.label, row.line),
            f'{row.median:.4g}',
            f'{_flops(row) / 1e9:.4g}',
            f'{row.slowness:.2f}',
            '-' if row.memory is None else f'{row.memory / 1e6:.0f}',
        )
        for group in lines(rows).values()
        for row in group
        if row.series != 'processes'
    ]
    return markdown(header, cells) if cells else ''


def growth(rows: Sequence[Row]) -> str:
    """Returns a Markdown table with a row for each line of a series: the
    exponents of its growth, and where that is worse than it has to be.
    """
    header = (
        *('grows', 'case', 'from', 'to', 'time', 'FLOPs', 'memory'),
        *('time per FLOP, last / first', 'worse than it has to be'),
    )
    cells = []
    for (series, line), group in lines(rows).items():
        if series == 'processes' or len(group) < 2:
            continue
        time, flops = (
            f'{_exponent(group, value):.2f}' for value in (_time, _flops)
        )
        memory = _memory_exponent(group)
        shown = '-' if memory is None else f'{memory:.2f}'
        cells.append(
            (
                *(series, line, group[0].label, group[-1].label),
                *(time, flops, shown, f'{_decline(group):.2f}'),
                _verdict(group),
            )
        )
    return markdown(header, cells) if cells else ''


def efficiency(rows: Sequence[Row]) -> str:
    """Returns a Markdown table of what several cores bring: t1 / (n tn) of
    the same batch, '' without such a series.
    """
    header = ('training step', 's/sample', 'efficiency', 'time / matmul')
    cells = {}
    for (series, _), group in lines(rows).items():
        for row in group if series == 'processes' else ():
            share = group[0].median / (row.amount * row.median)
            cells[row.label] = (
                *(row.label, f'{row.median:.4g}', f'{share:.0%}'),
                f'{row.slowness:.2f}',
            )  # one core is in both lines
    return markdown(header, list(cells.values())) if cells else ''


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draws time and memory of each series, log-log, beside what FLOPs
    demand.

    Args:
        rows: The measurements.
        path: The picture.
    """
    groups = lines(rows)
    series = list(dict.fromkeys(name for name, _ in groups))
    figure, axes = plt.subplots(
        *(2, len(series)),
        figsize=(4.2 * len(series), 7),
        layout='constrained',
        squeeze=False,
    )
    rate = matmul_rate(rows)
    for column, name in zip(axes.T, series):
        parts = [(x[1], group) for x, group in groups.items() if x[0] == name]
        for colour, (line, group) in zip(COLOURS, parts):
            _draw_times(column[0], line, group, rate, colour)
            _draw_memory(column[1], line, group, colour)
        column[0].set_title(f'{name} grows')
        column[0].set_ylabel('seconds of a sample')
        column[1].set_ylabel('peak memory, MB')
        for axis in column:
            _finish(axis, AMOUNTS[name], parts[0][1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write(path: Path, setting: Setting, rows: Sequence[Row]) -> None:
    """Writes everything that was measured as JSON."""
    content = {
        'clock': setting.clock,
        'dtype': str(setting.dtype).removeprefix('torch.'),
        'machine': machine(setting),
        'rows': [
            asdict(row)
            | {'median_seconds_per_sample': row.median}
            | {'time_to_matmul': row.slowness}
            for row in rows
        ],
        'exponents': [
            {
                'series': series,
                'line': line,
                'time': _exponent(group, _time),
                'flops': _exponent(group, _flops),
                'memory': _memory_exponent(group),
                'time_per_flop_last_to_first': _decline(group),
            }
            for (series, line), group in lines(rows).items()
            if series != 'processes' and len(group) > 1
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def _time(row: Row) -> float:
    return row.slowness * row.flops / row.samples


def _flops(row: Row) -> float:
    return row.flops / row.samples


def _exponent(group: Sequence[Row], value: Callable[[Row], float]) -> float:
    return exponent([x.amount for x in group], [value(x) for x in group])


def _memory_exponent(group: Sequence[Row]) -> float | None:
    """Returns None where memory is not known of every row."""
    if any(row.memory is None for row in group):
        return None
    # a peak of nothing above the start has no logarithm
    return _exponent(group, lambda row: max(row.memory, 1))


def _decline(group: Sequence[Row]) -> float:
    return group[-1].slowness / group[0].slowness


def _verdict(group: Sequence[Row]) -> str:
    found = []
    if _decline(group) > 1 + TOLERANCE:
        found.append('time')
    memory = _memory_exponent(group)
    if memory is not None and memory > 1 + TOLERANCE:
        found.append('memory')
    return ', '.join(found) or 'no'


def _draw_times(
    axis: Axes, line: str, group: Sequence[Row], rate: float, colour: str
) -> None:
    """Draws the times, and dashed what they were if the first one's FLOPs
    took as long as all others.
    """
    amounts = [row.amount for row in group]
    if group[0].series == 'processes':  # matmul knows nothing of cores
        times = [row.median for row in group]
        ideal = [times[0] / amount for amount in amounts]
        label, dashed = line, 'a core more, as much faster'
    else:
        times = [row.even_seconds(rate) for row in group]
        ideal = [times[0] * _flops(row) / _flops(group[0]) for row in group]
        label = f'{line}: exponent {_exponent(group, _time):.2f}'
        dashed = f'as FLOPs grow: {_exponent(group, _flops):.2f}'
    axis.plot(amounts, ideal, '--', color=colour, label=dashed)
    axis.plot(amounts, times, 'o-', color=colour, label=label)


def _draw_memory(
    axis: Axes, line: str, group: Sequence[Row], colour: str
) -> None:
    known = [row for row in group if row.memory is not None]
    growth_of_memory = _memory_exponent(group)
    label = line
    if group[0].series == 'processes':
        label += ', of one' * (line == 'processes')
    elif growth_of_memory is not None:
        label += f': exponent {growth_of_memory:.2f}'
    amounts = [row.amount for row in known]
    sizes = [row.memory / 1e6 for row in known]
    axis.plot(amounts, sizes, 'o-', color=colour, label=label)


def _finish(axis: Axes, unit: str, group: Sequence[Row]) -> None:
    axis.set_xscale('log')
    axis.set_yscale('log')
    axis.minorticks_off()
    ticks = {row.amount: row.label for row in group}
    if unit == 'cores':
        ticks = {amount: str(amount) for amount in ticks}
    axis.set_xticks(list(ticks), list(ticks.values()))
    axis.set_xlabel(f'{unit} (log)' if unit != 'cores' else unit)
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter('{x:g}')
    axis.grid(alpha=0.3)
    axis.legend(fontsize='small')
