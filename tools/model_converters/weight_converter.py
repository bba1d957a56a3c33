# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What both converters of weights share: arguments, files, the report."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

from beit3_mm.checkpoint import (
    TASKS,
    Conversion,
    convert_official,
    model_weights,
    resize_images,
)
from beit3_mm.engine import cli
from beit3_mm.engine.load_report import group_layers
from beit3_mm.engine.loading import SAFETENSORS, load_file, save_file

SUFFIXES = ('.pth', '.pt', SAFETENSORS)


def run(
    description: str, convert: Callable[..., Conversion], wrapping: str
) -> None:
    """Converts one file; wrong input ends with one message.

    Args:
        description: What the tool does.
        convert: `convert_official` or `convert_ours`.
        wrapping: Key of the weights in a .pth file.
    """
    args = _parse_args(description)
    with cli.plain_errors(args.debug, ValueError, OSError):
        _check_paths(args)
        weights = model_weights(load_file(args.src, args.trust_checkpoint))
        result = convert(weights, args.task, args.src)
        if args.img_size:
            resized = resize_images(result.weights, args.img_size)
        else:
            resized = result.weights
        save_file(args.dst, resized, wrapping)
    print(_report(result, args))
    if convert is convert_official:
        print(f'use it: load_from = {str(args.dst)!r} in a config')
    print(f'weights: {args.dst}')


def _parse_args(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
        epilog='A name that ends in .safetensors is read or written as such, '
        'without pickles.',
    )
    parser.add_argument('src', help='file to read: .pth or .safetensors')
    parser.add_argument('dst', help='file to write: .pth or .safetensors')
    parser.add_argument(
        '--task',
        choices=TASKS,
        help='task of the model that the result is for; by default the one '
        'whose head is in the file. A pretraining file serves for any',
    )
    parser.add_argument(
        '--img-size',
        type=int,
        metavar='PIXELS',
        help='resize the vision positions to another input size; models do '
        'so themselves when they load a file',
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read a file that holds Python objects; these can run any code, '
        'so insist only on files whose origin you trust',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of an error'
    )
    return parser.parse_args()


def _check_paths(args: argparse.Namespace) -> None:
    src, dst = Path(args.src), Path(args.dst)
    if dst.suffix not in SUFFIXES:
        raise ValueError(f'{dst} must end in one of {list(SUFFIXES)}')
    if src.resolve() == dst.resolve():
        raise ValueError(f'{dst} would overwrite what is read: name another')


def _report(result: Conversion, args: argparse.Namespace) -> str:
    """Says what became of each weight."""
    lines = [
        f'{len(result.weights)} weights converted from {args.src}, task: '
        f'{result.task or "none, an encoder alone"}'
    ]
    if args.img_size:
        lines.append(f'vision positions for {args.img_size} pixels')
    for names, meaning in (
        (result.fresh, 'not in the file, fresh in a model of this task'),
        (result.unused, 'unused, without a name in the result'),
    ):
        if names:
            lines.append(f'{len(names)} {meaning}:')
            lines += [f'  {name}' for name in group_layers(names)]
    return '\n'.join(lines)
