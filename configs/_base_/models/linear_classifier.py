# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3's vision half with the released linear classifier, inside
# mmpretrain's. Numbers: unilm/beit3, run_beit3_finetuning.py [official code].
# Final configs add backbone=dict(**arch, drop_path_rate=...) and
# head.embed_dims.
num_classes = 1000
model = dict(
    type='mmpretrain.ImageClassifier',
    _scope_='mmpretrain',
    data_preprocessor=dict(
        type='mmpretrain.ClsDataPreprocessor',
        # ImageNet's, as timm's (unilm/beit3, datasets.py)
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
        num_classes=num_classes,
        # One of the two for a batch, drawn evenly (mixup_switch_prob 0.5)
        batch_augments=dict(
            augments=[
                dict(type='mmpretrain.Mixup', alpha=0.8),
                dict(type='mmpretrain.CutMix', alpha=1.0),
            ]
        ),
    ),
    backbone=dict(type='beit3_mm.BEiT3ViT', with_cls_token=True),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head=dict(
        type='beit3_mm.ClassificationHead',
        num_classes=num_classes,
        label_smoothing=0.1,
    ),
)
