# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json
import math

import pytest
import torch
from mmengine.registry import METRICS
from mmengine.structures import BaseDataElement

from beit3_mm.evaluation import VQAScore

ANSWERS = ['yes', 'no', '2', 'red']


@pytest.fixture
def answer_file(tmp_path):
    path = tmp_path / 'answers.txt'
    path.write_text(''.join(f'{answer}\n' for answer in ANSWERS))
    return str(path)


def sample(question_id, label, answers=None, kind=None, **fields):
    """A predicted sample as mmengine hands it to a metric."""
    meta = dict(question_id=question_id, answers=answers, answer_type=kind)
    meta = {key: value for key, value in meta.items() if value is not None}
    element = BaseDataElement(metainfo=meta, **fields)
    if label is not None:
        element.pred_label = torch.tensor(label)
    return element.to_dict()


SAMPLES = [
    sample(7, 0, ['yes'] * 10, 'yes/no'),  # 1
    sample(5, 1, ['no'] * 2 + ['yes'] * 8, 'yes/no'),  # 0.6
    sample(9, 2, ['2', '3'] + ['many'] * 8, 'number'),  # 0.3
    sample(1, 3, ['crimson'] * 10, 'other'),  # is not in the list
]


def test_the_score(answer_file):
    metric = METRICS.build(
        dict(type='beit3_mm.VQAScore', answer_file=answer_file)
    )
    metric.process(None, SAMPLES[:3])
    metric.process(None, SAMPLES[3:])
    assert metric.evaluate(4) == pytest.approx(
        {
            'vqa/score': 47.5,
            'vqa/score_yes_no': 80,
            'vqa/score_number': 30,
            'vqa/score_other': 0,
        }
    )


def test_without_types_there_is_one_figure(answer_file):
    metric = VQAScore(answer_file, prefix='held_out')
    metric.process(None, [sample(1, 3, ['red'] * 10)])
    assert metric.evaluate(1) == {'held_out/score': 100}


def test_a_file_for_the_test_server(answer_file, tmp_path):
    prefix = tmp_path / 'new/test-dev'
    metric = VQAScore(answer_file, str(prefix), format_only=True)
    metric.process(None, [sample(7, 0), sample(torch.tensor(5), [3])])
    assert metric.evaluate(2) == {}
    assert json.loads((tmp_path / 'new/test-dev.vqa.json').read_text()) == [
        dict(question_id=7, answer='yes'),
        dict(question_id=5, answer='red'),
    ]


def test_a_file_beside_the_score(answer_file, tmp_path):
    metric = VQAScore(answer_file, str(tmp_path / 'val'))
    metric.process(None, SAMPLES)
    assert metric.evaluate(4)['vqa/score'] == pytest.approx(47.5)
    assert len(json.loads((tmp_path / 'val.vqa.json').read_text())) == 4


@pytest.mark.parametrize(
    ('bad', 'error'),
    [
        (sample(5, None, ['no'] * 10), "needs 'pred_label'.*5}: the model se"),
        (sample(5, 0), "needs 'answers' of .*5}: the data set .*format_only"),
        (sample(None, 0, ['no'] * 10), "needs 'question_id' of the sample {"),
        (sample(5, 4, ['no'] * 10), r'pred_label 4 of question 5 is not of .*'
         r'answers\.txt, which has 4 answers: num_answers'),
        (sample(5, -1, ['no'] * 10), 'pred_label -1 of question 5'),
        (sample(5, 0, ['no']), '4 or more answers'),
        (sample(5, 0, ['no'] * 10, pred_scores=torch.tensor([0.1, math.nan])),
         "VQAScore: pred_scores of .*'question_id': 5} are not finite"),
    ],
)  # fmt: skip
def test_bad_samples(answer_file, bad, error):
    metric = VQAScore(answer_file)
    with pytest.raises(ValueError, match=error):
        metric.process(None, [bad])
        metric.evaluate(1)


def test_bad_arguments(tmp_path, answer_file):
    with pytest.raises(FileNotFoundError, match='no such list of answers'):
        VQAScore(str(tmp_path / 'nowhere.txt'))
    with pytest.raises(ValueError, match='format_only=True needs outfile_pre'):
        VQAScore(answer_file, format_only=True)
