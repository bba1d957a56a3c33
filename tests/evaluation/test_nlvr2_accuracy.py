# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import pytest
import torch
from mmengine.registry import METRICS

from beit3_mm.evaluation import NLVR2Accuracy

NAN = torch.full((2,), torch.nan)


def sample(identifier, pred, truth=None):
    result = dict(identifier=identifier, pred_label=torch.tensor(pred))
    if truth is not None:
        result['gt_label'] = torch.tensor([truth])
    return {k: v for k, v in result.items() if v is not None}


# Sentence 0 of set 850 is told of two pairs; so is 1, and 0 of set 85.
SAMPLES = [
    sample('dev-850-0-0', 1, 1),
    sample('dev-850-0-1', 1, 1),
    sample('dev-850-1-0', 0, 1),
    sample('dev-850-1-1', 0, 0),
    sample('dev-85-0-0', 1, 1),
    sample('dev-85-2-0', 0, 0),
]


def test_accuracy_and_consistency():
    metric = METRICS.build(dict(type='beit3_mm.NLVR2Accuracy'))
    metric.process(None, SAMPLES)
    assert metric.evaluate(6) == pytest.approx(
        {'nlvr2/accuracy': 500 / 6, 'nlvr2/consistency': 200 / 3}
    )


def test_files(tmp_path):
    metric = NLVR2Accuracy(str(tmp_path / 'out/dev'), format_only=True)
    metric.process(None, [sample('dev-1-0-0', 1), sample('dev-1-1-0', 0)])
    assert metric.evaluate(2) == {}
    assert (tmp_path / 'out/dev.nlvr2.csv').read_text() == (
        'dev-1-0-0,True\ndev-1-1-0,False\n'
    )
    assert json.loads((tmp_path / 'out/dev.nlvr2.json').read_text()) == [
        dict(identifier='dev-1-0-0', prediction='True'),
        dict(identifier='dev-1-1-0', prediction='False'),
    ]


@pytest.mark.parametrize(
    ('samples', 'error'),
    [
        ([sample(None, 1, 1)], "NLVR2Accuracy needs 'identifier'"),
        ([sample('dev-1-0-0', 1)], "needs 'gt_label'.*format_only=True"),
        ([dict(identifier='d-1-0-0')], "needs 'pred_label' of .*'d-1-0-0'"),
        ([sample('dev-1-0-0', 2, 1)], r'pred_label 2 of dev-1-0-0 must be 0'),
        ([sample('dev-1-0-0', 0, -1)], r'gt_label -1 of dev-1-0-0 must be 0'),
        (
            [sample('dev-1-0-0', 0, 0) | dict(pred_scores=NAN)],
            "pred_scores of .*'dev-1-0-0'} are not finite: the model has",
        ),
        ([sample('dev-1', 0, 0)], "'dev-1' must be split-set-pair-sentence"),
        (SAMPLES[:2] + SAMPLES[:1], r"identifiers .*once.*\['dev-850-0-0'\]"),
    ],
)
def test_bad_samples(samples, error):
    metric = NLVR2Accuracy()
    with pytest.raises(ValueError, match=error):
        metric.process(None, samples)
        metric.evaluate(len(samples))
