# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""`tools/test.py` on a vision-language task: questions about two images."""

import json
import os

import numpy as np
import pytest
import tiny_tasks
from mmengine.config import Config
from PIL import Image

QUESTIONS = ['how many red', 'left of', 'the blue square', 'above', 'circles']


@pytest.fixture
def task(tokenizer_file, tmp_path):
    """Returns config and checkpoint; the config has no answers of people."""
    for i in range(2):
        pixels = np.full((20, 30, 3), 200 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'{i}.png')
    questions = [
        dict(question_id=10 + i, image_id=i % 2, question=text)
        for i, text in enumerate(QUESTIONS)
    ]
    annotations = [
        dict(
            question_id=10 + i,
            image_id=i % 2,
            answer_type='other',
            multiple_choice_answer='two',
            answers=[dict(answer='two', answer_id=n) for n in range(10)],
        )
        for i in range(5)
    ]
    for name, content in (
        ('questions', questions),
        ('annotations', annotations),
    ):
        path = tmp_path / f'{name}.json'
        path.write_text(json.dumps({name: content}))
    path, checkpoint = tiny_tasks.write('vqa', tokenizer_file, tmp_path)
    config = Config.fromfile(path)
    config.test_dataloader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='mmengine.DefaultSampler', shuffle=False),
        dataset=dict(
            type='beit3_mm.VQAv2Dataset',
            data_root=str(tmp_path),
            question_file='questions.json',
            data_prefix=dict(img_path=''),
            image_name='{image_id}.png',
            test_mode=True,
            pipeline=config.test_dataloader.dataset.pipeline,
        ),
    )
    config.test_cfg = dict(type='mmengine.TestLoop')
    config.work_dir = str(tmp_path / 'work')
    config.dump(path)
    return path, checkpoint


def test_a_score(run_tool, task, capsys):
    options = ('--cfg-options', 'test_dataloader.dataset.ann_file=')
    run_tool('test', *task, options[0], f'{options[1]}annotations.json')
    out = capsys.readouterr().out
    assert 'vqa/score:' in out
    assert 'vqa/score_other:' in out


@pytest.mark.parametrize('in_config', [False, True])
def test_a_file_for_the_test_server(
    run_tool, task, tmp_path, capsys, in_config
):
    out = tmp_path / 'new/dev.json'
    out.parent.mkdir()
    earlier = out.with_name('dev.caption.json')
    earlier.write_text('[]')
    os.utime(earlier, (0, 0))  # of another run
    format_only = ['--format-only']
    if in_config:
        options = 'test_evaluator.format_only=True'
        format_only = ['--cfg-options', options]
    run_tool('test', *task, '--out', out, *format_only)
    printed = capsys.readouterr().out
    path = tmp_path / 'new/dev.vqa.json'
    assert f'predictions: {path}\n' in printed
    assert 'vqa/score' not in printed
    answers = json.loads(path.read_text())
    assert [answer['question_id'] for answer in answers] == [*range(10, 15)]
    assert {answer['answer'] for answer in answers} <= set(tiny_tasks.ANSWERS)


def test_another_tokenizer(run_tool, task):
    option = 'model.backbone.vocab_size=37'
    with pytest.raises(SystemExit, match=r'tiny\.spm has 38 ids') as end:
        run_tool('test', *task, '--cfg-options', option)
    assert 'Traceback' not in end.value.code


def test_answers_of_people_are_missing(run_tool, task, caplog):
    with pytest.raises(SystemExit, match=r"needs 'answers'.*format_only=True"):
        run_tool('test', *task)
