# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import math

import pytest
import torch

from beit3_mm.evaluation import CodebookUsage


def evaluate(rows, num_codes=8):
    metric = CodebookUsage(num_codes)
    for row in rows:
        metric.process(None, [dict(pred_visual_ids=torch.tensor(row))])
    return metric.evaluate(len(rows))


def test_figures():
    figures = evaluate([[0, 1, 2, 3], [0, 1, 2, 3]])
    assert figures == {
        'codebook/usage': 50.0,
        'codebook/perplexity': pytest.approx(4.0),
        'codebook/most_frequent': 25.0,
    }
    figures = evaluate([[7, 7, 7], [7, 7, 5]])
    assert figures['codebook/usage'] == 25.0
    entropy = -(5 / 6 * math.log(5 / 6) + 1 / 6 * math.log(1 / 6))
    assert figures['codebook/perplexity'] == pytest.approx(math.exp(entropy))
    assert figures['codebook/most_frequent'] == pytest.approx(100 * 5 / 6)


def test_images_may_have_any_number_of_patches():
    assert evaluate([[0], [1, 2, 3]])['codebook/usage'] == 50.0


def test_ids_of_another_codebook():
    with pytest.raises(ValueError, match='0 to 8 are not of 8 codes'):
        evaluate([[0, 8]])
    with pytest.raises(ValueError, match="mode='predict'"):
        CodebookUsage(8).process(None, [dict()])
