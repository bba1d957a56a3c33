# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A training step of a config's model, followed without its memory."""

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from memory.hollow import build_hollow, frozen_tokenizer
from memory.tracker import GRADIENTS, PARAMETERS, STATES, MemoryTracker

LAYERS = ('MultiwayEncoderLayer',)  # FSDP2Strategy's own


@dataclass(frozen=True)
class Usage:
    """What one process needs that holds the whole model, in bytes.

    Args:
        parameters: All that the model has, frozen ones included.
        unsharded: Buffers and a frozen visual tokenizer.
        gradients: Of all parameters that are trained.
        states: Of the optimizer.
        layer: Parameters of the largest layer that is sharded by itself.
        root: Parameters outside of such layers.
        gathered: Parameters that are whole in a process at a time when all
            are sharded.
        peak: By kind (`tracker.KINDS`), when all together were largest.
        working_peak: Likewise, when activations, temporary tensors and cast
            weights were largest.
        parts: Of each parameter its rows (0 without a dimension), its bytes,
            and whether it is trained.
        step_copy: What the optimizer's step allocates.
    """

    parameters: int
    unsharded: int
    gradients: int
    states: int
    layer: int
    root: int
    gathered: int
    peak: Counter[str] = field(default_factory=Counter)
    working_peak: Counter[str] = field(default_factory=Counter)
    parts: tuple[tuple[int, int, bool], ...] = ()
    step_copy: int = 0

    def shares(self, devices: int) -> tuple[int, int]:
        """Returns the bytes of parameters and of gradients in a process.

        Each parameter is cut by its rows; the largest share counts.
        """
        parameters = gradients = 0
        for rows, size, is_trained in self.parts:
            share = size // rows * -(-rows // devices)
            parameters += share
            gradients += share * is_trained
        return parameters, gradients


def optimizer_config(cfg: Config, amp: bool) -> dict:
    """Returns the config's optimizer wrapper, of float32 or `--amp`.

    Raises:
        ValueError: If the config has none.
    """
    if cfg.get('optim_wrapper') is None:
        raise ValueError('the config has no optim_wrapper, which is needed')
    config = copy.deepcopy(cfg.optim_wrapper.to_dict())
    for option in ('loss_scale', 'dtype'):  # of mmengine's
        config.pop(option, None)
    kind = 'beit3_mm.AmpOptimWrapper' if amp else 'mmengine.OptimWrapper'
    return config | {'type': kind}


def follow(cfg: Config, batch: dict, amp: bool, device: str = 'cpu') -> Usage:
    """Follows a step of training that is not the first.

    The optimizer has its states, and gradients are freed between steps, as
    mmengine does, unless it accumulates them. Clipping needs no memory to
    speak of and is left out, since it looks at values; so is the optimizer's
    step.

    Args:
        cfg: Has the model, the optimizer and, maybe, a strategy.
        batch: For the model's `train_step`.
        amp: Whether to run in bfloat16 autocast.
        device: `'cpu'` or `'cuda'`, whose optimizers differ.
    """
    tracker = MemoryTracker()
    model = build_hollow(cfg, tracker).train()
    config = optimizer_config(cfg, amp)
    config.pop('clip_grad', None)
    wrapper = build_optim_wrapper(model, config)
    states = state_bytes(wrapper.optimizer)
    tracker.live[STATES] = states
    # What a step needs is known, and would take as long as all the rest.
    wrapper.optimizer.step = lambda: None
    for tensor in (*model.parameters(), *unsharded(model)):
        tracker.add(tensor, PARAMETERS)
    for parameter in trained(model):
        parameter.register_post_accumulate_grad_hook(
            lambda x: tracker.relabel(x.grad, GRADIENTS)
        )
    if config.get('accumulative_counts', 1) > 1:
        for parameter in trained(model):
            parameter.grad = torch.zeros_like(parameter)
            tracker.add(parameter.grad, GRADIENTS)
    with tracker:
        model.train_step(batch, wrapper)
    layer, root = layers_and_root(model, layer_names(cfg))
    return Usage(
        num_bytes(model.parameters()),
        num_bytes(unsharded(model)),
        num_bytes(trained(model)),
        states,
        layer,
        root,
        gathered_at_once(cfg, model, layer, root),
        tracker.peak,
        tracker.working_peak,
        tuple(
            (len(x) if x.ndim else 0, num_bytes([x]), x.requires_grad)
            for x in model.parameters()
        ),
        step_copy(wrapper.optimizer, device),
    )


def state_bytes(optimizer: Optimizer) -> int:
    """Returns the bytes of the states that an optimizer is going to have.

    A parameter of two values shows what there is of each.
    """
    total = 0
    for group in optimizer.param_groups:
        probe = nn.Parameter(torch.zeros(2))
        probe.grad = torch.zeros_like(probe)
        options = {k: v for k, v in group.items() if k in optimizer.defaults}
        small = type(optimizer)([{**options, 'params': [probe]}])
        small.step()
        for value in small.state[probe].values():
            for x in group['params']:
                count = x.numel() if value.shape == probe.shape else 1
                total += count * value.element_size() * x.requires_grad
    return total


def step_copy(optimizer: Optimizer, device: str) -> int:
    """Returns the bytes that a step of torch's AdamW allocates at a time.

    On GPUs a copy of a whole group, as its parameters are updated at once;
    on CPUs two of a parameter and one of another; of a `fused` one none.
    """
    copies = [0]
    for group in optimizer.param_groups:
        sizes = [num_bytes([x]) for x in group['params'] if x.requires_grad]
        foreach = group.get('foreach')
        if group.get('fused') or not sizes:
            continue
        if foreach or (foreach is None and device == 'cuda'):
            copies.append(sum(sizes))
        else:
            # The last one's copy lives until the next ones are made.
            for before, size in itertools.pairwise([0, *sizes]):
                copies.append(before + 2 * size)
    return max(copies)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Returns the parameters that get gradients."""
    return [x for x in model.parameters() if x.requires_grad]


def unsharded(model: nn.Module) -> list[Tensor]:
    """Returns what every process has for itself: buffers and a tokenizer."""
    tensors, tokenizer = list(model.buffers()), frozen_tokenizer(model)
    if tokenizer is not None:
        tensors += [*tokenizer.parameters(), *tokenizer.buffers()]
    return tensors


def layer_names(cfg: Config) -> tuple[str, ...]:
    """Returns the class names of modules that are sharded one by one."""
    names = (cfg.get('strategy') or {}).get('layers', LAYERS)
    return (names,) if isinstance(names, str) else tuple(names)


def layers_and_root(
    model: nn.Module, names: tuple[str, ...]
) -> tuple[int, int]:
    """Returns the bytes of the largest layer, and of what is in none."""
    layers = [
        num_bytes(module.parameters())
        for module in model.modules()
        if type(module).__name__ in names
    ]
    total = num_bytes(model.parameters())
    return max(layers, default=0), total - sum(layers)


def gathered_at_once(
    cfg: Config, model: nn.Module, layer: int, root: int
) -> int:
    """Returns the bytes of parameters that FSDP2Strategy gathers at a time.

    That is what is in no layer, the layer that computes, and the next one,
    which is fetched meanwhile; with `reshard_after_forward=False` all, and
    the buffer of the layer before.
    """
    strategy = cfg.get('strategy') or {}
    if strategy.get('reshard_after_forward', True):
        return 2 * layer + root
    return num_bytes(model.parameters()) + layer


def num_bytes(tensors: object) -> int:
    """Returns the bytes of tensors together."""
    return sum(x.numel() * x.element_size() for x in tensors)
