# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
from torch import nn

from beit3_mm.engine import ClassCountHook


def model(num_classes):
    """Returns an RPN and a head, as deep as in a detector."""
    detector = nn.ModuleDict({name: nn.Identity() for name in 'ab'})
    detector['rpn_head'] = rpn_head = nn.Identity()
    detector['heads'] = nn.ModuleList([nn.Identity()])
    rpn_head.num_classes = 1
    detector['heads'][0].num_classes = num_classes
    return detector


def loader(*classes):
    metainfo = dict(classes=classes) if classes else {}
    return SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))


def runner(num_classes, **loaders):
    stages = dict.fromkeys(('train', 'val', 'test'), loader('cat', 'dog'))
    loaders = {
        f'{stage}_dataloader': data
        for stage, data in (stages | loaders).items()
    }
    return SimpleNamespace(
        model=model(num_classes), val_loop=loaders['val_dataloader'], **loaders
    )


STAGES = ('before_train', 'before_val', 'before_test')


@pytest.mark.parametrize('stage', STAGES)
def test_heads_with_other_classes_are_named(stage):
    hook = ClassCountHook()
    getattr(hook, stage)(runner(2))
    for number in (1, 3):
        with pytest.raises(
            ValueError,
            match=rf'heads\.0 has num_classes={number}, but .* has 2 classes, '
            "from 'cat' to 'dog'",
        ):
            getattr(hook, stage)(runner(number))


def test_the_head_is_named_not_what_repeats_its_number():
    segmentor = runner(3)
    segmentor.model['heads'].num_classes = 3
    with pytest.raises(ValueError, match=r'^heads\.0 has num_classes=3'):
        ClassCountHook().before_test(segmentor)


def test_validation_data_are_checked_before_training():
    with pytest.raises(ValueError, match='has 1 classes'):
        ClassCountHook().before_train(runner(2, val=loader('cat')))
    without = runner(2)
    without.val_loop = without.val_dataloader = None
    ClassCountHook().before_train(without)


def test_data_that_name_no_classes_pass():
    ClassCountHook().before_test(runner(7, test=loader()))
