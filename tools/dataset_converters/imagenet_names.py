# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Names ImageNet's classes: `imagenet_names.py FOLDER --wordnet data.noun`.

A folder such as n01440764 is called by its WordNet id, and a class by the
lemmas of that, joined by commas: 'tench, Tinca tinca'. These are the texts
that BEiT-3's authors classify ImageNet by (microsoft/unilm#965). Lines are in
the order of the folders' names, which is that of mmpretrain's labels.
"""

import argparse
import os
import re
import sys
from pathlib import Path

FOLDER = re.compile(r'n\d{8}')


def read_lemmas(path: Path) -> dict[str, str]:
    """Reads the lemmas of each noun of WordNet 3.0, joined by commas.

    Args:
        path: `dict/data.noun`: a line is the number of a meaning, its file
            and kind, the number of its words in hexadecimal digits, and the
            words, each followed by another number (WordNet, wndb(5WN)).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another one.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such file; it is dict/data.noun in '
            'WordNet-3.0.tar.gz (wordnet.princeton.edu)'
        )
    lemmas = {}
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith('  '):  # the licence, in front
            continue
        fields = line.split()
        try:
            count = int(fields[3], 16)
            words = fields[4 : 4 + 2 * count : 2]
            if len(words) != count or fields[2] != 'n':
                raise ValueError(line[:40])
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path}, line {number}: not a line of WordNet's data.noun: "
                f'{line[:60]!r}'
            ) from error
        lemmas[fields[0]] = ', '.join(word.replace('_', ' ') for word in words)
    if not lemmas:
        raise ValueError(f'{path}: there is no noun in it; get it again')
    return lemmas


def name_folders(folder: Path, lemmas: dict[str, str]) -> list[str]:
    """Returns the names of the folders below one, in their order.

    Raises:
        FileNotFoundError: If there is no such folder, or nothing in it.
        ValueError: If a folder is not called by an id of WordNet 3.0.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder}')
    ids = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if not ids:
        raise FileNotFoundError(f'{folder} holds no folders of classes')
    unknown = [
        name
        for name in ids
        if not FOLDER.fullmatch(name) or name[1:] not in lemmas
    ]
    if unknown:
        raise ValueError(
            f'{folder}: {len(unknown)} of {len(ids)} folders are not called '
            f'by an id of WordNet 3.0, such as {unknown[:3]}'
        )
    return [lemmas[name[1:]] for name in ids]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Write the names of ImageNet's folders, one a line."
    )
    parser.add_argument('folder', type=Path, help='folder of class folders')
    parser.add_argument(
        '--wordnet',
        type=Path,
        required=True,
        help='dict/data.noun of WordNet 3.0',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='text file to write'
    )
    return parser.parse_args()


def main() -> None:
    """Writes the names; wrong input ends with one message."""
    args = parse_args()
    try:
        if args.out.exists():
            raise ValueError(f'--out {args.out} exists: choose another name')
        names = name_folders(args.folder, read_lemmas(args.wordnet))
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_name(args.out.name + '.partial')
    partial.write_text(''.join(f'{x}\n' for x in names), encoding='utf-8')
    os.replace(partial, args.out)
    print(f'class names: {args.out} ({len(names):,} classes)')


if __name__ == '__main__':
    main()
