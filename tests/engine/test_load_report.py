# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import torch
from official_weights import build, official

from beit3_mm.engine.load_report import group_layers
from beit3_mm.engine.loading import load_weights


def test_layers_are_written_as_one_line():
    names = [f'encoder.layers.{i}.ffn.bias' for i in (0, 1, 2, 5)]
    assert group_layers(['a', *names, 'layers.x', 'mask.0.bias', 'a.b']) == [
        'a',
        'encoder.layers.0-2,5.ffn.bias',
        'layers.x',
        'mask.0.bias',
        'a.b',
    ]
    assert group_layers([f'layers.{i}' for i in (9, 10)]) == ['layers.9-10']


def test_a_file_of_another_task_and_input_size():
    model = build('nlvr2', img_size=48)
    weights = official('vqa')
    report = load_weights(model, weights, 'a.pth')
    assert not report.complete
    assert str(report).splitlines() == [
        '87 weights loaded from a.pth',
        '1 of them resized to this input size:',
        '  backbone.vision_embedding.positions.weight: (19, 24) in the '
        'checkpoint, (39, 24) in the model',
        '12 not in the checkpoint, fresh:',
        *[
            f'  backbone.encoder.norm.{expert}.{leaf}'
            for expert in ('vision', 'language')
            for leaf in ('weight', 'bias')
        ],
        *[
            f'  head.{part}.{leaf}'
            for part in ('norm1', 'dense1', 'norm2', 'dense2')
            for leaf in ('weight', 'bias')
        ],
        '10 not in the model, unused:',
        *[f'  {name}' for name in weights if not name.startswith('beit3.')],
    ]


def test_a_vocabulary_of_another_size_stays_fresh():
    model = build('vqa', vocab_size=9, max_text_positions=7)
    before = model.backbone.text_embedding.words.weight.clone()
    report = load_weights(model, official('vqa'), 'a.pth')
    assert report.mismatched == {
        'backbone.text_embedding.words.weight': ((40, 24), (9, 24)),
        'backbone.text_embedding.positions.weight': ((20, 24), (7, 24)),
    }
    assert '2 of another shape in the checkpoint, fresh:' in str(report)
    torch.testing.assert_close(
        model.backbone.text_embedding.words.weight, before
    )
