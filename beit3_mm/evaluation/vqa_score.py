# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from collections import defaultdict
from pathlib import Path
from typing import Any

from beit3_mm.evaluation.sample_metric import (
    SampleMetric,
    field,
    plain,
    predicted_label,
    write_json,
)
from beit3_mm.evaluation.vqa_answers import read_answers, vqa_score
from beit3_mm.registry import METRICS


@METRICS.register_module()
class VQAScore(SampleMetric):
    """The official score of answers to questions about images, in per cent.

    A sample has `question_id`, `pred_label` and, but for `format_only`,
    `answers`, what ten people said. `answer_type` is optional: with it there
    is a figure for each type. An answer that people gave and that is not in
    the list cannot be told; it makes the question score less, as it should.

    Figures: `vqa/score`, and `vqa/score_yes_no`, `vqa/score_number`,
    `vqa/score_other`. Written are `<outfile_prefix>.vqa.json`: a list of
    `question_id` and `answer`, which the test server takes.

    Args:
        answer_file: The list of answers (`read_answers`).
        outfile_prefix: Where to write answers, without the suffix.
        format_only: Writes answers and computes no score.
        collect_device: 'cpu' or 'gpu': how results travel.
        prefix: In front of the names of the figures, instead of 'vqa'.

    Raises:
        FileNotFoundError: If there is no list of answers.
        ValueError: If it is no such list; in use, if a field is missing, a
            label is not of the list, scores are not finite, or two samples
            have one `question_id`.

    Example:
        >>> dict(type='beit3_mm.VQAScore', answer_file='answers.txt')
    """

    default_prefix = 'vqa'

    def __init__(
        self,
        answer_file: str,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            'question_id', outfile_prefix, format_only, collect_device, prefix
        )
        self.answer_file = answer_file
        self.answers = read_answers(answer_file)

    def read(self, sample: dict) -> dict[str, Any]:
        """Returns the answer in words, and what it is compared with."""
        question_id = plain(field(sample, 'question_id', 'VQAScore'))
        label = predicted_label(sample, 'VQAScore')
        if not 0 <= label < len(self.answers):
            raise ValueError(
                f'pred_label {label} of question {question_id} is not of '
                f'{self.answer_file}, which has {len(self.answers)} answers: '
                "num_answers of the head and the list must be the training's"
            )
        result = dict(question_id=question_id, answer=self.answers[label])
        if not self.format_only:
            result['given'] = list(field(sample, 'answers', 'VQAScore'))
            result['answer_type'] = sample.get('answer_type')
        return result

    def write(self, results: list[dict[str, Any]]) -> list[Path]:
        """Writes the answers for the test server."""
        content = [
            {key: result[key] for key in ('question_id', 'answer')}
            for result in results
        ]
        return [write_json(f'{self.outfile_prefix}.vqa.json', content)]

    def score(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Returns the mean of the scores, and those of the answer types."""
        scores = defaultdict(list)
        for result in results:
            score = 100 * vqa_score(result['answer'], result['given'])
            scores['score'].append(score)
            if result['answer_type'] is not None:
                kind = result['answer_type'].replace('/', '_')
                scores[f'score_{kind}'].append(score)
        return {name: sum(x) / len(x) for name, x in scores.items()}
