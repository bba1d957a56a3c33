# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from beit3_mm.evaluation.sample_metric import SampleMetric, field, plain


class Mean(SampleMetric):
    default_prefix = 'mean'

    def read(self, sample):
        return dict(key=sample['key'], value=field(sample, 'value', 'Mean'))

    def score(self, results):
        return {'value': sum(x['value'] for x in results) / len(results)}


def evaluate(keys, size, **options):
    metric = Mean(**options)
    metric.process(None, [dict(key=key, value=2.0) for key in keys])
    return metric.evaluate(size)


def test_samples_that_fill_the_last_batch_are_dropped():
    assert evaluate([1, 2, 3, 1], 3, id_key='key') == {'mean/value': 2}


@pytest.mark.parametrize(
    ('keys', 'size', 'error'),
    [
        ([], 0, 'Mean has predictions of 0 of 0 samples'),
        ([], 2, 'Mean has predictions of 0 of 2 samples; the dataloader'),
        ([1, 2], 3, 'of 2 of 3 samples; .*DefaultSampler.*drop_last=False'),
        ([1, 2, 1], 3, r'Mean: 1 keys are there more than once, .*\[1\]: the'),
    ],
)
def test_results_that_are_not_those_of_the_data_set(keys, size, error):
    with pytest.raises(ValueError, match=error):
        evaluate(keys, size, id_key='key')


def test_without_a_key_samples_may_be_alike():
    assert evaluate([1, 1], 2) == {'mean/value': 2}


def test_a_metric_without_a_format():
    with pytest.raises(TypeError, match='Mean has no format of predictions'):
        evaluate([1], 1, outfile_prefix='x')
    with pytest.raises(ValueError, match='format_only=True needs outfile_pr'):
        Mean(format_only=True)


def test_a_sample_without_its_field_is_named():
    sample = dict(image_id=3, img_path='a.jpg', value=None)
    match = "Mean needs 'value' of .*3, 'img_path': 'a.jpg'}: the data set"
    with pytest.raises(ValueError, match=match):
        field(sample, 'value', 'Mean')
    with pytest.raises(ValueError, match=r"'pred_ids' of .*mode='predict'"):
        field(sample, 'pred_ids', 'Mean')


def test_plain_numbers():
    for value in (torch.tensor(3), np.int64(3), 3):
        assert type(plain(value)) is int
    assert plain('dev-1') == 'dev-1'
