# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Layer-wise decay of the learning rate, for any host's model."""

import inspect
from collections import defaultdict
from typing import NamedTuple

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from beit3_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
DECAY_RULES = ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')
PARAMWISE_KEYS = ('layer_decay_rate', *DECAY_RULES, 'custom_keys')
CUSTOM_KEYS = ('depth', 'lr_mult', 'decay_mult')


class ParamScale(NamedTuple):
    """Factors on the optimizer's `lr` and `weight_decay`."""

    lr: float
    weight_decay: float


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor:
    """Gives each layer of a backbone a learning rate by its depth.

    A backbone is a sub-module with mmpretrain's method
    `get_layer_depth(param_name, prefix) -> (depth, num_layers)`: embeddings
    have depth 0, encoder layer i has i + 1, its other parameters
    `num_layers - 1`. Their rate is
    `lr * layer_decay_rate ** (num_layers - depth - 1)`; parameters outside
    of a backbone keep `lr`. From BEiT (https://arxiv.org/abs/2106.08254).

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper; its `optimizer`
            must state `lr` and `weight_decay`.
        paramwise_cfg: May hold
            `layer_decay_rate` (default 1);
            factors on the weight decay: `norm_decay_mult` of norm layers,
            else `bias_decay_mult` of biases, else `flat_decay_mult` of
            parameters of at most one dimension;
            `custom_keys`, from a part of a parameter's name to
            `dict(depth=..., lr_mult=..., decay_mult=...)`, all optional.
            `depth` gives parameters outside of the backbone a depth in it,
            `lr_mult` comes on top of layer decay, `decay_mult` replaces the
            other factors; among several matching keys the longest counts.

    Raises:
        ValueError: For an unknown key, a custom key that matches no
            parameter, an optimizer without `lr` or `weight_decay`, or a
            model that holds no such backbone.

    Example:
        >>> dict(
        ...     optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.1),
        ...     constructor='beit3_mm.LayerDecayOptimWrapperConstructor',
        ...     paramwise_cfg=dict(layer_decay_rate=0.7, norm_decay_mult=0.0),
        ... )
    """

    def __init__(
        self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None
    ) -> None:
        self.optim_wrapper_cfg = optim_wrapper_cfg.copy()
        self.optimizer_cfg = self.optim_wrapper_cfg.pop('optimizer').copy()
        self.paramwise_cfg = dict(paramwise_cfg or {})
        _check_keys('paramwise_cfg', self.paramwise_cfg, PARAMWISE_KEYS)
        self.custom_keys = self.paramwise_cfg.get('custom_keys', {})
        for name, options in self.custom_keys.items():
            _check_keys(f'custom_keys[{name!r}]', options, CUSTOM_KEYS)
        for key in ('lr', 'weight_decay'):
            if key not in self.optimizer_cfg:
                raise ValueError(
                    f'the optimizer {self.optimizer_cfg} must state its {key}'
                )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Returns the optimizer wrapper of a model, wrapped in DDP or not."""
        scales = self.param_scales(getattr(model, 'module', model))
        groups = self._param_groups(scales)
        optimizer = OPTIMIZERS.build(
            self.optimizer_cfg, default_args={'params': groups}
        )
        wrapper_cfg = {'type': 'OptimWrapper', **self.optim_wrapper_cfg}
        return OPTIM_WRAPPERS.build(
            wrapper_cfg, default_args={'optimizer': optimizer}
        )

    def param_scales(
        self, model: nn.Module
    ) -> dict[str, tuple[nn.Parameter, ParamScale]]:
        """Returns each trainable parameter with its factors, by its name."""
        names = [name for name, _ in model.named_parameters()]
        for key in self.custom_keys:
            if not any(key in name for name in names):
                raise ValueError(
                    f'custom_keys[{key!r}] matches no parameter of '
                    f'{type(model).__name__}; they are called {names[0]!r} '
                    f'to {names[-1]!r}'
                )
        modules = dict(model.named_modules())
        layer_scales = self._layer_scales(model)
        scales = {}
        for name, param in model.named_parameters():
            if param.requires_grad:
                module = modules[name.rpartition('.')[0]]
                scales[name] = (
                    param,
                    ParamScale(
                        layer_scales.get(name, 1.0)
                        * self._custom(name, 'lr_mult', 1.0),
                        self._decay(name, param, module),
                    ),
                )
        return scales

    def _layer_scales(self, model: nn.Module) -> dict[str, float]:
        """Returns the learning-rate factors of all backbones' parameters."""
        rate = self.paramwise_cfg.get('layer_decay_rate', 1.0)
        scales, num_depths = {}, 0
        for prefix, module in model.named_modules():
            prefix = f'{prefix}.' if prefix else ''
            if not _tells_depth(module):
                continue
            for name, _ in module.named_parameters(prefix=prefix[:-1]):
                depth, num_layers = module.get_layer_depth(name, prefix)
                # An outer backbone knows more than one inside of it.
                scales.setdefault(name, rate ** (num_layers - depth - 1))
                num_depths = max(num_depths, num_layers)
        if not num_depths:
            raise ValueError(
                f'{type(model).__name__} holds no module with '
                'get_layer_depth(param_name, prefix): layer decay needs a '
                'backbone such as beit3_mm.BEiT3ViT. Without one, leave '
                '`constructor` out of optim_wrapper'
            )
        for name, _ in model.named_parameters():
            depth = self._custom(name, 'depth', None)
            if depth is not None:
                scales[name] = rate ** (num_depths - depth - 1)
        return scales

    def _decay(
        self, name: str, param: nn.Parameter, module: nn.Module
    ) -> float:
        """Returns the factor on the weight decay of a parameter."""
        applies = {
            'norm_decay_mult': isinstance(module, NORMS),
            'bias_decay_mult': name.endswith('bias'),
            'flat_decay_mult': param.ndim <= 1,
        }
        for rule in DECAY_RULES:
            if applies[rule] and rule in self.paramwise_cfg:
                return self._custom(
                    name, 'decay_mult', self.paramwise_cfg[rule]
                )
        return self._custom(name, 'decay_mult', 1.0)

    def _custom(
        self, name: str, option: str, default: float | None
    ) -> float | None:
        """Returns the option of the longest custom key that matches."""
        matches = [
            key
            for key, options in self.custom_keys.items()
            if key in name and option in options
        ]
        if not matches:
            return default
        return self.custom_keys[max(matches, key=len)][option]

    def _param_groups(
        self, scales: dict[str, tuple[nn.Parameter, ParamScale]]
    ) -> list[dict]:
        """Returns one group for all parameters with the same factors."""
        members = defaultdict(list)
        for param, scale in scales.values():
            members[scale].append(param)
        groups = []
        # mmengine logs the first group's `lr`: let it be the base rate.
        for scale in sorted(members, key=lambda s: (s.lr != 1, -s.lr, s)):
            groups.append(
                {
                    'params': members[scale],
                    'lr': self.optimizer_cfg['lr'] * scale.lr,
                    'weight_decay': self.optimizer_cfg['weight_decay']
                    * scale.weight_decay,
                }
            )
            print_log(
                f'{len(members[scale])} parameters: lr x {scale.lr:.4g}, '
                f'weight decay x {scale.weight_decay:g}',
                logger='current',
            )
        return groups


def _tells_depth(module: nn.Module) -> bool:
    """Returns whether a module follows the contract of a backbone.

    mmpretrain's classifiers have a method of this name too, without `prefix`.
    """
    method = getattr(module, 'get_layer_depth', None)
    return (
        method is not None and 'prefix' in inspect.signature(method).parameters
    )


def _check_keys(where: str, options: dict, allowed: tuple[str, ...]) -> None:
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ValueError(f'{where} has unknown {unknown}; it takes {allowed}')
