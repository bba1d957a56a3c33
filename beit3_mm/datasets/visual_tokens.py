# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Files of visual tokens that were found before a training."""

import json
import os
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np

IDS, NAMES, ABOUT = 'ids.npy', 'names.npy', 'about.json'
DAMAGED = 'damaged.txt'
COUNTS = {'samples', 'height', 'width', 'num_codes', 'done', 'damaged'}
REMEDY = (
    'remove the folder, and tools/dataset_converters/visual_tokens.py writes '
    'it again'
)
NONE = np.iinfo(np.uint16).max  # of an image that could not be read


class VisualTokens:
    """A folder of visual tokens, a row for each sample of a data set.

    `ids.npy` has the ids, uint16 (samples, patches), row by row of an image;
    `names.npy` a hash of the name of each sample's image, by which other data
    are noticed; `about.json` what they were made from, and how many are done.
    tools/dataset_converters/visual_tokens.py writes it.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: If it is no such folder.
        ValueError: If it is not finished, or one of its files is damaged.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.folder = Path(folder)
        self.about = read_about(self.folder)
        if self.about is None:
            raise FileNotFoundError(
                f'{folder} holds no visual tokens (no {ABOUT}): '
                'tools/dataset_converters/visual_tokens.py writes them'
            )
        if self.about['done'] < self.about['samples']:
            raise ValueError(
                f'{folder} has {self.about["done"]} of '
                f'{self.about["samples"]} samples: go on with the same '
                'command of tools/dataset_converters/visual_tokens.py'
            )

    # Opened where they are first read, in worker processes: what is copied
    # to these must not hold the whole file.
    @cached_property
    def ids(self) -> np.ndarray:
        """Ids of all samples, uint16 (samples, patches)."""
        shape = self.about['samples'], _patches(self.about)
        return _read_array(self.folder / IDS, shape)

    @cached_property
    def names(self) -> np.ndarray:
        """Hashes of the names of all images, uint64 (samples,)."""
        return _read_array(self.folder / NAMES, (self.about['samples'],))

    def __len__(self) -> int:
        """Returns the number of samples."""
        return self.about['samples']

    def find(self, index: int, name: str) -> np.ndarray | None:
        """Returns the ids of a sample, int64 (N,); None of a damaged image.

        Args:
            index: Number of the sample in its data set.
            name: Path of its image; the folder does not matter.

        Raises:
            ValueError: If the tokens are of other data.
        """
        if index >= len(self) or self.names[index] != name_hash(name):
            raise ValueError(
                f'row {index} of the {len(self)} visual tokens in '
                f'{self.folder} is not of {name}: they were made from other '
                'data, or from the same in another order'
            )
        ids = self.ids[index].astype(np.int64)
        return None if ids[0] == NONE else ids


class VisualTokensWriter:
    """Writes such a folder, each row once, in the order of the samples.

    Args:
        folder: The folder; what it holds already is kept.
        about: What the tokens are made from, with `samples`, the number of
            rows, and `height` and `width` in patches.

    Raises:
        ValueError: If it holds tokens that are made from something else, or
            damaged files.
    """

    def __init__(self, folder: Path, about: dict) -> None:
        self.folder, self.about = folder, about
        self._damaged: list[str] = []
        known = read_about(folder) or dict(about, done=0, damaged=0)
        self.done, self.damaged = known.pop('done'), known.pop('damaged')
        if known != about:
            raise ValueError(
                f'{folder} holds visual tokens of {known}, not of {about}: '
                'choose another folder'
            )
        folder.mkdir(parents=True, exist_ok=True)
        shape = about['samples'], _patches(about)
        self.ids = self._open(IDS, np.uint16, shape)
        self.names = self._open(NAMES, np.uint64, shape[:1])

    def _open(self, name: str, dtype: type, shape: tuple) -> np.memmap:
        path = self.folder / name
        if self.done:  # else numpy would fill a cut file up with zeros
            _read_array(path, shape)
        return np.lib.format.open_memmap(
            path, 'r+' if self.done else 'w+', dtype, shape
        )

    def add(self, names: list, ids: np.ndarray, damaged: list[str]) -> None:
        """Writes the next rows.

        Args:
            names: Hashes of n names.
            ids: (n, patches), all `NONE` of images that cannot be read.
            damaged: What is wrong with these.
        """
        rows = slice(self.done, self.done + len(names))
        self.names[rows], self.ids[rows] = names, ids
        self.done += len(names)
        self._damaged += damaged

    def keep(self) -> None:
        """Makes sure that what was written survives a kill."""
        self.ids.flush()
        self.names.flush()
        self.damaged += len(self._damaged)
        path = self.folder / DAMAGED
        with path.open('a', encoding='utf-8') as file:
            file.writelines(f'{line}\n' for line in self._damaged)
        self._damaged.clear()
        state = dict(self.about, done=self.done, damaged=self.damaged)
        partial = self.folder / f'{ABOUT}.partial'
        partial.write_text(json.dumps(state, indent=2), encoding='utf-8')
        os.replace(partial, self.folder / ABOUT)

    def summary(self) -> str:
        """Says where the tokens are and how many codes they use."""
        counts = np.zeros(NONE + 1, np.int64)
        for start in range(0, self.done, 2**16):
            rows = self.ids[start : start + 2**16]
            counts += np.bincount(rows.ravel(), minlength=len(counts))
        used = int((counts[:NONE] > 0).sum())
        text = (
            f'visual tokens: {self.folder} ({self.done:,} images of '
            f'{self.about["height"]} x {self.about["width"]} tokens, {used:,} '
            f'of {self.about["num_codes"]:,} codes used)'
        )
        if self.damaged:
            text += (
                f'\n{self.damaged:,} images have none, since they cannot be '
                f'read: {self.folder / DAMAGED}'
            )
        return text


def name_hash(path: str) -> np.uint64:
    """Returns a hash of the file name in a path."""
    # file names need not be UTF-8
    name = Path(path).name.encode(errors='surrogateescape')
    digest = blake2b(name, digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, 'little'))


def read_about(folder: Path) -> dict | None:
    """Returns what is known of a folder of tokens, None if there is none.

    Raises:
        ValueError: If its file is damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_text('utf-8'))
        missing = COUNTS - (about.keys() if isinstance(about, dict) else set())
        if missing:
            raise ValueError(f'it lacks {sorted(missing)}')
    except ValueError as error:
        raise ValueError(f'{path} is damaged ({error}): {REMEDY}') from error
    return about


def _patches(about: dict) -> int:
    return about['height'] * about['width']


def _read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Opens an array, which must be whole and of this shape."""
    try:
        array = np.load(path, mmap_mode='r')
        if array.shape != shape:
            raise ValueError(f'its shape is {array.shape}, not {shape}')
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path} is damaged ({error}): {REMEDY}') from error
    return array
