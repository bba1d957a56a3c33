# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The demo's tasks, and what can be scored without looking."""

import json
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / 'projects/shapes'))
import baselines  # noqa: E402
import demo  # noqa: E402
import generate  # noqa: E402
import tasks  # noqa: E402

every_task = pytest.mark.parametrize('name', tasks.TASKS)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp('shapes') / 'data'
    assert generate.main([f'--out={out}', '--train=24', '--val=8']) == 0
    return out


@every_task
def test_a_task_has_a_config_and_a_metric(name):
    task = tasks.TASKS[name]
    config = Config.fromfile(ROOT / demo.CONFIGS / task.config)
    assert task.metrics
    assert config.train_dataloader.batch_size % 2 == 0
    read = json.dumps(config.to_dict())
    assert f'{tasks.DATA}/' in read
    for command in task.commands:
        assert command.file in read
    assert task.dense or name in baselines.BASELINES


@every_task
def test_a_task_starts_where_its_predecessor_ends(name):
    task = tasks.TASKS[name]
    config = Config.fromfile(ROOT / demo.CONFIGS / task.config)
    if task.start is None:
        assert config.load_from is None
        return
    before = Config.fromfile(
        ROOT / demo.CONFIGS / tasks.TASKS[task.start].config
    )
    steps = before.train_cfg.get('max_iters')
    last = f'iter_{steps}' if steps else f'epoch_{before.train_cfg.max_epochs}'
    assert config.load_from == f'{demo.Demo(task.start).folder}/{last}.pth'


@pytest.mark.parametrize('name', baselines.BASELINES)
def test_baselines(name, data):
    lines = baselines.BASELINES[name](data)
    figures = [
        float(word.strip(','))
        for word in ' '.join(lines).split()
        if word[0].isdigit()
    ]
    assert figures
    assert all(0 < figure < 100 for figure in figures)


def test_the_question_helps_to_guess(data):
    blind, text_only = (
        float(line.split()[-1]) for line in baselines.vqa(data)
    )
    assert blind < text_only


def test_statements_do_not_tell_their_truth(data):
    assert baselines.nlvr2(data)[0].startswith('always the same 50.0')


@pytest.mark.parametrize(
    ('name', 'number_of_texts'),
    [('vqa', 6), ('nlvr2', 3), ('retrieval', 4), ('caption', 0)],
)
def test_examples_are_held_out(name, number_of_texts, data, monkeypatch):
    monkeypatch.setattr(tasks, 'DATA', data)
    images, texts = tasks.example_inputs(name)
    assert len(images) == 4  # of 8, in turn with 'val'
    assert all(Path(image).is_file() for image in images)
    assert len(texts) == number_of_texts


def test_an_overview_holds_pictures_of_different_sizes(tmp_path):
    from PIL import Image

    for i, size in enumerate([(8, 4), (6, 6), (8, 6), (2, 2)]):
        Image.new('RGB', size, (200, 0, 0)).save(tmp_path / f'{i}.png')
    out = tmp_path / 'sheet' / 'overview.png'
    out.parent.mkdir()
    demo.overview(tmp_path, out)
    sheet = Image.open(out)
    assert sheet.size == (24, 12)
    assert sheet.getpixel((0, 6)) == (200, 0, 0)
    assert sheet.getpixel((23, 11)) == (255, 255, 255)
