# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Images without labels: all files of a folder and the folders in it."""

import os
from collections.abc import Iterator, Sequence

from beit3_mm.datasets.pretraining.base import PretrainingDataset
from beit3_mm.datasets.pretraining.packed_strings import PackedStrings
from beit3_mm.registry import DATASETS

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp')


@DATASETS.register_module()
class ImageFolderDataset(PretrainingDataset):
    """Every image below a folder, such as ImageNet-21K.

    The order is that of the sorted names, folder by folder. A list of names
    saves listing a slow disk at each start; docs/data/pretraining.md has a
    command that makes it.

    Args:
        data_root: The folder.
        pipeline: Transforms of a sample, which is `img_path` and
            `sample_idx`.
        list_file: Text file of the names below `data_root`, one a line.
        suffixes: Of the files that are images, in lower case.

    Raises:
        FileNotFoundError: If the folder or the list is missing.
        ValueError: If there is no image.

    Example:
        >>> dict(
        ...     type='beit3_mm.ImageFolderDataset',
        ...     data_root='data/imagenet21k/train/',
        ...     pipeline=[dict(type='beit3_mm.LoadImageFromFile')],
        ... )
    """

    def __init__(
        self,
        data_root: str,
        pipeline: Sequence[dict] = (),
        list_file: str | None = None,
        suffixes: Sequence[str] = SUFFIXES,
    ) -> None:
        super().__init__(pipeline)
        self.data_root = data_root
        self.suffixes = tuple(suffixes)
        if not os.path.isdir(data_root):
            raise FileNotFoundError(
                f'{data_root=} is no folder: docs/data/pretraining.md says '
                'how the corpora of pretraining look'
            )
        if list_file is None:
            names = self._walk('')
        else:
            names = _read_lines(list_file)
        self.names = PackedStrings.pack(names)
        if not len(self.names):
            raise ValueError(
                f'{list_file or data_root}: there is no image in it '
                f'({", ".join(self.suffixes)})'
            )

    def _walk(self, folder: str) -> Iterator[str]:
        """Yields the names of images below a folder of `data_root`."""
        path = os.path.join(self.data_root, folder)
        with os.scandir(path) as entries:
            found = sorted((x.name, x.is_dir()) for x in entries)
        for name, is_folder in found:
            relative = os.path.join(folder, name)
            if is_folder:
                yield from self._walk(relative)
            elif name.lower().endswith(self.suffixes):
                yield relative

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.names)

    def get_data_info(self, index: int) -> dict:
        """Returns `img_path` and `sample_idx`."""
        path = os.path.join(self.data_root, self.names[index])
        return dict(img_path=path, sample_idx=index)


def _read_lines(path: str) -> Iterator[str]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f'there is no list of images {path}')
    with open(path, encoding='utf-8', errors='surrogateescape') as file:
        for line in file:
            if name := line.rstrip('\n'):
                yield name
