#!/usr/bin/env python3
"""Weights that PyTorch and torchvision save give the same output here, and what is saved here is loaded strictly by them.

round_trip.py UNET DEEPLAB: the test programs of models/unet and models/deeplab_pspnet, whose test cases "round trip" do our half.
Exit code 77: there is no PyTorch.
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
    import torchvision
    from torch import nn
except ImportError as error:
    print(f"skipped: {error} (Debian: apt install python3-torch python3-torchvision)")
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


def save_array(path, tensor):
    numpy.save(path, tensor.permute(0, 2, 3, 1).contiguous().numpy())


def our_half(program, folder):
    subprocess.run([program, "--test-case=*round trip*"], check=True, env={**os.environ, "SEGNET_ROUND_TRIP": str(folder)})


def check_same(name, before, after):
    assert set(before) == set(after), name
    for key, value in before.items():
        assert key.endswith("num_batches_tracked") or torch.equal(after[key], value), f"{name}: {key}"


def unet(program, folder):
    net = UNet()
    for _ in range(3):
        net(torch.randn(2, 3, 16, 16) * 2 + 1)  # running statistics that are not those of a new layer
    net.eval()
    x = torch.randn(2, 3, 12, 20)
    y = net(x)
    torch.save(net.state_dict(), folder / "unet.pth")
    save_array(folder / "input.npy", x)
    save_array(folder / "output.npy", y)
    our_half(program, folder)
    files = {"mine.pth": torch.load(folder / "mine.pth"), "mine.pth, weights_only": torch.load(folder / "mine.pth", weights_only=True),
             "mine.safetensors": load_safetensors(folder / "mine.safetensors")}
    for name, state in files.items():
        check_same(name, net.state_dict(), state)
        back = UNet().eval()
        back.load_state_dict(state, strict=True)
        assert torch.equal(back(x), y), name
    print(f"PyTorch {torch.__version__} loads strictly what it saved and segnet saved again:", ", ".join(files))


def of_torchvision(program, folder):
    def new(name):
        return getattr(torchvision.models.segmentation, name)(weights=None, weights_backbone=None, aux_loss=True)

    nets = {}
    for name in "fcn_resnet50", "deeplabv3_resnet50":
        net = new(name)
        net(torch.randn(2, 3, 33, 33))
        net.eval()
        x = torch.randn(1, 3, 65, 97)
        torch.save(net.state_dict(), folder / f"{name}.pth")
        save_array(folder / f"{name}.input.npy", x)
        nets[name] = net, x, net(x)
        for output, y in nets[name][2].items():
            save_array(folder / f"{name}.{output}.npy", y)
    our_half(program, folder)
    for name, (net, x, outputs) in nets.items():
        file = folder / f"{name}.mine.pth"
        state = torch.load(file, weights_only=True) if file.exists() else load_safetensors(folder / f"{name}.mine.safetensors")
        check_same(name, net.state_dict(), state)
        back = new(name).eval()
        back.load_state_dict(state, strict=True)
        for output, y in back(x).items():
            assert torch.equal(y, outputs[output]), f"{name}: {output}"
    print(f"torchvision {torchvision.__version__} as well:", ", ".join(nets))


torch.manual_seed(0)
with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    unet(sys.argv[1], pathlib.Path(folder))
    of_torchvision(sys.argv[2], pathlib.Path(folder))
