# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Fine-tuning by epochs: AdamW with layer decay, linear warm-up and cosine per
# step. Numbers: unilm/beit3, run_beit3_finetuning.py, optim_factory.py and
# utils.py [official code], whose rates also serve where the paper is silent
# (smallest rate, what is free of weight decay, no clipping).
# Final configs set lr, weight decay, layer decay, epochs and the batch, and
#     param_scheduler = [
#         dict(_base_.param_scheduler[0], end=WARM_UP),
#         dict(
#             _base_.param_scheduler[1],
#             begin=WARM_UP,
#             eta_min_ratio=_base_.min_lr / lr,
#         ),
#     ]
lr = 3e-5
min_lr = 1e-6
train_cfg = dict(
    type='mmengine.EpochBasedTrainLoop',
    max_epochs=10,
    val_interval=1,
)
val_cfg = dict(type='mmengine.ValLoop')
test_cfg = dict(type='mmengine.TestLoop')

free = dict(decay_mult=0.0)
optim_wrapper = dict(
    # bfloat16 is ours; the official code computes in float16
    type='beit3_mm.AmpOptimWrapper',
    constructor='beit3_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05
    ),
    paramwise_cfg=dict(
        layer_decay_rate=1.0,
        # of one dimension or none: norms, biases, the logit scale
        flat_decay_mult=0.0,
        # the text's positions do decay
        custom_keys={
            'vision_embedding.cls_token': free,
            'vision_embedding.positions': free,
        },
    ),
)
param_scheduler = [
    dict(
        type='mmengine.LinearLR',
        start_factor=1e-6,  # in place of 0, by which mmengine would divide
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',  # up to the last epoch
        begin=1,
        # Every layer, and a head with a rate of its own, ends at the same
        # share of its rate.
        eta_min_ratio=min_lr / lr,
        convert_to_iter_based=True,
    ),
]
