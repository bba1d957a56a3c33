# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""VQAv2: questions about images of COCO, with ten people's answers each."""

import hashlib
from collections import Counter
from collections.abc import Collection
from typing import Any

from beit3_mm.datasets.annotation_files import add_once, get_field, read_json
from beit3_mm.datasets.vision_language import VisionLanguageDataset
from beit3_mm.evaluation.vqa_answers import read_answers, require_enough
from beit3_mm.registry import DATASETS

SPLITS = (None, 'train', 'held_out')
ID = (int, str)
IMAGE_NAME = 'COCO_val2014_{image_id:012d}.jpg'  # for messages
# Score of an answer that 0, 1, 2, 3, or 4 and more of ten people gave:
# `get_score` in unilm/beit3, datasets.py
SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)


@DATASETS.register_module()
class VQAv2Dataset(VisionLanguageDataset):
    """Reads VQA's official question files and annotation files.

    A sample is a question: `img_path`, `image_id`, `question_id`, `text`.
    Training adds `answer_labels` and `answer_scores`, the listed ones of the
    ten answers and their soft scores, and leaves out, with a message,
    questions of which no answer is listed (unilm/beit3, datasets.py).
    Evaluation (`test_mode=True`) keeps all questions, and adds `answers`, the
    ten answers as they are, and `answer_type`; without `ann_file` it is the
    test set, whose answers are not public.

    The official recipe trains on train2014 and val2014 but for 1000 images
    of the latter, drawn anew by each run of its code. Here a fixed hash of
    the image id draws them: `split='held_out'` are their questions,
    `split='train'` all others.

    Args:
        question_file: `v2_OpenEnded_mscoco_*_questions.json`.
        ann_file: `v2_mscoco_*_annotations.json`, of the same questions.
        answer_file: The list of answers (`read_answers`); a label is the
            number of a line. For training. Its path is taken as it is, not
            below `data_root`, as the metric's.
        split: None for all questions, 'train' or 'held_out'.
        num_held_out: Number of images that are held out.
        image_name: Name of an image's file, with its id in it, such as
            'COCO_val2014_{image_id:012d}.jpg'.
        **kwargs: Arguments of mmengine's `BaseDataset`; images lie in
            `data_prefix['img_path']`.

    Raises:
        FileNotFoundError: If a file or the folder of images is missing.
        ValueError: If arguments do not fit each other, the files are others
            or not of the same questions, a question id is there twice, or no
            question is left.

    Example:
        >>> dict(
        ...     type='beit3_mm.VQAv2Dataset',
        ...     data_root='data/coco/',
        ...     question_file='vqa/v2_OpenEnded_mscoco_val2014_questions.json',
        ...     ann_file='vqa/v2_mscoco_val2014_annotations.json',
        ...     split='held_out',
        ...     data_prefix=dict(img_path='val2014/'),
        ...     image_name='COCO_val2014_{image_id:012d}.jpg',
        ...     test_mode=True,
        ... )
    """

    def __init__(
        self,
        question_file: str,
        ann_file: str = '',
        answer_file: str = '',
        split: str | None = None,
        num_held_out: int = 1000,
        *,
        image_name: str,
        test_mode: bool = False,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'{split=} must be one of {SPLITS}')
        if not test_mode and not (ann_file and answer_file):
            raise ValueError(
                'training needs ann_file and answer_file, not '
                f'{ann_file=} and {answer_file=}; an evaluation sets '
                'test_mode=True'
            )
        if '{image_id' not in image_name:
            raise ValueError(
                f'{image_name=} must hold the image_id, as in {IMAGE_NAME!r}'
            )
        self.question_file = question_file
        self.answer_file = answer_file
        self.split = split
        self.num_held_out = num_held_out
        self.image_name = image_name
        super().__init__(ann_file=ann_file, test_mode=test_mode, **kwargs)

    def _join_prefix(self) -> None:  # mmengine's name
        super()._join_prefix()
        self.question_file = self.join_root(self.question_file)

    @property
    def sample_file(self) -> str:
        """The file that lists the samples."""
        return self.question_file

    def read_samples(self) -> list[dict]:
        """Reads questions and, where there are some, answers."""
        samples = self._read_questions()
        if self.ann_file:
            self._add_annotations(samples)
        chosen = list(samples.values())
        if self.split is not None:
            held_out = draw_held_out(
                {sample['image_id'] for sample in chosen},
                self.num_held_out,
                self.question_file,
            )
            wanted = self.split == 'held_out'
            chosen = [
                sample
                for sample in chosen
                if (sample['image_id'] in held_out) == wanted
            ]
        return chosen if self.test_mode else self._with_targets(chosen)

    def _read_questions(self) -> dict[int | str, dict]:
        """Returns the sample of each question id."""
        content = read_json(self.question_file)
        questions = get_field(content, 'questions', list, self.question_file)
        samples: dict[int | str, dict] = {}
        places: dict[int | str, str] = {}
        for number, question in enumerate(questions):
            where = f'{self.question_file}, questions[{number}]'
            question_id = get_field(question, 'question_id', ID, where)
            add_once(places, question_id, 'question_id', where)
            image_id = get_field(question, 'image_id', ID, where)
            samples[question_id] = dict(
                img_path=self.image_path(self._image_name(image_id, where)),
                image_id=image_id,
                question_id=question_id,
                text=get_field(question, 'question', str, where),
            )
        return samples

    def _image_name(self, image_id: int | str, where: str) -> str:
        try:
            return self.image_name.format(image_id=image_id)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f'image_name={self.image_name!r} cannot name image '
                f'{image_id!r} ({where}): {error}; it should be like '
                f'{IMAGE_NAME!r}'
            ) from error

    def _add_annotations(self, samples: dict[int | str, dict]) -> None:
        """Adds answers to the samples of all questions."""
        content = read_json(self.ann_file)
        annotations = get_field(content, 'annotations', list, self.ann_file)
        labels = {}
        if not self.test_mode:
            answers = read_answers(self.answer_file)
            labels = {answer: label for label, answer in enumerate(answers)}
            self._metainfo['classes'] = tuple(answers)
        places: dict[int | str, str] = {}
        for number, annotation in enumerate(annotations):
            where = f'{self.ann_file}, annotations[{number}]'
            question_id = get_field(annotation, 'question_id', ID, where)
            add_once(places, question_id, 'question_id', where)
            if question_id not in samples:
                raise ValueError(
                    f'{where}: question_id {question_id!r} is not in '
                    f'{self.question_file}: take both files of one split'
                )
            truth = self._read_truth(annotation, labels, where)
            samples[question_id].update(truth)
        missing = [i for i in samples if i not in places]
        if missing:
            raise ValueError(
                f'{self.ann_file} has no answers to {len(missing)} of '
                f'{len(samples)} questions of {self.question_file}, such as '
                f'question_id {missing[0]!r}: take both files of one split'
            )

    def _read_truth(
        self, annotation: dict, labels: dict[str, int], where: str
    ) -> dict[str, Any]:
        """Returns what an annotation adds to the sample of its question."""
        given = [
            get_field(answer, 'answer', str, where)
            for answer in get_field(annotation, 'answers', list, where)
        ]
        if not self.test_mode:
            return soft_targets(given, labels)
        require_enough(given, where)
        truth: dict[str, Any] = dict(answers=given)
        if 'answer_type' in annotation:
            answer_type = get_field(annotation, 'answer_type', str, where)
            truth['answer_type'] = answer_type
        return truth

    def _with_targets(self, samples: list[dict]) -> list[dict]:
        """Leaves out questions of which no answer is listed."""
        kept = [sample for sample in samples if sample['answer_labels']]
        if not kept:
            raise ValueError(
                f'{self.ann_file}: of {len(samples)} questions none has an '
                f'answer that is in {self.answer_file}; the list must be made '
                'of these annotations, see tools/dataset_converters/'
                'vqa_answers.py'
            )
        if len(kept) < len(samples):
            self.log(
                f'left out {len(samples) - len(kept)} of {len(samples)} '
                f'questions, none of whose answers is in {self.answer_file}'
            )
        return kept


def soft_targets(given: list[str], labels: dict[str, int]) -> dict[str, list]:
    """Returns labels and scores of those answers that are listed.

    As in the official code, answers are compared as they are: those of the
    published files are normalised, as those of the list.

    Args:
        given: The answers of ten people.
        labels: Label of each listed answer.
    """
    counts = Counter(answer for answer in given if answer in labels)
    return dict(
        answer_labels=[labels[answer] for answer in counts],
        answer_scores=[
            SCORES[min(count, len(SCORES) - 1)] for count in counts.values()
        ],
    )


def draw_held_out(
    image_ids: Collection[Any], number: int, source: str
) -> set[Any]:
    """Draws the images that are held out, the same ones in every run.

    Args:
        image_ids: Ids of all images, in any order.
        number: How many are drawn.
        source: The file that they are of, for the error.

    Raises:
        ValueError: If none or all would be held out.
    """
    if not 0 < number < len(image_ids):
        raise ValueError(
            f'num_held_out={number} must be at least 1 and less than the '
            f'{len(image_ids)} images of {source}'
        )
    # A hash, as generators of random numbers may change with their library
    ordered = sorted(image_ids, key=lambda image_id: _digest(str(image_id)))
    return set(ordered[:number])


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
