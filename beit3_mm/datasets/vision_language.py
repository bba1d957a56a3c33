# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the data sets of images and texts have in common."""

import logging
import os
from abc import ABC, abstractmethod
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path
from mmengine.logging import print_log
from mmengine.utils import is_abs

from beit3_mm.datasets.seeding import SampleError

# What tells a user which sample it is, in this order.
NAMES = ('question_id', 'identifier', 'image_id')


class VisionLanguageDataset(BaseDataset, ABC):
    """Interface of data sets that read an official annotation file.

    A wrong file is an error when it is read, which names the file and the
    place in it. Whether there are images is checked by folder: that is fast
    also for many files on a slow disk, and `check_data.py` looks for each
    file. A file that is missing or damaged is an error in evaluation; in
    training, `LoadImageFromFile(skip_damaged=True)` draws another sample and
    says so.

    Training (`test_mode=False`) leaves out samples with an empty text, and
    logs how many. Evaluation keeps all samples, as leaving any out would
    change the figure.
    """

    @property
    def sample_file(self) -> str:
        """The file that lists the samples, for messages."""
        return self.ann_file

    @abstractmethod
    def read_samples(self) -> list[dict]:
        """Reads the annotation file into samples (`load_data_list`)."""

    def load_data_list(self) -> list[dict]:
        """Returns the samples: `img_path` or `img_paths`, and what belongs
        to them.

        Raises:
            FileNotFoundError: If there is no such file or image folder.
            ValueError: If the file cannot be used as it is, or has no sample.
        """
        samples = self.read_samples()
        if not self.test_mode:
            samples = self._without_empty_texts(samples)
        if not samples:
            raise ValueError(f'{self.sample_file}: there is no sample in it')
        self._require_folders(samples)
        return samples

    def prepare_data(self, idx: int) -> Any:
        """Runs the transforms of a sample.

        Raises:
            SampleError: If one of them fails; names the sample and its image.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            info = self.get_data_info(idx)
            names = [f'{key} {info[key]!r}' for key in NAMES if key in info]
            image = info.get('img_path', info.get('img_paths'))
            raise SampleError(
                f'{self.sample_file}, {", ".join(names) or f"sample {idx}"} '
                f'({image}): {type(error).__name__}: {error}'
            ) from error

    def image_path(self, *names: str) -> str:
        """Returns where an image lies: below the `data_prefix`."""
        return os.path.join(self.data_prefix['img_path'], *names)

    def join_root(self, path: str) -> str:
        """Returns a path below `data_root`, as mmengine does `ann_file`."""
        if not path or not self.data_root or is_abs(path):
            return path
        return join_path(self.data_root, path)

    def log(self, message: str, level: int = logging.INFO) -> None:
        """Logs what the user should know about the file."""
        print_log(f'{self.sample_file}: {message}', 'current', level)

    def _without_empty_texts(self, samples: list[dict]) -> list[dict]:
        kept, empty = [], []
        for sample in samples:
            (empty if _is_empty(sample) else kept).append(sample)
        if empty:
            images = [x.get('img_path', x.get('img_paths')) for x in empty[:3]]
            self.log(
                f'left out {len(empty)} of {len(samples)} samples, whose text '
                f'is empty, such as those of {images}',
                logging.WARNING,
            )
        return kept

    def _require_folders(self, samples: list[dict]) -> None:
        paths = (
            path
            for sample in samples
            for path in sample.get('img_paths', [sample.get('img_path')])
        )
        for folder in sorted({os.path.dirname(path) for path in paths}):
            if '://' not in folder and not os.path.isdir(folder or '.'):
                raise FileNotFoundError(
                    f'{self.sample_file} has images in {folder}, which is no '
                    'folder: check data_root and data_prefix; docs/data/ '
                    'says how the folder of each data set looks'
                )


def _is_empty(sample: dict) -> bool:
    text = sample.get('text', sample.get('text_segment'))
    if isinstance(text, str):
        return not text.strip()
    return text is not None and len(text) == 0
