# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Predicts memory: `python tools/analysis_tools/predict_memory.py CONFIG`.

Parameters, gradients, optimizer states and activations of a process at the
peak of a training step, for DDP and for FSDP2, without the memory that it
needs. Prints a Markdown table, and writes it as JSON and as a picture.
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
from benchmarks.arguments import positive
from memory import report
from memory.batches import smallest_batch, training_batch
from memory.measured import measure
from memory.step import follow
from memory.strategies import STRATEGIES
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.utils import ProgressBar

from beit3_mm.engine import cli


def parse_args() -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(
        description='Predict the peak memory of a process in training.'
    )
    parser.add_argument('configs', nargs='+', help='config files')
    _add_sharing(parser)
    parser.add_argument(
        '--batch-size',
        type=positive,
        help="samples of a process's batch (the config's)",
    )
    parser.add_argument(
        '--amp', action='store_true', help='bfloat16 autocast, as in training'
    )
    parser.add_argument(
        '--device',
        choices=['cpu', 'cuda'],
        help='what to predict for (cuda; with --measure what is here)',
    )
    parser.add_argument(
        '--measure',
        action='store_true',
        help='also train for two steps, in this process alone, and compare',
    )
    parser.add_argument(
        '--limit',
        type=float,
        default=80.0,
        metavar='GB',
        help='memory of a device in 10^9 bytes (%(default)s)',
    )
    parser.add_argument(
        '--work-dir', help='folder of results (work_dirs/memory/<config>)'
    )
    cli.add_config_arguments(parser)
    args = parser.parse_args()
    if args.device is None:
        args.device = get_device() if args.measure else 'cuda'
    return args


def _add_sharing(parser: argparse.ArgumentParser) -> None:
    """Adds how processes share the model."""
    parser.add_argument(
        '--devices',
        type=positive,
        nargs='+',
        default=[1],
        metavar='N',
        help='numbers of processes (1)',
    )
    parser.add_argument(
        '--strategy',
        nargs='+',
        choices=STRATEGIES,
        default=['ddp'],
        help='how they share the model (ddp)',
    )


def run(args: argparse.Namespace, path: str) -> report.Result:
    """Predicts, and measures, one config.

    Raises:
        ValueError: If it cannot be predicted; the message names the config.
    """
    cfg = cli.read_config(path, args.cfg_options)
    param_dtype = (cfg.get('strategy') or {}).get('param_dtype')
    check(args, param_dtype)
    try:
        return predict(args, path, cfg, param_dtype)
    except ValueError as error:
        raise ValueError(f'config {path}: {error}') from error


def predict(
    args: argparse.Namespace, path: str, cfg: Config, param_dtype: str | None
) -> report.Result:
    """Predicts, and measures, a config that was read."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    measured = None
    with tempfile.TemporaryDirectory() as folder:
        batch, inputs = training_batch(cfg, args.batch_size, Path(folder))
        if args.measure:
            small, _ = training_batch(cfg, smallest_batch(cfg), Path(folder))
    if args.measure:  # first: it counts from the start of the process
        device = torch.device(args.device)
        measured = measure(cfg, batch, small, args.amp, device)
    usage = follow(cfg, batch, args.amp, args.device)
    predictions = [
        STRATEGIES[name](usage, devices, param_dtype)
        for name in args.strategy
        for devices in args.devices
    ]
    return report.Result(Path(path).stem, inputs, predictions, measured)


def check(args: argparse.Namespace, param_dtype: str | None) -> None:
    """Raises ValueError for options that do not fit each other."""
    if args.measure and (args.devices != [1] or args.strategy != ['ddp']):
        raise ValueError(
            '--measure trains in this process alone: leave out --devices and '
            '--strategy'
        )
    if param_dtype not in (None, 'bfloat16'):
        raise ValueError(
            f'strategy.param_dtype={param_dtype!r}: known is bfloat16'
        )
    if param_dtype and not args.amp:
        raise ValueError(
            f'strategy.param_dtype={param_dtype!r} computes in that type: '
            'give --amp as well'
        )


def save(
    args: argparse.Namespace, path: Path, results: list[report.Result]
) -> None:
    """Writes JSON and picture of what there is so far."""
    report.write(path, results, vars(args))
    report.draw(path.with_suffix('.png'), results, args.limit)


def main() -> None:
    """Predicts; wrong input ends with one message."""
    args = parse_args()
    name = Path(args.configs[0]).stem
    folder = Path(args.work_dir or Path('work_dirs', 'memory', name))
    path = folder / f'{datetime.now():%Y%m%d_%H%M%S}.json'
    results = []
    with cli.plain_errors(args.debug, Exception):
        progress = ProgressBar(len(args.configs), file=sys.stderr)
        for config in args.configs:
            results.append(run(args, config))
            save(args, path, results)
            progress.update()
        print(file=sys.stderr)
    print(report.table(results, args.limit))
    if args.measure:
        print(f'\n{report.comparison(results)}')
    print(f'results: {path} and {path.with_suffix(".png")}')


if __name__ == '__main__':
    main()
