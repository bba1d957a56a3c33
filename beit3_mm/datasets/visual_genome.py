# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Questions of Visual Genome, which add to the training set of VQAv2."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from beit3_mm.datasets.annotation_files import get_field, read_json
from beit3_mm.datasets.vision_language import VisionLanguageDataset
from beit3_mm.datasets.vqav2 import draw_held_out
from beit3_mm.evaluation.vqa_answers import normalize_answer, read_answers
from beit3_mm.registry import DATASETS


@DATASETS.register_module()
class VisualGenomeQADataset(VisionLanguageDataset):
    """Reads Visual Genome's `question_answers.json`, for training.

    A sample is a question: `img_path`, `image_id`, `question_id` (`qa_id`),
    `text`, and its one answer as `answer_labels` and `answer_scores` [1.0].
    Answers are sentences of a person, such as 'Two.': they are normalised.
    Ids may occur twice: in training nothing is scored by them.
    Questions whose answer is not listed are left out, with a message; the
    official code has no Visual Genome, BEiT-3's README names it for the large
    VQA model at 768 pixels.

    About half of the images are COCO's, of its validation set too: with
    `held_out_file`, questions about images that `VQAv2Dataset` holds out are
    left out as well, so that what chooses the best model stays unseen.

    Args:
        ann_file: `question_answers.json`.
        image_file: `image_data.json`: the folder of each image, and its COCO
            id.
        answer_file: The list of answers of VQAv2, as of `VQAv2Dataset`.
        held_out_file: Question file of VQAv2's validation set, of which
            `VQAv2Dataset(split='held_out')` is made; like `answer_file` not
            below `data_root`.
        num_held_out: As of `VQAv2Dataset`.
        **kwargs: Arguments of mmengine's `BaseDataset`; the folders
            `VG_100K/` and `VG_100K_2/` lie in `data_prefix['img_path']`.

    Raises:
        FileNotFoundError: If a file or a folder of images is missing.
        ValueError: If a file is another one, a question is about an image
            that `image_file` does not list, or no question is left.

    Example:
        >>> dict(
        ...     type='beit3_mm.VisualGenomeQADataset',
        ...     data_root='data/visual_genome/',
        ...     ann_file='question_answers.json',
        ...     image_file='image_data.json',
        ...     answer_file='data/coco/vqa/answers.txt',
        ... )
    """

    def __init__(
        self,
        ann_file: str,
        image_file: str,
        answer_file: str,
        held_out_file: str = '',
        num_held_out: int = 1000,
        **kwargs: Any,
    ) -> None:
        self.image_file = image_file
        self.answer_file = answer_file
        self.held_out_file = held_out_file
        self.num_held_out = num_held_out
        super().__init__(ann_file=ann_file, **kwargs)

    def _join_prefix(self) -> None:  # mmengine's name
        super()._join_prefix()
        self.image_file = self.join_root(self.image_file)

    def read_samples(self) -> list[dict]:
        """Reads the questions that have a listed answer."""
        answers = read_answers(self.answer_file)
        self._metainfo['classes'] = tuple(answers)
        labels = {answer: label for label, answer in enumerate(answers)}
        images = self._read_images()
        held_out = self._held_out_images(images)
        samples, counts = [], Counter()
        for where, question in self._read_questions():
            image_id = get_field(question, 'image_id', int, where)
            if image_id not in images:
                raise ValueError(
                    f'{where}: a question about image {image_id}, which '
                    f'{self.image_file} does not list'
                )
            answer = get_field(question, 'answer', str, where)
            label = labels.get(normalize_answer(answer))
            if label is None or image_id in held_out:
                counts['unlisted' if label is None else 'held out'] += 1
                continue
            samples.append(
                dict(
                    img_path=images[image_id]['img_path'],
                    image_id=image_id,
                    question_id=get_field(question, 'qa_id', int, where),
                    text=get_field(question, 'question', str, where),
                    answer_labels=[label],
                    answer_scores=[1.0],
                )
            )
        self.log(
            f'left out {counts["unlisted"]} questions whose answer is not in '
            f'{self.answer_file}, and {counts["held out"]} about images of '
            f'COCO that are held out; {len(samples)} are left'
        )
        return samples

    def _read_questions(self) -> Iterator[tuple[str, dict]]:
        """Yields each question and its place."""
        for where, record in _read_list(self.ann_file):
            for question in get_field(record, 'qas', list, where):
                yield where, question

    def _read_images(self) -> dict[int, dict]:
        """Returns path and COCO id of each image id."""
        images: dict[int, dict] = {}
        for where, record in _read_list(self.image_file):
            image_id = get_field(record, 'image_id', int, where)
            # '.../VG_100K_2/1.jpg': the folder is not in the ids
            name = get_field(record, 'url', str, where).split('/')[-2:]
            images[image_id] = dict(
                img_path=self.image_path(*name), coco_id=record.get('coco_id')
            )
        return images

    def _held_out_images(self, images: dict[int, dict]) -> set[int]:
        if not self.held_out_file:
            return set()
        content = read_json(self.held_out_file)
        questions = get_field(content, 'questions', list, self.held_out_file)
        coco_ids = draw_held_out(
            {
                get_field(question, 'image_id', int, self.held_out_file)
                for question in questions
            },
            self.num_held_out,
            self.held_out_file,
        )
        return {i for i, x in images.items() if x['coco_id'] in coco_ids}


def _read_list(path: str) -> Iterator[tuple[str, dict]]:
    """Yields the items of a JSON list and their places."""
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(f'{path}: expected a list, not {content!r:.60}')
    for number, record in enumerate(content):
        yield f'{path}, [{number}]', record
