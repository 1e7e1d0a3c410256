"""A SAM 2.1 with random weights, as small as the architecture allows, in the hub's form."""

from __future__ import annotations

import json
from pathlib import Path


def write_sam2(folder: Path, *, video: bool = False) -> Path:
    """Write ``config.json`` and ``model.safetensors``; with what videos need besides."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Sam2Config, Sam2Model

    torch.manual_seed(0)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 16,
        "embed_dim_per_stage": [16, 32, 64, 128],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "blocks_per_stage": [1, 1, 2, 1],
        "global_attention_blocks": [3],
        "window_size_per_stage": [8, 4, 4, 4],
        "image_size": [128, 128],
    }
    config = Sam2Config(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": [128, 64, 32, 16],
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": 128, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    model = Sam2Model(config)
    model.save_pretrained(folder)
    if video:
        path = folder / "config.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "model_type": "sam2_video", "num_maskmem": 7}))
        state = load_file(folder / "model.safetensors")
        state["memory_attention.layers.0.linear1.weight"] = torch.zeros(2, 2)
        state["no_object_pointer"] = torch.zeros(1, 4)
        save_file(state, folder / "model.safetensors")
    return folder
