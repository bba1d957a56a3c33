# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The visual tokenizer of generated scenes fits its teacher and students."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

CONFIGS = Path(__file__).parents[2] / 'projects/shapes/configs'


def test_it_fits_teacher_and_students():
    config = Config.fromfile(CONFIGS / 'pretrain/vqkd_shapes.py')
    students = Config.fromfile(CONFIGS / '_base_/language.py')
    side = students.shapes_size // students.shapes_form.patch_size
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    size = config.model.tokenizer.img_size
    for loader in (config.train_dataloader.dataset, config.val_dataloader):
        _, resize, *_ = loader.dataset.pipeline
        assert tuple(resize.scale) == (size, size)
    image = torch.rand(2, 3, size, size)
    losses = model(dict(image=image), mode='loss')
    assert losses['loss_teacher'].isfinite()
    ids = model(dict(image=image))
    assert ids.shape == (2, side**2)
    assert ids.max() < config.val_evaluator.num_codes
