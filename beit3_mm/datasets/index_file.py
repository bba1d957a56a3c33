# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The index files that the official code of BEiT-3 makes and reads."""

from typing import Any

from beit3_mm.datasets.annotation_files import (
    add_once,
    get_field,
    read_json_lines,
)
from beit3_mm.datasets.vision_language import VisionLanguageDataset
from beit3_mm.registry import DATASETS

# What no two lines may share
IDS = ('qid', 'identifier')
# Official key, key of our samples, type. Any of them may be missing.
FIELDS = (
    ('qid', 'question_id', (int, str)),
    ('image_id', 'image_id', (int, str)),
    ('identifier', 'identifier', str),
    ('label', 'gt_label', int),
    ('labels', 'answer_labels', list),
    ('scores', 'answer_scores', list),
)


@DATASETS.register_module()
class IndexFileDataset(VisionLanguageDataset):
    """Reads the index files of any task (unilm/beit3, datasets.py).

    These are `coco_retrieval.train.jsonl`, `vqa.rest_val.jsonl` and so on,
    one JSON object a line, with paths of images and token ids of texts that
    were made with `beit3.spm`. A sample is a line: `img_path` (`image_path`)
    or `img_paths` (`image2_path` too); `text_segment`, ids without special
    ones, unless it is null; `question_id` (`qid`), `image_id`, `identifier`,
    `gt_label` (`label`), `answer_labels` (`labels`) and `answer_scores`
    (`scores`) where they are. Lines of one's own may have `text`, a string,
    instead of ids.

    The official files hold neither answers nor reference captions as text:
    evaluate on the raw files where a metric needs those.

    Args:
        ann_file: The file.
        group_texts: Makes one sample of all lines of an image, with a list
            of their texts: for the evaluation of retrieval, which else encodes
            an image once for each of its texts.
        **kwargs: Arguments of mmengine's `BaseDataset`; paths of images are
            below `data_prefix['img_path']`.

    Raises:
        FileNotFoundError: If the file or a folder of images is missing.
        ValueError: If a line is not as it should be, or a `qid` or
            `identifier` is there twice.

    Example:
        >>> dict(
        ...     type='beit3_mm.IndexFileDataset',
        ...     data_root='data/coco/',
        ...     ann_file='coco_retrieval.test.jsonl',
        ...     group_texts=True,
        ...     test_mode=True,
        ... )
    """

    def __init__(
        self, ann_file: str, group_texts: bool = False, **kwargs: Any
    ) -> None:
        self.group_texts = group_texts
        super().__init__(ann_file=ann_file, **kwargs)

    def read_samples(self) -> list[dict]:
        """Reads the lines."""
        samples = []
        groups: dict[str, dict] = {}
        places: dict[str, dict[Any, str]] = {key: {} for key in IDS}
        for where, record in read_json_lines(self.ann_file):
            sample = self._read_line(record, where)
            for key in set(IDS) & set(record):
                add_once(places[key], record[key], key, where)
            if self.group_texts:
                _join_group(groups, sample, where)
            else:
                samples.append(sample)
        return list(groups.values()) if self.group_texts else samples

    def _read_line(self, record: dict, where: str) -> dict:
        path = self.image_path(get_field(record, 'image_path', str, where))
        sample: dict[str, Any] = dict(img_path=path)
        if 'image2_path' in record:
            second = get_field(record, 'image2_path', str, where)
            sample = dict(img_paths=[path, self.image_path(second)])
        if record.get('text_segment') is not None:
            ids = get_field(record, 'text_segment', list, where)
            _check_ids(ids, 'text_segment', where)
            sample['text_segment'] = ids
        if 'text' in record:
            sample['text'] = get_field(record, 'text', str, where)
        for theirs, ours, kind in FIELDS:
            if theirs in record:
                sample[ours] = get_field(record, theirs, kind, where)
        labels = sample.get('answer_labels', [])
        scores = sample.get('answer_scores', [])
        _check_ids(labels, 'labels', where)
        _check_scores(scores, where)
        if len(labels) != len(scores):
            raise ValueError(
                f'{where}: {len(labels)} labels do not fit {len(scores)} '
                'scores'
            )
        return sample


def _check_ids(values: list, name: str, where: str) -> None:
    for value in values:
        if type(value) is not int or value < 0:  # True is no int here
            raise ValueError(
                f'{where}: {name} must hold whole numbers >= 0, not {value!r}'
            )


def _check_scores(values: list, where: str) -> None:
    for value in values:
        # NaN is in no range
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise ValueError(
                f'{where}: scores must hold numbers from 0 to 1, not {value!r}'
            )


def _join_group(groups: dict[str, dict], sample: dict, where: str) -> None:
    """Adds a line to the sample of its image."""
    key = 'text_segment' if 'text_segment' in sample else 'text'
    group = groups.setdefault(sample.get('img_path', ''), {**sample, key: []})
    if 'img_paths' in sample or key not in sample or key not in group:
        raise ValueError(
            f'{where}: group_texts=True is for lines of one image and one '
            'text, all of ids or all of strings'
        )
    group[key].append(sample[key])
