#!/usr/bin/env python3
"""Writes the files of PyTorch that tests/io/pth_test.cpp reads, into tests/io/data: run with torch 1.13 (Debian: python3-torch)."""

import collections
import pathlib
import sys

import torch

out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "io" / "data")
out.mkdir(exist_ok=True)

# Every type that is read, and what strides can do: values k - 2, k = 0, 1, ... in the storage.
base = torch.arange(24) - 2
types = {name: getattr(torch, name) for name in
         ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")}
tensors = {name: base.clone().to(dtype) for name, dtype in types.items()}
f = base.clone().float()
tensors |= {
    "view": f[5:11],                                                 # shares a storage
    "matrix": f.view(4, 6),
    "transposed": f.view(4, 6).t(),
    "every_other": f[::2],
    "channels_last": f.view(1, 2, 3, 4).clone().to(memory_format=torch.channels_last),
    "scalar": torch.tensor(2.5),
    "empty": torch.empty(0, 3),
    "parameter": torch.nn.Parameter(torch.tensor([1.5, -2.0])),
}
torch.save(tensors, out / "types.pth")

# A checkpoint of a training run: the state dict inside, other things around it.
module = torch.nn.Sequential(collections.OrderedDict(conv=torch.nn.Conv2d(2, 3, 3), norm=torch.nn.BatchNorm2d(3)))
with torch.no_grad():
    for parameter in module.parameters():
        parameter.copy_(torch.arange(parameter.numel()).view(parameter.shape) / 8)
state = module.state_dict()
optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
module(torch.ones(1, 2, 4, 4)).sum().backward()
optimizer.step()
torch.save({"epoch": 3, "best": 0.5, "big": 1 << 40, "minus": -7, "note": "K\u00e4fer", "flags": (True, None, [1, 2.5]),
            "model": {f"module.{name}": tensor for name, tensor in state.items()}, "optimizer": optimizer.state_dict()},
           out / "training.pth")
torch.save({**state, "steps": 5, "classes": ["sky", "tree"]}, out / "mixed.pth")

torch.save(state, out / "legacy.pth", _use_new_zipfile_serialization=False)
torch.save(torch.ones(2), out / "tensor.pth")
torch.save({"weight": torch.ones(2), "size": torch.Size([2])}, out / "global.pth")
torch.save({"weight": torch.ones(2)}, out / "protocol4.pth", pickle_protocol=4)
torch.jit.save(torch.jit.script(torch.nn.ReLU()), out / "script.pth")
