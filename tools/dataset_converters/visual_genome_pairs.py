# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Lists Visual Genome's pairs: `visual_genome_pairs.py FOLDER --out FILE`.

Each description of a region is a caption of its image, which makes the five
million pairs that are part of BEiT-3's 21 million. The list is read by
`beit3_mm.PairListDataset`.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from beit3_mm.datasets.annotation_files import get_field, read_json

REGIONS, IMAGES = 'region_descriptions.json', 'image_data.json'
HELD_OUT = ('val', 'test')  # Karpathy's splits


def read_list(path: Path) -> list:
    """Returns the list that a JSON file is.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another one.
    """
    records = read_json(str(path))
    if not isinstance(records, list):
        raise ValueError(
            f'{path}: expected a list of objects, not {records!r:.60}'
        )
    return records


def read_images(folder: Path) -> dict[int, tuple[str, int | None]]:
    """Returns the path of each image below the folder, and its COCO id.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another one.
    """
    path = folder / IMAGES
    images = {}
    for number, record in enumerate(read_list(path)):
        where = f'{path}, [{number}]'
        # '.../VG_100K_2/1.jpg': the folder is not in the ids
        name = get_field(record, 'url', str, where).split('/')[-2:]
        image_id = get_field(record, 'image_id', int, where)
        images[image_id] = '/'.join(name), record.get('coco_id')
    return images


def read_held_out(path: Path | None) -> set[int]:
    """Returns the COCO ids of Karpathy's validation and test images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another one, which holds none of them.
    """
    if path is None:
        return set()
    images = get_field(read_json(str(path)), 'images', list, str(path))
    held_out = {
        get_field(image, 'cocoid', int, f'{path}, images[{number}]')
        for number, image in enumerate(images)
        if isinstance(image, dict) and image.get('split') in HELD_OUT
    }
    if not held_out:
        raise ValueError(
            f'--leave-out {path} has no image whose split is '
            f"{' or '.join(HELD_OUT)}: it must be Karpathy's "
            'dataset_coco.json (docs/data/coco.md)'
        )
    return held_out


def list_pairs(
    folder: Path, images: dict[int, tuple[str, int | None]]
) -> Iterator[tuple[int, str]]:
    """Yields the image id and the caption of each region.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another one, or has an image that is not listed.
    """
    path = folder / REGIONS
    for number, record in enumerate(read_list(path)):
        where = f'{path}, [{number}]'
        image_id = get_field(record, 'id', int, where)
        if image_id not in images:
            raise ValueError(f'{where}: {IMAGES} has no image {image_id}')
        for region in get_field(record, 'regions', list, where):
            # a line of the list must hold neither tab nor line end
            phrase = get_field(region, 'phrase', str, where).split()
            yield image_id, ' '.join(phrase)


def write_pairs(args: argparse.Namespace) -> str:
    """Writes the list; returns what it holds."""
    images = read_images(args.folder)
    held_out = read_held_out(args.leave_out)
    number = empty = left_out = 0
    partial = args.out.with_name(args.out.name + '.partial')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with partial.open('w', encoding='utf-8', errors='replace') as file:
        for image_id, caption in list_pairs(args.folder, images):
            path, coco_id = images[image_id]
            if coco_id in held_out:
                left_out += 1
            elif not caption:
                empty += 1
            else:
                number += 1
                file.write(f'{path}\t{caption}\n')
    if not number:
        partial.unlink()
        raise ValueError(
            f'{args.folder / REGIONS}: there is no caption in it that would '
            'not be left out'
        )
    os.replace(partial, args.out)
    return (
        f'{number:,} pairs; left out: {left_out:,} of held-out images, '
        f'{empty:,} without a caption'
    )


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="List Visual Genome's images with their captions."
    )
    parser.add_argument(
        'folder', type=Path, help=f'folder of {REGIONS} and {IMAGES}'
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='list to write, a .tsv file'
    )
    parser.add_argument(
        '--leave-out',
        type=Path,
        metavar='dataset_coco.json',
        help="Karpathy's file, to leave out the images of its validation and "
        'test, on which retrieval and captioning are measured',
    )
    return parser.parse_args()


def main() -> None:
    """Writes the list; wrong input ends with one message."""
    args = parse_args()
    try:
        if args.out.exists():
            raise ValueError(f'--out {args.out} exists: choose another name')
        if args.out.suffix != '.tsv':
            raise ValueError(f'--out {args.out} must be a .tsv file')
        summary = write_pairs(args)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'list of pairs: {args.out} ({summary})')


if __name__ == '__main__':
    main()
