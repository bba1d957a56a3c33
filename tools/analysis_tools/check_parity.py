# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Compares golden files: `python tools/analysis_tools/check_parity.py *.npz`.

A golden file holds `config` (JSON, whose `kind` says what it is), inputs,
weights by their official names, and what the official implementation made of
them as `out/...`. For each of these the largest absolute difference is
printed. Exit codes: 0 all agree, 1 some differ, 2 some are not known here, or
a file cannot be read. A kind is one function, entered in `parity.kinds.KINDS`.
"""

import argparse
import math
import sys

from beit3_mm.compat import require_hosts

try:
    require_hosts('mmengine', 'mmcv')
except ImportError as error:
    sys.exit(f'error: {error}')

import torch
from parity.golden_file import GoldenFile
from parity.kinds import KINDS
from torch import Tensor

from beit3_mm.engine import cli

AGREE, DIFFER, UNKNOWN = 0, 1, 2  # exit codes


def largest_difference(ours: Tensor, expected: Tensor) -> float:
    """Returns the largest absolute difference, nan included; inf if the
    shapes differ.
    """
    if ours.shape != expected.shape:
        return math.inf
    difference = (ours.double() - expected.double()).abs()
    return float(difference.max()) if difference.numel() else 0.0


@torch.no_grad()
def check(path: str) -> int:
    """Prints how the outputs of a file compare and returns the exit code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or lacks something that its kind needs.
    """
    file = GoldenFile(path)
    name = file.config['kind']
    kind = KINDS.get(name)
    print(f'{path} ({name})')
    if kind is None:
        print(f'  kind {name!r} is unknown; known are {sorted(KINDS)}')
    ours = kind.outputs(file) if kind else {}
    codes = {AGREE}
    for output, expected in file.part('out/').items():
        if output not in ours:
            print(f'  unknown  {"":7}  {output}')
            codes.add(UNKNOWN)
            continue
        difference = largest_difference(ours[output], expected)
        agrees = difference <= kind.tolerance  # False for nan
        codes.add(AGREE if agrees else DIFFER)
        verdict = 'agrees ' if agrees else 'DIFFERS'
        print(f'  {verdict}  {difference:7.1e}  {output}')
    return worst(codes)


def worst(codes: set[int]) -> int:
    """Returns the exit code that stands for all: a difference comes first."""
    return DIFFER if DIFFER in codes else max(codes)


def main() -> None:
    """Checks all files; one that cannot be read does not hide the others."""
    parser = argparse.ArgumentParser(
        description='Compare this implementation with golden files.',
        epilog='exit codes: 0 all agree, 1 some differ, 2 some outputs or '
        'kinds are unknown, or a file cannot be read',
    )
    parser.add_argument('files', nargs='+', metavar='FILE.npz')
    codes = set()
    for path in parser.parse_args().files:
        try:
            codes.add(check(path))
        except Exception as error:  # 1 must mean that something differs
            print(f'error: {path}: {cli.message(error)}', file=sys.stderr)
            codes.add(UNKNOWN)
    sys.exit(worst(codes))


if __name__ == '__main__':
    main()
