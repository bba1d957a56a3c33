# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Indexes tar shards: `index_shards.py SHARD.tar [SHARD.tar ...]`.

Writes where each sample lies, beside each shard or to --index-dir, for
`beit3_mm.ShardDataset`. Shards that have an index already are left alone, so
that a run that was killed goes on where it stopped.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

from beit3_mm.datasets.pretraining.shard_index import (
    index_path,
    load_index,
    scan_shard,
)

SECONDS = 10  # between two messages


def index_shard(task: tuple[str, str | None]) -> tuple[str, int, str]:
    """Writes the index of a shard; returns it, its samples, its problem."""
    shard, index_dir = task
    index = scan_shard(shard)
    path = index_path(shard, index_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    index.save(path)
    return shard, len(index.members), index.problem


def find_missing(shards: list[str], index_dir: str | None) -> list[str]:
    """Returns the shards without an index.

    Raises:
        FileNotFoundError: If there is no such shard.
        ValueError: If the index of one is damaged, or two share one.
    """
    names: dict[Path, str] = {}
    for shard in shards:
        if not Path(shard).is_file():
            raise FileNotFoundError(f'there is no shard {shard}')
        other = names.setdefault(index_path(shard, index_dir), shard)
        if other != shard:
            raise ValueError(
                f'{other} and {shard} would share an index in --index-dir '
                f'{index_dir}: give each folder of shards a name of its own'
            )
    return [
        shard for path, shard in names.items() if not load_index(path, shard)
    ]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description='Write where the samples of tar shards lie.'
    )
    parser.add_argument('shards', nargs='+', metavar='SHARD.tar')
    parser.add_argument(
        '--index-dir',
        help='folder of the indices, where that of the shards cannot be '
        'written to; also an argument of beit3_mm.ShardDataset',
    )
    parser.add_argument(
        '--workers', type=int, default=8, help='processes (default: 8)'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Indexes the shards; wrong input ends with one message."""
    args = parse_args(argv)
    try:
        if args.workers < 1:
            raise ValueError(f'--workers {args.workers} must be at least 1')
        missing = find_missing(args.shards, args.index_dir)
        problems, samples = _index(missing, args)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    for problem in problems:
        print(f'damaged: {problem}')
    where = args.index_dir or 'beside the shards'
    print(
        f'indices: {where} ({len(missing):,} new, of {samples:,} samples; '
        f'{len(args.shards) - len(missing):,} were there)'
    )


def _index(
    shards: list[str], args: argparse.Namespace
) -> tuple[list[str], int]:
    """Indexes shards and says how far it is."""
    problems, samples = [], 0
    begin = told = time.monotonic()
    for done, found in enumerate(_run(shards, args), 1):
        shard, number, problem = found
        samples += number
        if problem:
            problems.append(f'{shard}: {problem}')
        now = time.monotonic()
        if now - told >= SECONDS:
            told = now
            left = (now - begin) / done * (len(shards) - done)
            print(
                f'{done:,} of {len(shards):,} shards, about '
                f'{left / 60:.0f} min left',
                flush=True,
            )
    return problems, samples


def _run(
    shards: list[str], args: argparse.Namespace
) -> Iterator[tuple[str, int, str]]:
    """Yields what `index_shard` returns, as it comes."""
    tasks = [(shard, args.index_dir) for shard in shards]
    workers = min(args.workers, len(tasks))
    if workers <= 1:
        yield from map(index_shard, tasks)
        return
    with get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(index_shard, tasks)


if __name__ == '__main__':
    main()
