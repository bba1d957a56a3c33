# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Pretraining. Numbers: Table 11 [tables] and section 2.3 [text] of arXiv
# 2208.10442. They leave open the smallest rate and what is free of weight
# decay: BEiT v2's [official code: beit2, PRETRAINING.md and its optimizer].
# A schedule of other steps, as of a run with accumulated gradients, is
#     train_cfg = dict(max_iters=STEPS)
#     param_scheduler = [
#         dict(_base_.param_scheduler[0], end=WARM_UP),
#         dict(_base_.param_scheduler[1], begin=WARM_UP),
#     ]
lr = 1e-3
min_lr = 1e-5
train_cfg = dict(type='mmengine.IterBasedTrainLoop', max_iters=1000000)
# What is learnt shows in the accuracies of the masked tokens.
val_cfg = None
test_cfg = None

free = dict(decay_mult=0.0)
optim_wrapper = dict(
    # bfloat16 is ours; the paper names no precision
    type='beit3_mm.AmpOptimWrapper',
    constructor='beit3_mm.LayerDecayOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=lr, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05
    ),
    clip_grad=dict(max_norm=3.0),
    accumulative_counts=1,
    paramwise_cfg=dict(
        layer_decay_rate=1.0,
        # of one dimension or none: norms and biases
        flat_decay_mult=0.0,
        # the text's positions do decay, as in the released recipes
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
        end=10000,
        by_epoch=False,
    ),
    dict(
        type='mmengine.CosineAnnealingLR',  # up to the last step
        begin=10000,
        eta_min_ratio=min_lr / lr,
        by_epoch=False,
    ),
]
