# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# ViTDet's schedule on COCO: 100 epochs = 184,375 steps of 64 images, AdamW,
# rates from detectron2 projects/ViTDet ([ViTDet], configs/common/optim.py and
# COCO/*_100ep.py).
max_iters = 184375
train_cfg = dict(
    type='mmengine.IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=5000,  # [ViTDet] common/train.py, eval_period
)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')

optim_wrapper = dict(
    # [ViTDet] train.amp.enabled; bfloat16 instead of float16 is ours
    type='beit3_mm.AmpOptimWrapper',
    constructor='beit3_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1
    ),
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        norm_decay_mult=0.0,
        # [ViTDet] overrides of pos_embed; unilm/beit3 exempts it as well
        custom_keys={'vision_embedding.positions': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=0.001,
        by_epoch=False,
        begin=0,
        end=250,
    ),
    dict(
        type='mmengine.MultiStepLR',
        by_epoch=False,
        milestones=[163889, 177546],
        gamma=0.1,
    ),
]
# 64 processes of 1 image; the learning rate is for this batch.
auto_scale_lr = dict(base_batch_size=64, enable=False)
