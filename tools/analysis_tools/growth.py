# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Measures how cost grows: `python tools/analysis_tools/growth.py ...`.

Time, FLOPs and peak memory of training steps and inference over image size,
text length, model size and the number of processes, beside what FLOPs demand.
Prints Markdown tables; writes them as JSON, and draws a plot.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine')
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from benchmarks import growth_report, series
from benchmarks.arguments import positive
from benchmarks.measure import CLOCKS, Setting
from benchmarks.report import machine
from benchmarks.rows import Row
from benchmarks.workload import Workload
from mmengine.device import get_device

from beit3_mm.engine import cli

ARCHS = Path(__file__).parents[2] / 'configs/_base_/archs.py'
SERIES = ('image', 'text', 'model', 'processes')


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description='Measure how time and memory grow, of an encoder that '
        'answers questions about images, with random weights and inputs.'
    )
    parser.add_argument(
        '--grow',
        nargs='+',
        choices=SERIES,
        default=list(SERIES),
        metavar='NAME',
        help=f'what grows: {", ".join(SERIES)} (all)',
    )
    _add_series(parser)
    _add_workload(parser)
    parser.add_argument(
        '--dtype',
        choices=['float32', 'bfloat16'],
        default='float32',
        help='bfloat16 is autocast, as with --amp',
    )
    parser.add_argument(
        '--threads',
        type=positive,
        metavar='N',
        help='of the CPU, but for --grow processes (all cores); on a machine '
        'that does other things too, 1 waits for no other thread',
    )
    parser.add_argument(
        '--clock',
        choices=CLOCKS,
        default='wall',
        help='cpu: time of the processor, where it does other things too; '
        'that processes wait for each other does not show',
    )
    parser.add_argument(
        '--device', help='such as cpu or cuda:0; processes are on the CPU'
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/growth'),
        help='folder of results (%(default)s)',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of an error'
    )
    return parser.parse_args()


def _add_series(parser: argparse.ArgumentParser) -> None:
    """Adds the values through which each thing grows."""
    for option, values, words in (
        ('image-sizes', [128, 224, 384, 512], 'pixels of an image'),
        ('text-lengths', [16, 64, 256], 'tokens of a text'),
        ('processes', [1, 2], 'processes, and threads of one process'),
    ):
        parser.add_argument(
            f'--{option}',
            nargs='+',
            type=positive,
            default=values,
            metavar='N',
            help=f'{words} ({" ".join(map(str, values))})',
        )
    parser.add_argument(
        '--archs',
        nargs='+',
        default=['tiny', 'base', 'large'],
        metavar='NAME',
        help='models (tiny base large)',
    )


def _add_workload(parser: argparse.ArgumentParser) -> None:
    """Adds what does not grow."""
    parser.add_argument(
        '--arch', default='base', help='model where it stays (%(default)s)'
    )
    for option, value, words in (
        ('image-size', 224, 'pixels of an image where it stays'),
        ('text-length', 16, 'tokens of a text where it stays'),
        ('batch-size', 2, 'samples of a step, of all processes together'),
        ('repeats', 3, 'calls that are timed'),
    ):
        parser.add_argument(
            f'--{option}',
            type=positive,
            default=value,
            metavar='N',
            help=f'{words} (%(default)s)',
        )
    parser.add_argument(
        '--archs-file',
        type=Path,
        default=ARCHS,
        help='config whose `archs` are the models (configs/_base_/archs.py)',
    )


def read_archs(path: Path, names: list[str]) -> dict[str, dict]:
    """Returns the arguments of models by name.

    Raises:
        ValueError: If the file has none of a name.
    """
    archs = cli.read_config(path, {}).get('archs', {})
    for name in names:
        if name not in archs:
            raise ValueError(
                f'{path} has no arch {name!r}; there are {sorted(archs)}'
            )
    return {name: archs[name].to_dict() for name in names}


def run(args: argparse.Namespace, setting: Setting) -> Iterator[list[Row]]:
    """Yields what was asked for as it is measured, with progress on stderr.

    Raises:
        ValueError: If there is no arch of a name, or processes cannot share
            the batch.
    """
    for count in args.processes if 'processes' in args.grow else ():
        if args.batch_size % count:
            raise ValueError(
                f'--batch-size {args.batch_size} does not divide by {count} '
                'processes'
            )
    archs = read_archs(args.archs_file, [*args.archs, args.arch])
    workload = Workload(
        archs[args.arch], args.image_size, args.text_length, args.batch_size
    )
    points = series.points(
        workload,
        args.image_sizes,
        args.text_lengths,
        {name: archs[name] for name in args.archs},
    )
    if set(args.grow) != {'processes'}:  # which have the same start each
        workload.warm_up(setting)
    for point in points:
        if point.series in args.grow:
            yield series.measure_point(point, setting, args.repeats)
    if 'processes' in args.grow:
        yield series.measure_cores(
            workload, args.processes, setting, args.repeats
        )


def main() -> None:
    """Measures; wrong input ends with one message."""
    args = parse_args()
    path = args.work_dir / f'{datetime.now():%Y%m%d_%H%M%S}.json'
    rows: list[Row] = []
    with cli.plain_errors(args.debug, Exception):
        setting = Setting(
            torch.device(args.device or get_device()),
            getattr(torch, args.dtype),
            args.clock,
        )
        if args.threads:
            torch.set_num_threads(args.threads)
        for measured in run(args, setting):
            rows += measured
            growth_report.write(path, setting, rows)
        growth_report.plot(rows, path.with_suffix('.png'))
    for table in (
        growth_report.measurements(rows),
        growth_report.growth(rows),
        growth_report.efficiency(rows),
    ):
        if table:
            print(table, end='\n\n')
    print(', '.join(f'{k} {v}' for k, v in machine(setting).items()))
    print(f'plot: {path.with_suffix(".png")}')
    print(f'results: {path}')


if __name__ == '__main__':
    main()
