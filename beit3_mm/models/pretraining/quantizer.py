# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""A codebook that follows its vectors: nearest codes, averages, revival.

N vectors, K codes, D channels of both.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn

from beit3_mm.ops.gather import gather_rows

KMEANS_STEPS = 10  # unilm/beit2, norm_ema_quantizer.py
# Distances that are in memory at a time: 256 MB of them
CHUNK = 2**26


class Quantized(NamedTuple):
    """What becomes of vectors.

    Args:
        features: Their codes, whose gradients go straight through to the
            vectors.
        ids: Numbers of the codes, int64, without the last dimension.
        loss: Commitment: mean squared distance of the vectors' coordinates
            to the fixed codes'.
    """

    features: Tensor
    ids: Tensor
    loss: Tensor


class Quantizer(nn.Module):
    """Replaces vectors by the nearest of a codebook, all of length 1.

    The codebook is not trained by gradients. It starts as the means of
    k-means on the first vectors (`start`); then every code moves towards the
    mean of the vectors that it was nearest to (`learn`), as in BEiT v2
    (unilm/beit2, norm_ema_quantizer.py). A code that no vector has been near
    to for `revive_after` steps is dead: it would move no more. It takes the
    place of a vector of that step, drawn at random, as in Jukebox (arXiv
    2005.00341, random restarts); the official code leaves it.

    Vectors of all processes count, and the codebook is the same in all.

    Args:
        num_codes: Number of codes.
        code_dims: Channels of a code.
        decay: Of the running means: what remains of a code in a step.
        revive_after: Steps without a vector after which a code is dead; 0
            leaves it so for good.

    Raises:
        ValueError: If there are no codes, `decay` is not in [0, 1), or
            `revive_after` is below 0.
    """

    def __init__(
        self,
        num_codes: int,
        code_dims: int,
        decay: float = 0.99,
        revive_after: int = 100,
    ) -> None:
        super().__init__()
        if num_codes < 1 or code_dims < 1 or not 0 <= decay < 1:
            raise ValueError(
                f'{num_codes=} and {code_dims=} must be at least 1, and '
                f'{decay=} in [0, 1)'
            )
        if revive_after < 0:
            raise ValueError(f'{revive_after=} must be at least 0, for never')
        self.decay = decay
        self.revive_after = revive_after
        self.register_buffer('codes', torch.zeros(num_codes, code_dims))
        # How many vectors of a step a code is nearest to: a running mean
        self.register_buffer('cluster_size', torch.zeros(num_codes))
        self.register_buffer('started', torch.zeros(1))  # 1 is yes
        self.register_buffer(
            'idle_steps', torch.zeros(num_codes, dtype=torch.int64)
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any
    ) -> None:
        """Begins to count idle steps where official weights have none."""
        if f'{prefix}codes' in state_dict:
            state_dict.setdefault(
                f'{prefix}idle_steps', torch.zeros_like(self.idle_steps)
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor) -> Quantized:
        """Finds the codes of vectors of any length; changes nothing.

        Args:
            x: `(..., D)`.

        Raises:
            ValueError: If the codebook was neither started nor loaded.
        """
        vectors = F.normalize(x.float(), dim=-1)
        ids = self.ids(vectors)
        codes = self.codes[ids]
        return Quantized(
            features=vectors + (codes - vectors).detach(),
            ids=ids,
            loss=F.mse_loss(vectors, codes),
        )

    @torch.no_grad()
    def ids(self, x: Tensor) -> Tensor:
        """Returns the number of the nearest code, `(...)`, of `(..., D)`.

        Raises:
            ValueError: As of `forward`.
        """
        if not self.started:
            raise ValueError(
                'the codebook is empty: load a trained visual tokenizer by '
                "init_cfg=dict(type='Pretrained', checkpoint=FILE)"
            )
        flat = F.normalize(x.float(), dim=-1).flatten(0, -2)
        return nearest(flat, self.codes).view(x.shape[:-1])

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Makes the codebook from first vectors `(..., D)`; later ones do
        not matter.

        Raises:
            ValueError: If the processes have different numbers of vectors.
        """
        if self.started:
            return
        flat = F.normalize(x.detach().float(), dim=-1).flatten(0, -2)
        vectors, _ = gather_rows(flat)
        self.codes.copy_(spherical_kmeans(vectors, len(self.codes)))
        broadcast(self.codes)  # sums differ by their order
        self.started.fill_(1)

    @torch.no_grad()
    def learn(self, x: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """Moves the codes towards their vectors and revives dead ones.

        Args:
            x: Vectors `(..., D)` of this process.
            ids: Numbers of their codes, `(...)`.

        Returns:
            Of the vectors of all processes `codebook_usage`, the share of
            the codes that were used; `codebook_perplexity`, how many codes
            would be as hard to guess if all were used alike; and
            `codes_revived`.
        """
        vectors = F.normalize(x.detach().float(), dim=-1).flatten(0, -2)
        ids = ids.flatten()
        counts = torch.bincount(ids, minlength=len(self.codes)).float()
        sums = torch.zeros_like(self.codes).index_add_(0, ids, vectors)
        all_reduce(counts)
        all_reduce(sums)
        self.cluster_size.lerp_(counts, 1 - self.decay)
        used = counts > 0
        means = F.normalize(sums, dim=1)
        moved = F.normalize(self.codes.lerp(means, 1 - self.decay), dim=1)
        self.codes.copy_(torch.where(used[:, None], moved, self.codes))
        self.idle_steps.add_(1).masked_fill_(used, 0)
        shares = counts / counts.sum()
        return dict(
            codebook_usage=used.float().mean(),
            codebook_perplexity=torch.special.entr(shares).sum().exp(),
            codes_revived=self._revive(vectors).float(),
        )

    def _revive(self, vectors: Tensor) -> Tensor:
        """Moves dead codes onto vectors; returns how many there were."""
        if not self.revive_after:
            return self.idle_steps.new_zeros(())
        dead = self.idle_steps >= self.revive_after
        number = dead.sum()
        if number:
            self.codes[dead] = _draw(vectors, int(number))
            self.idle_steps.masked_fill_(dead, 0)
            broadcast(self.codes)  # each process has drawn its own
        return number


def nearest(vectors: Tensor, codes: Tensor) -> Tensor:
    """Returns for each vector `(N, D)` the number of the code `(K, D)` of the
    least squared distance.
    """
    squares = codes.pow(2).sum(1)
    chunks = vectors.split(max(1, CHUNK // len(codes)))
    # Without the vector's own square, which is the same for all codes; never
    # in bfloat16, in which other codes would be the nearest.
    with torch.autocast(vectors.device.type, enabled=False):
        distances = (
            torch.addmm(squares, chunk, codes.T, alpha=-2) for chunk in chunks
        )
        return torch.cat([distance.argmin(1) for distance in distances])


def spherical_kmeans(vectors: Tensor, num_codes: int) -> Tensor:
    """Returns means `(K, D)` of vectors `(N, D)`, all of length 1.

    They begin as vectors drawn at random; one that is nearest to none stays.
    """
    means = _draw(vectors, num_codes)
    for _ in range(KMEANS_STEPS):
        ids = nearest(vectors, means)
        sums = torch.zeros_like(means).index_add_(0, ids, vectors)
        used = torch.bincount(ids, minlength=num_codes) > 0
        means = torch.where(used[:, None], F.normalize(sums, dim=1), means)
    return means


def _draw(vectors: Tensor, number: int) -> Tensor:
    """Draws vectors at random, none twice as long as there are enough."""
    rounds = -(-number // len(vectors))
    order = torch.cat([torch.randperm(len(vectors)) for _ in range(rounds)])
    return vectors[order[:number].to(vectors.device)]
