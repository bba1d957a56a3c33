# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Validation by the buffers that a checkpoint holds."""

from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from beit3_mm.registry import HOOKS


@HOOKS.register_module()
class BroadcastBuffersHook(Hook):
    """Gives all processes the first one's buffers before each validation.

    In each process batch norms keep running means of what it saw; a
    checkpoint holds those of the first, with which all go on after a resume.
    With them in every validation, metrics of a resumed run are those of the
    uninterrupted one, and of the checkpoint. mmengine's `SyncBuffersHook`
    takes the mean over processes, which a checkpoint from before does not
    hold.
    """

    # Behind EMAHook, which exchanges weights and perhaps buffers.
    priority = 'LOW'

    def before_val_epoch(self, runner: Runner) -> None:
        """Sends the buffers."""
        if get_world_size() > 1:
            for buffer in runner.model.buffers():
                broadcast(buffer)
