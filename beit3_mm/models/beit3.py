# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""BEiT-3: images and/or texts through one Multiway encoder."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from beit3_mm.layers.embeddings import TextEmbedding, VisionEmbedding
from beit3_mm.layers.masks import joint_attention_mask
from beit3_mm.models.encoder import INIT_RANGE, Cache, MultiwayEncoder


class BEiT3Output(NamedTuple):
    """What the encoder makes of an image and a text.

    Args:
        vision: `(B, 1 + N, C)`, CLS token first; None without an image.
        language: `(B, L, C)`; None without a text.
        cache: Keys and values of each layer, where a cache was asked for.
    """

    vision: Tensor | None
    language: Tensor | None
    cache: Cache | None = None


class BEiT3(nn.Module):
    """The model of BEiT-3 (arXiv 2208.10442) without a head.

    Args:
        img_size: Side in pixels of the images that the position table is made
            for; images of any size can be encoded.
        patch_size: Side of a patch in pixels.
        embed_dims: Channels.
        num_layers: Number of layers.
        num_heads: Number of heads.
        feedforward_channels: Inner width of the feed-forward networks.
        multiway_attention: Attention per modality (released form).
        sub_norm: Adds sub-LNs (released form).
        num_vl_layers: Top layers with a vision-language expert (paper's form).
        vocab_size: Rows of the word table; 64,010 in the released models.
        max_text_positions: Rows of the text position table.
        drop_path_rate: Drop path of the last layer.
        final_norm: Adds a LayerNorm after the last layer.
        with_cp: Recomputes each layer in the backward pass to save memory.
        with_ffn_cp: Recomputes the wide activations of the feed-forward
            networks alone, without any matrix multiplication.
    """

    def __init__(
        self,
        img_size: int,
        patch_size: int,
        embed_dims: int,
        num_layers: int,
        num_heads: int,
        feedforward_channels: int,
        multiway_attention: bool = True,
        sub_norm: bool = True,
        num_vl_layers: int = 0,
        vocab_size: int = 64010,
        max_text_positions: int = 1024,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
        with_cp: bool = False,
        with_ffn_cp: bool = False,
    ) -> None:
        super().__init__()
        self.vision_embedding = VisionEmbedding(
            img_size, patch_size, embed_dims
        )
        self.text_embedding = TextEmbedding(
            vocab_size, max_text_positions, embed_dims
        )
        self.encoder = MultiwayEncoder(
            embed_dims=embed_dims,
            num_layers=num_layers,
            num_heads=num_heads,
            feedforward_channels=feedforward_channels,
            multiway_attention=multiway_attention,
            sub_norm=sub_norm,
            num_vl_layers=num_vl_layers,
            drop_path_rate=drop_path_rate,
            final_norm=final_norm,
            with_cp=with_cp,
            with_ffn_cp=with_ffn_cp,
        )
        init_embedding(self.vision_embedding)
        init_embedding(self.text_embedding)

    def forward(
        self,
        image: Tensor | None = None,
        text_ids: Tensor | None = None,
        text_padding_mask: Tensor | None = None,
        image_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
        text_positions: Tensor | None = None,
        cache: Cache | None = None,
        first_tokens: bool = False,
    ) -> BEiT3Output:
        """Encodes an image, a text, or both as one sequence.

        Args:
            image: `(B, 3, H, W)` float.
            text_ids: `(B, L)` int64.
            text_padding_mask: `(B, L)` bool, True = padding.
            image_mask: `(B, N)` bool, True = replaced by the mask token.
            attn_mask: `(L', S)` or `(B, L', S)` bool over the joint
                sequence, True = may attend; S counts cached tokens as well.
            text_positions: `(L,)` or `(B, L)` int64, for cached decoding.
            cache: None to keep none, `()` to start one, or an earlier
                output's, whose segments the caller may cut and join. Tokens
                with a cache count as parts of an image-text pair, so that
                vision-language experts take them all.
            first_tokens: Returns only the first token of each modality,
                `(B, 1, C)`; the last layer then computes no other.

        Returns:
            The tokens of each modality, and the cache where asked for.

        Raises:
            ValueError: If neither image nor text is given, if an argument
                lacks the modality that it belongs to, if cached decoding
                meets padding, or if `first_tokens` meets an `attn_mask`.
        """
        if first_tokens and attn_mask is not None:
            raise ValueError(
                'first_tokens takes no attn_mask: its rows are of all tokens'
            )
        if image is None and text_ids is None:
            raise ValueError('give an image, text_ids or both')
        if image is None and image_mask is not None:
            raise ValueError('image_mask given without an image')
        if text_ids is None and text_padding_mask is not None:
            raise ValueError('text_padding_mask given without text_ids')
        if cache is not None and text_padding_mask is not None:
            # Later steps would attend to the padding.
            raise ValueError(
                'cached decoding takes no text_padding_mask: its texts grow '
                'together, without padding'
            )
        parts, num_vision = [], 0
        if image is not None:
            parts.append(self.vision_embedding(image, image_mask))
            num_vision = parts[0].shape[1]
        if text_ids is not None:
            parts.append(
                self.text_embedding(
                    text_ids, text_padding_mask, text_positions
                )
            )
        num_cached = sum(k.shape[2] for k, _ in cache[0]) if cache else 0
        mask = joint_attention_mask(
            text_padding_mask, num_cached + num_vision, attn_mask
        )
        x = torch.cat(parts, dim=1)
        x, cache = self.encoder(x, num_vision, mask, cache, first_tokens)
        if first_tokens:
            num_vision = min(num_vision, 1)
        return BEiT3Output(
            vision=None if image is None else x[:, :num_vision],
            language=None if text_ids is None else x[:, num_vision:],
            cache=cache,
        )

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Returns the depth of a parameter, for layer decay.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Name of this encoder in it, with the dot.

        Returns:
            As `layer_depth`.
        """
        name = param_name.removeprefix(prefix)
        return layer_depth(name, len(self.encoder.layers))


def init_embedding(module: nn.Module) -> None:
    """Draws all parameters uniformly from a small range, biases zero."""
    for name, parameter in module.named_parameters():
        if name.endswith('bias'):
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -INIT_RANGE, INIT_RANGE)


def layer_depth(name: str, num_layers: int) -> tuple[int, int]:
    """Returns how deep a parameter of an encoder is, for layer decay.

    Args:
        name: Name of the parameter in the encoder.
        num_layers: Layers of the encoder.

    Returns:
        The depth (0 for embeddings, i + 1 for layer i), and the number of
        depths, `num_layers + 2`; the last one belongs to what follows the
        layers.
    """
    parts = name.split('.')
    num_depths = num_layers + 2
    if parts[0] in ('vision_embedding', 'text_embedding'):
        return 0, num_depths
    if parts[:2] == ['encoder', 'layers']:
        return int(parts[2]) + 1, num_depths
    return num_depths - 1, num_depths
