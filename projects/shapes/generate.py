# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Generates scenes of coloured shapes in real data sets' file formats.

Run `python projects/shapes/generate.py --help` for its options.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from formats import FORMATS
from formats.common import MAX_SCENES, Counts
from rendering import merge_jobs, render_all
from scenes import MIN_IMAGE_SIZE

MARKER = 'generated.json'  # written last: what the folder completely holds
PARTIAL = '.partial'  # where everything is made before it is moved


def count(text: str) -> int:
    """Read a number of scenes."""
    value = int(text)
    if not 1 <= value <= MAX_SCENES:
        raise argparse.ArgumentTypeError(
            f'{value} must be from 1 to {MAX_SCENES}'
        )
    return value


def image_size(text: str) -> int:
    """Read an image's side in pixels."""
    value = int(text)
    if value < MIN_IMAGE_SIZE:
        raise argparse.ArgumentTypeError(
            f'{value} must be at least {MIN_IMAGE_SIZE} (pixels)'
        )
    return value


def seed(text: str) -> int:
    """Read a random seed."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'{value} must not be negative')
    return value


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description='Generate scenes of coloured shapes, deterministically, '
        "in the file formats of real data sets, for this project's demos.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/shapes/data'),
        help='output folder: new, empty, or from an earlier run',
    )
    parser.add_argument(
        '--train', type=count, default=4000, help='number of training scenes'
    )
    parser.add_argument(
        '--val', type=count, default=500, help='number of held-out scenes'
    )
    parser.add_argument(
        '--size', type=image_size, default=128, help='image side in pixels'
    )
    parser.add_argument('--seed', type=seed, default=0, help='random seed')
    parser.add_argument(
        '--formats',
        nargs='+',
        choices=[*FORMATS, 'all'],
        default=['all'],
        metavar='FORMAT',
        help=f'file formats to write: {", ".join(FORMATS)}, or all',
    )
    args = parser.parse_args(argv)
    chosen = FORMATS if 'all' in args.formats else args.formats
    args.formats = [name for name in FORMATS if name in chosen]
    return args


def _state(args: argparse.Namespace) -> dict[str, Any]:
    """Describe all the files depend on: arguments and the code loaded."""
    here = Path(__file__).resolve().parent
    files = (getattr(m, '__file__', None) for m in sys.modules.values())
    paths = {Path(file).resolve() for file in files if file}
    code = hashlib.sha256()
    for path in sorted(path for path in paths if path.parent == here):
        code.update(path.read_bytes())
    for path in sorted(here.glob('formats/*.py')):
        code.update(path.read_bytes())
    return {
        'train': args.train,
        'val': args.val,
        'size': args.size,
        'seed': args.seed,
        'formats': args.formats,
        'code': code.hexdigest(),
    }


def _read_marker(out: Path) -> dict[str, Any] | None:
    """Return what an earlier run left in `out`, None if there was none.

    Raises:
        NotADirectoryError: If `out`, or a folder above it, is a file.
        FileExistsError: If `out` holds files of somebody else.
    """
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f'--out {out}: {path} is a file')
    marker = out / MARKER
    if marker.exists():
        try:
            return json.loads(marker.read_text())
        except json.JSONDecodeError:
            print(f'{marker} is damaged: generating anew', flush=True)
            return {'state': None, 'folders': []}
    if out.exists() and any(path.name != PARTIAL for path in out.iterdir()):
        raise FileExistsError(
            f'--out {out} holds files that this program did not write; '
            'name a new or an empty folder'
        )
    return None


def _write_marker(out: Path, content: dict[str, Any]) -> None:
    temporary = out / PARTIAL / MARKER
    temporary.write_text(json.dumps(content, indent=2) + '\n')
    temporary.replace(out / MARKER)


def _publish(
    out: Path, old_folders: list[str], state: dict[str, Any], files: list[str]
) -> None:
    """Replace an earlier run's folders by the finished ones."""
    partial = out / PARTIAL
    folders = sorted(path.name for path in partial.iterdir())
    # If killed between the moves, the folders are known but not trusted.
    unfinished = {'state': None, 'folders': sorted({*old_folders, *folders})}
    _write_marker(out, unfinished)
    for name in unfinished['folders']:
        shutil.rmtree(out / name, ignore_errors=True)
    for name in folders:
        (partial / name).rename(out / name)
    _write_marker(out, {'state': state, 'folders': folders, 'files': files})
    partial.rmdir()


def generate(args: argparse.Namespace) -> list[str]:
    """Generate all formats, unless the folder already holds just that.

    Returns:
        A line for each file or folder a user starts from.
    """
    out: Path = args.out
    state = _state(args)
    marker = _read_marker(out) or {'state': None, 'folders': []}
    complete = all((out / name).is_dir() for name in marker['folders'])
    if marker['state'] == state and complete:
        print(f'{out} is complete, nothing to do')
        return marker['files']
    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    counts = Counts(args.train, args.val)
    jobs = merge_jobs(
        job for name in args.formats for job in FORMATS[name].jobs(counts)
    )
    print(f'{len(jobs)} scenes for {", ".join(args.formats)}', flush=True)
    records = render_all(jobs, partial, args.seed, args.size)
    files = []
    for name in args.formats:
        files += FORMATS[name].write(partial, records, args.seed)
    _publish(out, marker['folders'], state, files)
    return files


def main(argv: list[str] | None = None) -> int:
    """Run the command line tool and return its exit code."""
    args = parse_args(argv)
    start = time.monotonic()
    try:
        files = generate(args)
    except OSError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    print(f'In {args.out}, after {time.monotonic() - start:.0f} s:')
    for line in files:
        print(f'  {line}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
