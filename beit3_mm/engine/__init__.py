# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.engine.amp_optim_wrapper import AmpOptimWrapper
from beit3_mm.engine.broadcast_buffers import BroadcastBuffersHook
from beit3_mm.engine.class_count import ClassCountHook
from beit3_mm.engine.finite_loss import FiniteLossHook
from beit3_mm.engine.fsdp2_strategy import FSDP2Strategy
from beit3_mm.engine.iteration_seed import IterationSeedHook
from beit3_mm.engine.layer_decay import LayerDecayOptimWrapperConstructor
from beit3_mm.engine.load_checkpoint import LoadCheckpointHook
from beit3_mm.engine.preemption import PreemptionHook
from beit3_mm.engine.safe_checkpoint import SafeCheckpointHook
from beit3_mm.engine.sample_order import SampleOrderHook
from beit3_mm.engine.skipped_samples import SkippedSamplesHook

__all__ = [
    'AmpOptimWrapper',
    'BroadcastBuffersHook',
    'ClassCountHook',
    'FSDP2Strategy',
    'FiniteLossHook',
    'IterationSeedHook',
    'LayerDecayOptimWrapperConstructor',
    'LoadCheckpointHook',
    'PreemptionHook',
    'SafeCheckpointHook',
    'SampleOrderHook',
    'SkippedSamplesHook',
]
