# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""BEiT-3 as a dense vision backbone for any host."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from beit3_mm.layers.embeddings import VisionEmbedding
from beit3_mm.layers.window import RelativePositions, TokenMap
from beit3_mm.models.beit3 import init_embedding, layer_depth
from beit3_mm.models.encoder import MultiwayEncoder
from beit3_mm.registry import MODELS


@MODELS.register_module()
class BEiT3ViT(BaseModule):
    """The vision half of BEiT-3 with window attention, after ViTDet.

    Only vision experts are built. Images of any size are zero-padded to the
    patch size; the position table of `img_size` is resized to the map. The
    encoder's final norm is left out, as ViTDet does and as BEiT-3's released
    image classifier does.

    Args:
        img_size: Side in pixels of the images that the position table is made
            for (the pretraining resolution).
        patch_size: Side of a patch in pixels; a checkpoint of another patch
            size is resized when it is loaded.
        embed_dims: Channels.
        num_layers: Number of layers.
        num_heads: Number of heads.
        feedforward_channels: Inner width of the feed-forward networks.
        multiway_attention: Names the attention's parameters per modality
            (released form) or shared (paper's form).
        sub_norm: Adds sub-LNs (released form).
        num_vl_layers: Belongs to an `arch`; vision alone has no
            vision-language expert, so it changes nothing here.
        window_size: Side of an attention window in patches; 0 attends
            globally everywhere.
        global_attn_indexes: Layers that attend globally.
        with_relative_positions: Adds decomposed relative positions, which
            BEiT-3 does not have. Global layers have tables for the map of
            `img_size`, interpolated for other maps (ViTDet's are made for the
            size of fine-tuning).
        with_cls_token: Keeps the CLS token inside the encoder; needs
            `window_size=0`.
        out_indices: Layers whose maps are returned; negative from the end.
            The last layer must be among them: the ones above the last map
            would be dead weight.
        drop_path_rate: Drop path of the last layer.
        with_cp: Recomputes each layer in the backward pass to save memory.
        init_cfg: `dict(type='Pretrained', checkpoint=...)` loads a released
            BEiT-3 file or one of ours.

    Raises:
        ValueError: If layers or options do not fit each other.

    Example:
        >>> dict(
        ...     type='beit3_mm.BEiT3ViT',
        ...     img_size=32,
        ...     patch_size=16,
        ...     embed_dims=48,
        ...     num_layers=2,
        ...     num_heads=3,
        ...     feedforward_channels=96,
        ...     window_size=4,
        ...     global_attn_indexes=(1,),
        ... )
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
        window_size: int = 0,
        global_attn_indexes: Sequence[int] = (),
        with_relative_positions: bool = False,
        with_cls_token: bool = False,
        out_indices: Sequence[int] = (-1,),
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if with_cls_token and (window_size or with_relative_positions):
            raise ValueError(
                f'{with_cls_token=} has no place on a map: it needs '
                f'window_size=0 and with_relative_positions=False, got '
                f'{window_size=} and {with_relative_positions=}'
            )
        self.num_layers = num_layers
        self.patch_size = patch_size
        self.global_attn_indexes = _layers(global_attn_indexes, num_layers)
        self.out_indices = _with_last(out_indices, num_layers)
        self.window_size = window_size
        self.vision_embedding = VisionEmbedding(
            img_size,
            patch_size,
            embed_dims,
            with_cls_token=with_cls_token,
            with_mask_token=False,
        )
        self.encoder = MultiwayEncoder(
            embed_dims=embed_dims,
            num_layers=num_layers,
            num_heads=num_heads,
            feedforward_channels=feedforward_channels,
            multiway_attention=multiway_attention,
            sub_norm=sub_norm,
            modalities=('vision',),
            drop_path_rate=drop_path_rate,
            final_norm=False,
            with_cp=with_cp,
        )
        self.relative_positions = (
            self._build_relative_positions(
                img_size // patch_size, embed_dims // num_heads
            )
            if with_relative_positions
            else None
        )
        init_embedding(self.vision_embedding)

    def _build_relative_positions(
        self, side: int, head_dims: int
    ) -> nn.ModuleList:
        """Returns tables for windows and, in global layers, for the map."""
        return nn.ModuleList(
            RelativePositions(self._window_size(i) or side, head_dims)
            for i in range(self.num_layers)
        )

    def _window_size(self, index: int) -> int:
        return 0 if index in self.global_attn_indexes else self.window_size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Encodes images.

        Args:
            image: `(B, 3, H, W)`.

        Returns:
            A map `(B, C, ceil(H / patch), ceil(W / patch))` for each of
            `out_indices`, in ascending order of the layers.
        """
        grid = self.vision_embedding.grid(image)
        x = self.embed(image)
        maps = []
        for i in range(self.num_layers):
            x = self.run_layers(x, grid, i, i)
            if i in self.out_indices:
                patches = x[:, -grid[0] * grid[1] :]  # without the CLS token
                # (B, h * w, C) -> (B, C, h, w), in channels-last memory
                maps.append(patches.unflatten(1, grid).permute(0, 3, 1, 2))
        return tuple(maps)

    def embed(self, image: Tensor) -> Tensor:
        """Maps images `(B, 3, H, W)` to tokens, CLS token first if kept."""
        return self.vision_embedding(image)

    def run_layers(
        self, x: Tensor, grid: tuple[int, int], first: int, last: int
    ) -> Tensor:
        """Runs the layers `first` to `last` on tokens of a grid.

        Args:
            x: What `embed` or earlier layers gave.
            grid: (height, width) of the map in tokens.
            first: Number of the first layer, from 0.
            last: Number of the last one, included.
        """
        for i in range(first, last + 1):
            token_map = TokenMap(
                grid,
                self._window_size(i),
                self.relative_positions and self.relative_positions[i],
            )
            x = self.encoder.forward_layer_map(i, x, token_map)
        return x

    def get_layer_depth(
        self, param_name: str, prefix: str = ''
    ) -> tuple[int, int]:
        """Returns the depth of a parameter, for layer decay.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: Name of this backbone in it, with the dot.

        Returns:
            As `layer_depth`; relative positions belong to their layer.
        """
        name = param_name.removeprefix(prefix)
        parts = name.split('.')
        if parts[0] == 'relative_positions':
            return int(parts[1]) + 1, self.num_layers + 2
        return layer_depth(name, self.num_layers)


def _layers(indexes: Sequence[int], num_layers: int) -> tuple[int, ...]:
    """Returns layer indexes counted from 0."""
    for index in indexes:
        if not -num_layers <= index < num_layers:
            raise ValueError(f'layer {index} is not one of {num_layers=}')
    return tuple(index % num_layers for index in indexes)


def _with_last(indexes: Sequence[int], num_layers: int) -> tuple[int, ...]:
    """Returns layer indexes counted from 0, the last layer among them."""
    layers = _layers(indexes, num_layers)
    if num_layers - 1 not in layers:
        raise ValueError(
            f'out_indices={indexes} must hold the last layer, '
            f'{num_layers - 1}; for fewer layers set num_layers'
        )
    return layers
