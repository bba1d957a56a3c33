# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# ViT-Adapter's schedule for Mask2Former: 80,000 steps of 16 images, AdamW
# ([ViT-Adapter]: mask2former_beitv2_adapter_large_896_80k_ade20k_ss.py).
max_iters = 80000
train_cfg = dict(
    type='mmengine.IterBasedTrainLoop',
    max_iters=max_iters,
    val_interval=8000,  # ours
)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')

optim_wrapper = dict(
    type='mmengine.OptimWrapper',  # --amp computes in bfloat16
    constructor='beit3_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=2e-5, betas=(0.9, 0.999), weight_decay=0.05
    ),
    paramwise_cfg=dict(
        layer_decay_rate=0.9,
        # its constructor exempts all parameters of one dimension
        flat_decay_mult=0.0,
    ),
)
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-6,
        by_epoch=False,
        begin=0,
        end=1500,
    ),
    dict(
        type='mmengine.PolyLR',
        power=1.0,
        eta_min=0.0,
        by_epoch=False,
        begin=1500,
        end=max_iters,
    ),
]
# 16 processes of 1 image; the learning rate is for this batch.
auto_scale_lr = dict(base_batch_size=16, enable=False)
