# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import pytest
import torch
from mmengine.registry import METRICS

from beit3_mm.evaluation import CaptionMetric, caption_metric
from beit3_mm.evaluation.caption_scores import bleu, cider_d, rouge_l
from beit3_mm.tokenizer import Tokenizer

PREDICTED = [
    'the red circle is left of the blue square',
    'the green triangle is above',
    '',
    'how many yellow squares are there',
]
TRUTHS = [
    ['The red circle is left of a square.', 'The circle is red!'],
    ['the triangle is green', 'The green triangle is above the square'],
    ['the blue square is below'],
    ['how many squares are there?', 'are there yellow squares', 'how many'],
]
DOMAINS = ['in-domain', 'out-domain', 'in-domain', 'near-domain']
NAMES = ('CIDEr', 'BLEU_1', 'BLEU_2', 'BLEU_3', 'BLEU_4', 'ROUGE_L')


@pytest.fixture
def make_samples(tokenizer_file):
    """Returns a function that makes predicted samples."""
    tokenizer = Tokenizer(tokenizer_file)

    def make(**lists):
        samples = []
        for i, text in enumerate(PREDICTED):
            # As the beam search leaves them: with the mask and padding
            ids = [0, *tokenizer.encode(text), tokenizer.mask_id, 2, 1, 1]
            sample = dict(image_id=10 + i, pred_ids=torch.tensor(ids))
            sample |= {key: values[i] for key, values in lists.items()}
            samples.append(sample)
        return samples

    return make


def expected(*numbers):
    """Returns the figures of some images."""
    captions = [PREDICTED[i].split() for i in numbers]
    truths = [
        [x.lower().strip('.?!').split() for x in TRUTHS[i]] for i in numbers
    ]
    values = [
        cider_d(captions, truths),
        *bleu(captions, truths),
        rouge_l(captions, truths),
    ]
    return dict(zip(NAMES, [100 * x for x in values]))


def evaluate(metric, samples):
    metric.process(None, samples[:3])
    metric.process(None, samples[3:])
    return metric.evaluate(len(samples))


def test_figures(make_samples, tokenizer_file):
    metric = METRICS.build(
        dict(type='beit3_mm.CaptionMetric', model_file=str(tokenizer_file))
    )
    figures = evaluate(metric, make_samples(captions=TRUTHS))
    scores = expected(0, 1, 2, 3)
    assert figures == pytest.approx(
        {f'caption/{name}': score for name, score in scores.items()}
    )
    assert figures['caption/CIDEr'] > 50


def test_figures_of_domains(make_samples, tokenizer_file):
    metric = CaptionMetric(tokenizer_file, ['CIDEr', 'BLEU'], prefix='nocaps')
    samples = make_samples(captions=TRUTHS, domain=DOMAINS)
    figures = evaluate(metric, samples)
    assert len(figures) == 20
    for suffix, numbers in {
        '': (0, 1, 2, 3),
        '_in': (0, 2),
        '_out': (1,),
        '_near': (3,),
    }.items():
        scores = expected(*numbers)
        for name in NAMES[:5]:
            score = figures[f'nocaps/{name}{suffix}']
            assert score == pytest.approx(scores[name], abs=1e-9)


def test_other_scores_come_from_java(
    make_samples, tokenizer_file, monkeypatch
):
    monkeypatch.setattr(caption_metric, 'require_java', lambda *names: None)
    calls = []

    def java_score(name, captions, references):
        calls.append((name, len(captions), len(references)))
        return 0.31

    monkeypatch.setattr(caption_metric, 'java_score', java_score)
    metric = CaptionMetric(tokenizer_file, 'METEOR')
    assert evaluate(metric, make_samples(captions=TRUTHS)) == {
        'caption/METEOR': pytest.approx(31)
    }
    assert calls == [('METEOR', 4, 4)]


def test_a_file_for_the_test_server(make_samples, tokenizer_file, tmp_path):
    metric = CaptionMetric(
        tokenizer_file, outfile_prefix=str(tmp_path / 'x'), format_only=True
    )
    ids = [torch.tensor(i) for i in range(4)]
    assert evaluate(metric, make_samples(image_id=ids)) == {}
    assert json.loads((tmp_path / 'x.caption.json').read_text()) == [
        dict(image_id=i, caption=text) for i, text in enumerate(PREDICTED)
    ]


@pytest.mark.parametrize(
    ('changes', 'error'),
    [
        ({}, "needs 'captions' of .*'image_id': 10}.*format_only=True"),
        ({'captions': [[]] * 4}, r'captions of image 10 must be .*not \[\]'),
        ({'captions': ['a'] * 4}, "captions of image 10 must be .*not 'a'"),
        ({'pred_ids': [None] * 4}, r"needs 'pred_ids' of .*mode='predict'"),
        ({'image_id': [None] * 4}, "CaptionMetric needs 'image_id'"),
        (
            {'captions': TRUTHS, 'domain': ['in-domain', None] * 2},
            r"some images have a domain \(\['in-domain'\]\) and some have non",
        ),
        (
            {'captions': TRUTHS, 'image_id': [5, 5, 6, 7]},
            r'1 image_ids are there more than once, such as \[5\]',
        ),
        ({'pred_ids': [torch.tensor([999])] * 4}, 'id 999 is not of .*tiny.s'),
    ],
)
def test_bad_samples(make_samples, tokenizer_file, changes, error):
    with pytest.raises(ValueError, match=error):
        evaluate(CaptionMetric(tokenizer_file), make_samples(**changes))


def test_bad_arguments(tokenizer_file, monkeypatch):
    for metrics in ('CIDER', ['BLEU', 'CIDEr-R'], []):
        with pytest.raises(ValueError, match=r"must be some of \['CIDEr', 'B"):
            CaptionMetric(tokenizer_file, metrics)
    with pytest.raises(FileNotFoundError, match='no such tokenizer model'):
        CaptionMetric('nowhere.spm')
    with pytest.raises(ValueError, match='format_only=True needs outfile_pre'):
        CaptionMetric(tokenizer_file, format_only=True)

    def refuse(*names):
        raise ImportError(f'no {names}')

    monkeypatch.setattr(caption_metric, 'require_java', refuse)
    with pytest.raises(ImportError, match='METEOR'):
        CaptionMetric(tokenizer_file, ['CIDEr', 'METEOR'])
