# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Official checkpoints and ours as mmengine's runner loads them."""

from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from beit3_mm.checkpoint import CheckpointError
from beit3_mm.engine.loading import load_weights
from beit3_mm.registry import HOOKS


@HOOKS.register_module()
class LoadCheckpointHook(Hook):
    """Loads `load_from` and resumed checkpoints with a report.

    Files of any origin that `load_weights` understands are loaded, official
    ones included; what was loaded, is fresh and is unused goes to the log.
    The history that `SafeCheckpointHook` wrote is restored, so that curves go
    on after a resume.

    Args:
        strict: Whether a model must be loaded in full, as it must be for
            testing and resuming.

    Raises:
        CheckpointError: If a checkpoint does not fit.
    """

    # Before hooks that copy what is loaded, such as mmengine's EMAHook.
    priority = 'VERY_HIGH'

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restores the history and loads the weights, with a report."""
        source = runner.cfg.get('load_from') or 'the checkpoint'
        if runner._resume and 'iter' not in checkpoint.get('meta', {}):
            raise CheckpointError(
                f'{source} holds weights, but no state of a training to go '
                'on with: name it by load_from, not by --resume'
            )
        for name, history in self._saved_scalars(checkpoint).items():
            if isinstance(history, dict):
                checkpoint['message_hub']['log_scalars'][name] = HistoryBuffer(
                    history['values'].tolist(),
                    history['counts'].tolist(),
                    history['max_length'],
                )
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        report = load_weights(model, checkpoint, source)
        if self.strict and not report.complete:
            raise CheckpointError(
                f'{source} is not a checkpoint of this model: {report}'
            )
        log = runner.logger.info if report.complete else runner.logger.warning
        log(str(report))
        # What others load next is what the model has, without a warning.
        checkpoint['state_dict'] = model.state_dict()

    @staticmethod
    def _saved_scalars(checkpoint: dict) -> dict:
        return checkpoint.get('message_hub', {}).get('log_scalars', {})
