# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Measures a config: `python tools/analysis_tools/benchmark.py CONFIG ...`.

Speed, peak memory and FLOPs of data loading, training and inference of a
model, and of different ways to compute the same (`--compare`). Prints rows
of a Markdown table and writes them as JSON.
"""

import argparse
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv', 'mmdet')
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from benchmarks import report
from benchmarks.arguments import positive
from benchmarks.comparisons import COMPARISONS
from benchmarks.measure import Measurement, Setting, measure
from benchmarks.subjects import SUBJECTS, Source
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from beit3_mm.engine import cli


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description='Measure speed, peak memory and FLOPs.',
        epilog='comparisons:\n' + _describe(COMPARISONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--what',
        nargs='+',
        choices=SUBJECTS,
        metavar='NAME',
        help=f'what to measure of the model: {", ".join(SUBJECTS)} (all, '
        'unless there is --compare)',
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        choices=COMPARISONS,
        default=[],
        metavar='NAME',
        help='ways to compute the same, whose outputs are compared first: '
        f'{", ".join(COMPARISONS)}; see below',
    )
    parser.add_argument(
        '--dtype',
        choices=['float32', 'bfloat16'],
        default='float32',
        help='bfloat16 is autocast, as with --amp',
    )
    parser.add_argument('--device', help='such as cpu or cuda:0')
    parser.add_argument(
        '--repeats',
        type=positive,
        default=10,
        help='calls that are timed (%(default)s)',
    )
    parser.add_argument(
        '--batch-size', type=positive, help="images of a batch (the config's)"
    )
    parser.add_argument(
        '--work-dir', help='folder of results (work_dirs/benchmark/<config>)'
    )
    cli.add_config_arguments(parser)
    parser.set_defaults(launcher='none')  # for cli.load_config
    args = parser.parse_args()
    if args.what is None:
        args.what = [] if args.compare else list(SUBJECTS)
    return args


def _describe(functions: dict) -> str:
    """Lists functions by name with the first sentence of each."""
    lines = []
    for name, function in functions.items():
        sentence = ' '.join(function.__doc__.split('\n\n')[0].split())
        lines.append(f'  {name:16}{sentence}')
    return '\n'.join(lines)


def run(
    args: argparse.Namespace, cfg: Config, setting: Setting
) -> list[Measurement]:
    """Measures everything that was asked for, with progress on stderr."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        source = Source(cfg, args.batch_size, Path(folder))
        for name in args.what:
            print(f'{name}: building', file=sys.stderr)
            case = SUBJECTS[name](source, setting)
            print(f'{name}: {case.inputs}', file=sys.stderr)
            results += measure([case], setting, args.repeats)
    for name in args.compare:
        comparison = COMPARISONS[name](cfg, setting)
        print(f'{name}: {comparison.note}', file=sys.stderr)
        results += measure(
            comparison.cases, setting, args.repeats, comparison.tolerance
        )
    return results


def main() -> None:
    """Measures; wrong input ends with one message."""
    args = parse_args()
    with cli.plain_errors(args.debug, Exception):
        cfg = cli.load_config(args)
        init_default_scope(cfg.get('default_scope', 'mmengine'))
        setting = Setting(
            torch.device(args.device or get_device()),
            getattr(torch, args.dtype),
        )
        results = run(args, cfg, setting)
    name = Path(args.config).stem
    folder = Path(args.work_dir or Path('work_dirs', 'benchmark', name))
    path = folder / f'{datetime.now():%Y%m%d_%H%M%S}.json'
    report.write(path, name, setting, results)
    print(report.table(name, setting, results))
    print(f'\n{report.caption(setting, results)}')
    print(f'results: {path}')


if __name__ == '__main__':
    main()
