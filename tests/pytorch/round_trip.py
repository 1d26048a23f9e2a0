#!/usr/bin/env python3
"""Weights that PyTorch saves give the same output here, and what is saved here is loaded strictly by PyTorch.

round_trip.py PROGRAM: the test program of models/unet, whose test case "round trip" does our half. Exit code 77: there is no PyTorch.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import numpy
    import torch
    from torch import nn
except ImportError as error:
    print(f"skipped: {error} (Debian: apt install python3-torch)")
    sys.exit(77)


def double_conv(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """models/unet.hpp with {.classes = 3, .base = 4, .depth = 2, .batch_norm = true}."""

    def __init__(self, classes=3, base=4, depth=2):
        super().__init__()
        widths = [base << level for level in range(depth + 1)]
        self.down = nn.ModuleList(double_conv(i, o) for i, o in zip([3] + widths, widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.dec = nn.ModuleList(double_conv(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(base, classes, 1)

    def forward(self, x):
        skips = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for up, block, skip in zip(self.up, self.dec, reversed(skips[:-1])):
            x = block(torch.cat([skip, up(x)], 1))
        return self.head(x)


def load_safetensors(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    types = {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


torch.manual_seed(0)
net = UNet()
for _ in range(3):
    net(torch.randn(2, 3, 16, 16) * 2 + 1)  # running statistics that are not those of a new layer
net.eval()
x = torch.randn(2, 3, 12, 20)
with torch.no_grad():
    y = net(x)

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder)
    torch.save(net.state_dict(), path / "unet.pth")
    for name, tensor in ("input", x), ("output", y):
        numpy.save(path / f"{name}.npy", tensor.permute(0, 2, 3, 1).contiguous().numpy())
    subprocess.run([sys.argv[1], "--test-case=*round trip*"], check=True, env={**os.environ, "SEGNET_ROUND_TRIP": folder})
    files = {"mine.pth": torch.load(path / "mine.pth"), "mine.pth, weights_only": torch.load(path / "mine.pth", weights_only=True),
             "mine.safetensors": load_safetensors(path / "mine.safetensors")}

for name, state in files.items():
    assert set(state) == set(net.state_dict()), name
    for key, value in net.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(state[key], value), f"{name}: {key}"
    back = UNet().eval()
    back.load_state_dict(state, strict=True)
    with torch.no_grad():
        assert torch.equal(back(x), y), name
print(f"PyTorch {torch.__version__} loads strictly what it saved and segnet saved again:", ", ".join(files))
