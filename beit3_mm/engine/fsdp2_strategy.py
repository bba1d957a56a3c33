# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Training with parameters that are sharded over all processes."""

from collections.abc import Callable, Sequence
from typing import Any

import mmengine
import torch
import torch.distributed as dist
from mmengine._strategy import DDPStrategy
from mmengine.device import get_device
from mmengine.dist import get_world_size, is_main_process
from mmengine.runner.checkpoint import save_checkpoint
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from beit3_mm.engine.sharding import shard_like, whole
from beit3_mm.registry import STRATEGIES

NEEDED = (2, 6)  # fully_shard's first public release
# None is that of the parameters.
PARAM_DTYPES = (None, 'bfloat16', 'float16', 'float32')


@STRATEGIES.register_module()
class FSDP2Strategy(DDPStrategy):
    """Shards parameters, gradients and optimizer states over all processes.

    Each layer of the encoder is gathered while it computes, and freed behind
    it (torch's `fully_shard`; ZeRO stage 3, arXiv 1910.02054). Checkpoints
    are those of one process, in one file: they load in any number of
    processes, sharded or not.

    Args:
        layers: Names of the modules' classes that are sharded one by one;
            what else a model has is sharded together.
        param_dtype: Gathers and computes in this type, such as `'bfloat16'`,
            instead of that of the parameters; gradients are summed in
            float32. mmengine's and our AmpOptimWrapper work without it.
        reshard_after_forward: Whether a layer is freed between its forward
            and its backward pass, and gathered once more.
        **kwargs: Of mmengine's `DDPStrategy`, which its runner hands over.

    Raises:
        ImportError: If torch is older than 2.6.
        ValueError: If `param_dtype` is not in `PARAM_DTYPES`, or the model
            has no such layer, or parameters without a dimension.
    """

    def __init__(
        self,
        *,
        layers: Sequence[str] = ('MultiwayEncoderLayer',),
        param_dtype: str | None = None,
        reshard_after_forward: bool = True,
        **kwargs: Any,
    ) -> None:
        version = tuple(map(int, torch.__version__.split('.')[:2]))
        if version < NEEDED:
            raise ImportError(
                f'FSDP2Strategy needs torch >= 2.6, this is '
                f'{torch.__version__}: install a newer one, or train without '
                'a strategy'
            )
        if param_dtype not in PARAM_DTYPES:
            raise ValueError(
                f'strategy.param_dtype={param_dtype!r} must be one of '
                f'{PARAM_DTYPES}'
            )
        super().__init__(**kwargs)
        self.layers = [layers] if isinstance(layers, str) else list(layers)
        self.param_dtype = param_dtype
        self.reshard_after_forward = reshard_after_forward

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        from torch.distributed.fsdp import (
            MixedPrecisionPolicy,
            fully_shard,
            register_fsdp_forward_method,
        )

        found = self._find_layers(model)
        device = torch.device(get_device())
        if not dist.is_initialized():  # one process, without a launcher
            backend = 'nccl' if device.type == 'cuda' else 'gloo'
            store = dist.HashStore()
            dist.init_process_group(backend, store=store, rank=0, world_size=1)
        model = self.convert_model(model)
        _send_first(model, device)
        options = dict(
            mesh=init_device_mesh(device.type, (get_world_size(),)),
            reshard_after_forward=self.reshard_after_forward,
        )
        if self.param_dtype:
            options['mp_policy'] = MixedPrecisionPolicy(
                param_dtype=getattr(torch, self.param_dtype),
                reduce_dtype=torch.float32,
            )
        for layer in found:
            fully_shard(layer, **options)
            if hasattr(layer, 'forward_map'):  # of dense models
                register_fsdp_forward_method(layer, 'forward_map')
        return fully_shard(model.to(device), **options)

    def _find_layers(self, model: nn.Module) -> list[nn.Module]:
        """Returns what is sharded one by one, if all can be sharded."""
        found = [
            module
            for module in model.modules()
            if type(module).__name__ in self.layers
        ]
        if not found:
            raise ValueError(
                f'strategy.layers={self.layers}: {type(model).__name__} has '
                'no module of these classes'
            )
        numbers = [k for k, v in model.named_parameters() if v.ndim == 0]
        if numbers:
            raise ValueError(
                f'{type(model).__name__} has parameters without a dimension, '
                f'which torch cannot shard: {", ".join(numbers)}. Give them '
                'one, of 1, or train with --strategy ddp'
            )
        return found

    def load_checkpoint(self, filename: str, **options: Any) -> dict:
        """Reads a checkpoint on the CPU: of the whole, a device gets a part.

        Args:
            filename: The file.
            **options: Of mmengine's `SingleDeviceStrategy.load_checkpoint`.
        """
        return super().load_checkpoint(
            filename, **{**options, 'map_location': 'cpu'}
        )

    def model_state_dict(self) -> dict:
        """Returns whole weights in the main process, empty ones elsewhere."""
        return whole(self.model.state_dict())

    def optim_state_dict(self) -> dict:
        """Returns the whole state of the optimizer, as of one process."""
        return whole(self.optim_wrapper.state_dict())

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Takes this process's part of a whole state of the optimizer."""
        groups = self.optim_wrapper.optimizer.param_groups
        params = [param for group in groups for param in group['params']]
        for index, values in state_dict['state'].items():
            like = params[index]
            for name, value in values.items():
                if torch.is_tensor(value) and value.shape == like.shape:
                    values[name] = shard_like(value, like)
        super().load_optim_state_dict(state_dict)

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict | None = None,
        callback: Callable[[dict], None] | None = None,
    ) -> None:
        """Gathers everything and writes it in the main process.

        Args:
            filename: The file; it is there whole or not at all.
            save_optimizer: Whether to write the optimizer's state.
            save_param_scheduler: Whether to write the schedulers' states.
            extra_ckpt: What else to write, such as `meta`.
            callback: Called with the checkpoint before it is written.
        """
        checkpoint = dict(extra_ckpt or {}, state_dict=self.model_state_dict())
        if save_optimizer and hasattr(self, 'optim_wrapper'):
            checkpoint['optimizer'] = self.optim_state_dict()
        if not is_main_process():
            return
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            checkpoint['param_schedulers'] = self.scheduler_state_dict()
        checkpoint.setdefault('meta', {}).update(
            seed=self.seed, mmengine_version=mmengine.__version__
        )
        if callback is not None:
            callback(checkpoint)
        save_checkpoint(
            checkpoint, filename, backend_args={'backend': 'atomic'}
        )


def _send_first(model: nn.Module, device: torch.device) -> None:
    """Gives all processes the first one's weights, as DDP does.

    They begin with seeds, and so with weights, of their own.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        sent = tensor.detach().to(device)
        dist.broadcast(sent, 0)
        tensor.detach().copy_(sent)
