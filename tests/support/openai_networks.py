"""OpenAI's own networks, from the package that ships CLIP's merges, to compare ours with.

Only its ``model.py`` is loaded: the package itself would want torchvision.
"""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

[_folder] = find_spec("clip").submodule_search_locations
_spec = spec_from_file_location("openai_clip_model", Path(_folder) / "model.py")
_model = module_from_spec(_spec)
_spec.loader.exec_module(_model)

AttentionPool2d = _model.AttentionPool2d
ModifiedResNet = _model.ModifiedResNet
VisionTransformer = _model.VisionTransformer
