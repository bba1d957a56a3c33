# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Where the samples of a tar shard lie in it, so that any can be read."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

IMAGES = ('jpg', 'jpeg', 'png', 'webp')
TEXT = 'txt'
BLOCK = 512  # bytes: what tar files consist of
# What a shard may end with: two blocks of zeros, filled up to a record of 20
PADDING = 21 * BLOCK
SUFFIX = '.index.npz'
VERSION = 2  # 1 took the rest behind an archive's end for its padding


@dataclass(frozen=True)
class ShardIndex:
    """The samples of a shard that have an image.

    Attributes:
        size: Of the shard in bytes, by which another file is noticed.
        members: int64 (samples, 4): place and size of the image, place and
            size of the text, in bytes. A size of -1 says that there is none.
        problem: What is wrong with the shard, or nothing.
    """

    size: int
    members: np.ndarray
    problem: str = ''

    def save(self, path: str | os.PathLike) -> None:
        """Writes the index; it is there as a whole or not at all."""
        partial = Path(f'{path}.{os.getpid()}.partial')
        with partial.open('wb') as file:
            np.savez(
                file,
                version=VERSION,
                size=self.size,
                members=self.members,
                problem=self.problem,
            )
        os.replace(partial, path)


def index_path(shard: str, index_dir: str | None) -> Path:
    """Returns where the index of a shard lies: beside it, or in a folder."""
    if index_dir is None:
        return Path(shard + SUFFIX)
    folder = Path(shard).absolute().parent.name
    return Path(index_dir, folder, Path(shard).name + SUFFIX)


def load_index(path: Path, shard: str) -> ShardIndex | None:
    """Returns a saved index; None where there is none.

    Raises:
        ValueError: If it cannot be read, or is of another shard.
    """
    if not path.is_file():
        return None
    remedy = 'remove it; tools/dataset_converters/index_shards.py makes it'
    try:
        with np.load(path, allow_pickle=False) as file:
            index = ShardIndex(
                int(file['size']), file['members'], str(file['problem'])
            )
            version = int(file['version'])
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(f'{path} is damaged ({error}): {remedy}') from error
    size = os.path.getsize(shard)
    if (version, index.size) != (VERSION, size):
        raise ValueError(
            f'{path} is of a shard of {index.size} bytes (version {version}), '
            f'but {shard} has {size} (version {VERSION}): {remedy}'
        )
    return index


def scan_shard(shard: str) -> ShardIndex:
    """Reads where the members of a shard lie; not their contents.

    As `webdataset` does, it takes neighbours of the same name up to the first
    dot as a sample, and passes over files whose name has nothing before a dot
    or nothing behind it. A shard that was cut in the middle has those before.
    """
    size = os.path.getsize(shard)
    samples: list[list[int]] = []
    key, problems = None, []
    dotted: list[str] = []
    for name, start, length in (members := _Members(shard, size)):
        folder, _, base = name.rpartition('/')
        stem, _, suffix = base.partition('.')
        if not (stem and suffix):  # such as macOS' `._0.jpg` beside `0.jpg`
            continue
        if (folder, stem) != key:
            key = folder, stem
            samples.append([0, -1, 0, -1])
        suffix = suffix.lower()
        if suffix in IMAGES:
            samples[-1][:2] = start, length
        elif suffix == TEXT:
            samples[-1][2:] = start, length
        elif suffix.rpartition('.')[2] in (*IMAGES, TEXT):
            dotted.append(name)
    if members.problem:
        problems.append(
            f'{members.problem}; {len(samples)} samples come before'
        )
    if dotted:
        problems.append(
            f'{len(dotted)} files are no part of a sample, for a name ends at '
            f'its first dot: {dotted[0]}'
        )
    array = np.array(samples, np.int64).reshape(-1, 4)
    has_image = array[:, 1] >= 0
    alone = int((~has_image & (array[:, 3] >= 0)).sum())
    if alone:
        problems.append(f'{alone} captions have no image beside them')
    return ShardIndex(size, array[has_image], '; '.join(problems))


class _Members:
    """The whole files of a shard: name, place and size in bytes.

    Attributes:
        problem: After the last one, what is wrong with the shard.
    """

    def __init__(self, path: str, size: int) -> None:
        self.path, self.size, self.problem = path, size, ''

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        place = 0
        try:
            with tarfile.open(self.path, 'r:') as tar:
                for member in tar:
                    end = member.offset_data + member.size
                    if end > self.size:
                        self.problem = f'cut in the middle of {member.name}'
                        return
                    place = -(-end // BLOCK) * BLOCK
                    if member.isreg():
                        yield member.name, member.offset_data, member.size
                    # it would keep all of them
                    tar.members = []
        except tarfile.ReadError as error:
            self.problem = self._explain(place, str(error))
            return
        self.problem = self._explain(place, 'damaged')

    def _explain(self, place: int, default: str) -> str:
        """Says why a shard ends at a place, nothing where it is its end."""
        with open(self.path, 'rb') as file:
            head = file.read(2)
            file.seek(place)
            block = file.read(BLOCK)
        if head == b'\x1f\x8b':
            return 'compressed, and so not readable at any place: unpack it'
        if block == bytes(BLOCK):  # the mark of an archive's end
            if self.size - place <= PADDING:
                return ''
            return (
                f'ends after {place} of {self.size} bytes: the rest was '
                'never written, or is another archive'
            )
        if len(block) < BLOCK:
            return f'cut after {place} bytes'
        return f'{default} after {place} bytes'
