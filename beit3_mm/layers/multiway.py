# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Routes the tokens of a joint sequence to the expert of their modality.

B batch, L tokens, Nv vision tokens (always first in the sequence), C channels.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

EXPERTS = ('shared', 'vision', 'language', 'vision_language')


class Multiway(nn.ModuleDict):
    """One module per expert, chosen by the modality of the token.

    `shared` takes every token. Otherwise `vision` takes the first
    `num_vision` tokens and `language` the rest; `vision_language`, where it
    exists, takes **all** tokens of a sequence that holds both (BEiT-3, section
    2.1). The split is an argument of `forward`, never state of the module;
    so is whether these tokens, all of one modality, are `part_of_pair`: of a
    sequence that holds both, the rest of which is cached.

    Args:
        make_expert: Builds one expert.
        experts: Names of the experts, out of `EXPERTS`.

    Raises:
        ValueError: If an expert is unknown, or `forward` meets tokens that no
            expert was built for.
    """

    def __init__(
        self, make_expert: Callable[[], nn.Module], experts: Sequence[str]
    ) -> None:
        unknown = set(experts) - set(EXPERTS)
        if unknown or not experts:
            raise ValueError(f'{experts=} must be a choice of {EXPERTS}')
        super().__init__({name: make_expert() for name in experts})

    def expert(
        self, num_vision: int, num_tokens: int, part_of_pair: bool = False
    ) -> str | None:
        """Returns the expert that takes all tokens, or None for a split."""
        if 'shared' in self:
            return 'shared'
        is_pair = part_of_pair or 0 < num_vision < num_tokens
        if is_pair and 'vision_language' in self:
            return 'vision_language'
        if num_vision == num_tokens:
            return 'vision'
        return 'language' if num_vision == 0 else None

    def forward(
        self, x: Tensor, num_vision: int, part_of_pair: bool = False
    ) -> Tensor:
        """Maps `(B, L, C)` to `(B, L, C')`, vision tokens first."""
        name = self.expert(num_vision, x.shape[1], part_of_pair)
        needed = {name} if name else {'vision', 'language'}
        if not needed <= self.keys():
            raise ValueError(
                f'tokens of {sorted(needed - self.keys())} have no expert; '
                f'this module was built with {list(self.keys())}'
            )
        if name:
            return self[name](x)
        vision = self['vision'](x[:, :num_vision])
        language = self['language'](x[:, num_vision:])
        return torch.cat([vision, language], dim=1)


def take_first_tokens(x: Tensor, num_vision: int) -> tuple[Tensor, int]:
    """Returns the first token of each modality in a sequence `(B, L, C)`, and
    how many of the one or two are vision tokens.
    """
    index = [0]
    if 0 < num_vision < x.shape[1]:
        index.append(num_vision)
    return x[:, index], min(num_vision, 1)
