"""Ask a guard bundle for verdicts with nothing but onnxruntime and Pillow.

    python client.py BUNDLE IMAGE…

This is what any host does, in any language: compare the sums of `guard.json`, run `model.onnx` on
RGB (or grey) images in [0, 1], and trust the label where `valid` says so.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

bundle, *photos = map(Path, sys.argv[1:])
manifest = json.loads((bundle / "guard.json").read_text(encoding="utf-8"))
for name, expected in manifest["files"].items():
    if hashlib.sha256((bundle / name).read_bytes()).hexdigest() != expected:
        sys.exit(f"{bundle / name}: is altered")
session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
_, channels, height, width = manifest["inputs"][0]["shape"]
for photo in photos:
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB" if channels == 3 else "L")
    size = (width if width > 0 else image.width, height if height > 0 else image.height)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32) / 255
    images = pixels.reshape(1, size[1], size[0], channels).transpose(0, 3, 1, 2)
    _, label, _, score, p_value, valid = session.run(None, {"images": images})
    verdict = "VALID" if valid[0] else "CORNER_CASE" if np.isfinite(score[0]) else "UNVERIFIED"
    print(photo, verdict, manifest["class_names"][label[0]], f"p={p_value[0]:.4g}")
