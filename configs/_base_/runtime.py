# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# What every recipe shares: hooks, logging, processes, seed.
# A final config names its host's `visualizer` and drawing hook, for example
# dict(type='mmdet.DetLocalVisualizer'), which keeps the `vis_backends`. Every
# type here and in the recipes carries its scope, so no host is the default.
default_scope = 'mmengine'

default_hooks = dict(
    timer=dict(type='mmengine.IterTimerHook'),
    logger=dict(type='mmengine.LoggerHook', interval=50),
    param_scheduler=dict(type='mmengine.ParamSchedulerHook'),
    checkpoint=dict(
        type='mmengine.CheckpointHook', interval=1, max_keep_ckpts=3
    ),
    # Checkpoints that load without unpickling and survive a kill.
    safe_checkpoint=dict(type='beit3_mm.SafeCheckpointHook'),
    # Official ones and ours, with a report of what was loaded.
    load_checkpoint=dict(type='beit3_mm.LoadCheckpointHook'),
    # The order of samples does not depend on processes or resumes.
    sampler_seed=dict(type='beit3_mm.SampleOrderHook'),
    # Nor do the model's draws depend on resumes: dropped paths, masks.
    iteration_seed=dict(type='beit3_mm.IterationSeedHook'),
    # All processes validate the batch norms that a checkpoint holds.
    broadcast_buffers=dict(type='beit3_mm.BroadcastBuffersHook'),
    # A loss that is not finite ends the run before it is saved.
    finite_loss=dict(type='beit3_mm.FiniteLossHook'),
    # SIGTERM saves a checkpoint first.
    preemption=dict(type='beit3_mm.PreemptionHook'),
)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)

vis_backends = [
    dict(type='mmengine.LocalVisBackend'),
    dict(type='mmengine.TensorboardVisBackend'),
]
visualizer = dict(type='mmengine.Visualizer', vis_backends=vis_backends)
log_processor = dict(
    type='mmengine.LogProcessor', window_size=50, by_epoch=True
)
log_level = 'INFO'

# The seeds with which processes start differ, as those of each iteration do
# (IterationSeedHook); samples are seeded one by one.
randomness = dict(seed=0, diff_rank_seed=True)
load_from = None
resume = False
