# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Metrics of five samples on two processes: one sample is there twice."""

import os

import pytest
import torch
import torch.distributed as dist
from two_processes import run_in_two_processes

from beit3_mm.evaluation import (
    CaptionMetric,
    NLVR2Accuracy,
    RetrievalRecall,
    VQAScore,
)
from beit3_mm.tokenizer import Tokenizer

SIZE = 5
TEXTS = ['the red circle', 'a blue square', 'left of', 'above', 'many circles']
GIVEN = ['yes', 'no', 'yes', 'no', 'no']


def samples(folder):
    tokenizer = Tokenizer(folder / 'tiny.spm')
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(SIZE, 4, generator=generator)
    rows = []
    for i in range(SIZE):
        noise = torch.randn(1 + i % 3, 4, generator=generator)
        ids = [0, *tokenizer.encode(TEXTS[i]), 2]
        rows.append(
            dict(
                image_id=i,
                question_id=i,
                identifier=f'dev-{i // 2}-{i % 2}-0',
                pred_label=torch.tensor(i % 2),
                gt_label=torch.tensor([i > 2]),
                answers=[GIVEN[i]] * (2 + i) + ['maybe'] * (8 - i),
                pred_ids=torch.tensor(ids),
                captions=[f'{TEXTS[i]} of the square', TEXTS[i - 1]],
                image_embedding=images[i],
                text_embeddings=images[i] + 2 * noise,
            )
        )
    return rows


def evaluate(folder, rows):
    """Evaluates the samples that this process has."""
    prefix = str(folder / 'written')
    figures = {}
    for metric in (
        VQAScore(folder / 'answers.txt', prefix),
        NLVR2Accuracy(prefix),
        RetrievalRecall(topk=(1, 2)),
        CaptionMetric(folder / 'tiny.spm', outfile_prefix=prefix),
    ):
        for row in rows:  # batches of one
            metric.process(None, [row])
        figures |= metric.evaluate(SIZE)
    return figures


def work(folder):
    """As mmengine.DefaultSampler shares five samples out: 0 2 4 and 1 3 0."""
    os.chdir(folder)  # mmengine collects in a folder below
    rows = samples(folder)
    rank = dist.get_rank()
    return evaluate(folder, (rows + rows)[rank : SIZE + 1 : 2])


@pytest.fixture
def folder(tmp_path, tokenizer_file):
    (tmp_path / 'tiny.spm').write_bytes(tokenizer_file.read_bytes())
    (tmp_path / 'answers.txt').write_text('yes\nno\n')
    return tmp_path


def test_figures_are_those_of_one_process(folder):
    both = run_in_two_processes(work, folder, folder)
    written = {path: path.read_text() for path in folder.glob('written.*')}
    assert len(written) == 4
    for path in written:
        path.unlink()
    expected = evaluate(folder, samples(folder))
    assert both == [expected, expected]
    assert {path: path.read_text() for path in written} == written
    assert {name.split('/')[0] for name in expected} == {
        *('vqa', 'nlvr2', 'retrieval', 'caption')
    }
    assert 0 < expected['retrieval/mean_R'] < 100
    assert 0 < expected['nlvr2/accuracy'] < 100
