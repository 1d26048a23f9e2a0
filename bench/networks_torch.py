#!/usr/bin/env python3
"""Writes the networks of networks_bench as PyTorch has them: NAME.pt, TorchScript for LibTorch, and NAME.pth, the same weights for segnet.

networks_torch.py DIR: needs torch and torchvision (Debian: python3-torchvision). Files that are there are kept.
"""

import pathlib
import sys
from typing import List

import torch
import torchvision
from torch import nn
from torch.nn import functional as F


class FCN8s(nn.Module):
    """models/fcn.hpp: VGG-16 with the first padding of 100, fc6 and fc7 as convolutions, two skips."""

    def __init__(self, classes=21):
        super().__init__()
        inputs = 3
        for block, (convs, width) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
            for i in range(1, convs + 1):
                self.add_module(f"conv{block}_{i}", nn.Conv2d(inputs, width, 3, padding=100 if block == i == 1 else 1))
                inputs = width
        self.fc6 = nn.Conv2d(512, 4096, 7)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.score_fr = nn.Conv2d(4096, classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.score_pool3 = nn.Conv2d(256, classes, 1)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, stride=8, bias=False)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def cut(self, y, offset: int, like):
        return y[:, :, offset:offset + like.shape[2], offset:offset + like.shape[3]]

    def forward(self, x):
        y = self.pool(F.relu(self.conv1_2(F.relu(self.conv1_1(x)))))
        y = self.pool(F.relu(self.conv2_2(F.relu(self.conv2_1(y)))))
        pool3 = self.pool(F.relu(self.conv3_3(F.relu(self.conv3_2(F.relu(self.conv3_1(y)))))))
        pool4 = self.pool(F.relu(self.conv4_3(F.relu(self.conv4_2(F.relu(self.conv4_1(pool3)))))))
        y = self.pool(F.relu(self.conv5_3(F.relu(self.conv5_2(F.relu(self.conv5_1(pool4)))))))
        y = self.upscore2(self.score_fr(F.relu(self.fc7(F.relu(self.fc6(y))))))
        y = self.upscore_pool4(y + self.cut(self.score_pool4(pool4), 5, y))
        y = self.upscore8(y + self.cut(self.score_pool3(pool3), 9, y))
        return self.cut(y, 31, x)


def double_conv(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """models/unet.hpp with batch norm, 64 wide; sides are mirrored to multiples of 16."""

    def __init__(self, classes=11):
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        self.down = nn.ModuleList(double_conv(i, o) for i, o in zip([3] + widths, widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1]))
        self.dec = nn.ModuleList(double_conv(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(64, classes, 1)

    def forward(self, x):
        height, width = x.shape[2], x.shape[3]
        y = F.pad(x, [0, -width % 16, 0, -height % 16], mode="reflect")
        skips = []
        for block in self.down:
            y = block(F.max_pool2d(y, 2) if len(skips) > 0 else y)
            skips.append(y)
        level = len(skips) - 2
        for up, block in zip(self.up, self.dec):
            y = block(torch.cat([skips[level], up(y)], 1))
            level -= 1
        return self.head(y)[:, :, :height, :width]


class DenseLayer(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x):
        return self.conv(F.relu(self.bn(x)))


class DenseBlock(nn.Module):
    """Gives the new maps alone."""

    def __init__(self, inputs, count, growth):
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(inputs + i * growth, growth, 3) for i in range(count))

    def forward(self, x):
        maps = []
        for layer in self.layers:
            maps.append(layer(x))
            x = torch.cat([x, maps[-1]], 1)
        return torch.cat(maps, 1)


class FCDenseNet103(nn.Module):
    """models/fc_densenet.hpp."""

    def __init__(self, classes=11, growth=16, layers=(4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4)):
        super().__init__()
        n, channels, skips = len(layers) // 2, 48, []
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.down, self.td, self.tu, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for count in layers[:n]:
            self.down.append(DenseBlock(channels, count, growth))
            channels += count * growth
            skips.append(channels)
            self.td.append(DenseLayer(channels, channels, 1))
        self.bottleneck = DenseBlock(channels, layers[n], growth)
        for before, count in zip(layers[n:], layers[n + 1:]):
            self.tu.append(nn.ConvTranspose2d(before * growth, before * growth, 3, stride=2))
            channels = before * growth + skips.pop()
            self.up.append(DenseBlock(channels, count, growth))
            channels += count * growth
        self.head = nn.Conv2d(channels, classes, 1)

    def crop(self, x, like):
        top, left = (x.shape[2] - like.shape[2]) // 2, (x.shape[3] - like.shape[3]) // 2
        return x[:, :, top:top + like.shape[2], left:left + like.shape[3]]

    def forward(self, x):
        y = self.first(x)
        skips = []
        for block, transition in zip(self.down, self.td):
            y = torch.cat([y, block(y)], 1)
            skips.append(y)
            y = F.max_pool2d(transition(y), 2)
        added = self.bottleneck(y)
        level = len(skips) - 1
        for transition, block in zip(self.tu, self.up):
            y = torch.cat([self.crop(transition(added), skips[level]), skips[level]], 1)
            added = block(y)
            level -= 1
        return self.head(torch.cat([y, added], 1))


class PSPNet50(nn.Module):
    """models/pspnet.hpp: torchvision's ResNet-50 at stride 8, pyramid pooling, a head."""

    def __init__(self, classes=21):
        super().__init__()
        net = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
        for layer, dilation in (net.layer3, 2), (net.layer4, 4):  # the first block like those behind it
            layer[0].conv2.dilation = layer[0].conv2.padding = (dilation, dilation)
        self.layer0 = nn.Sequential(net.conv1, net.bn1, nn.ReLU(), net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.ppm = nn.Module()
        self.ppm.features = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(n), nn.Conv2d(2048, 512, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU()) for n in (1, 2, 3, 6))
        self.cls = nn.Sequential(
            nn.Conv2d(4096, 512, 3, padding=1, bias=False), nn.BatchNorm2d(512), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(512, classes, 1))

    def forward(self, x):
        y = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(x)))))
        maps = [y]
        for pool in self.ppm.features:
            maps.append(F.interpolate(pool(y), size=[y.shape[2], y.shape[3]], mode="bilinear", align_corners=True))
        return F.interpolate(self.cls(torch.cat(maps, 1)), size=[x.shape[2], x.shape[3]], mode="bilinear", align_corners=True)


class DeepLabV3ResNet50(nn.Module):
    """torchvision's, without the dictionary around its result."""

    def __init__(self, classes=21):
        super().__init__()
        self.net = torchvision.models.segmentation.deeplabv3_resnet50(
            weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)

    def forward(self, x):
        return self.net(x)["out"]


def conv_bn(inputs, outputs, kernel=3, stride=1, relu=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.ReLU()) if relu else nn.Sequential(*layers)


class HRModule(nn.Module):
    """models/hrnet.hpp: blocks in each branch, then the exchange."""

    def __init__(self, widths, blocks=4):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(torchvision.models.resnet.BasicBlock(w, w) for _ in range(blocks))) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self.path(widths, j, i) for j in range(len(widths))) for i in range(len(widths)))

    def path(self, widths, j, i):
        if j == i:
            return nn.Identity()
        if j > i:
            return conv_bn(widths[j], widths[i], kernel=1, relu=False)
        downs = [conv_bn(widths[j], widths[j], stride=2) for _ in range(i - j - 1)]
        return nn.Sequential(*downs, conv_bn(widths[j], widths[i], stride=2, relu=False))

    def forward(self, x: List[torch.Tensor]):
        maps: List[torch.Tensor] = []
        for i, branch in enumerate(self.branches):
            maps.append(branch(x[i]))
        fused: List[torch.Tensor] = []
        for i, row in enumerate(self.fuse_layers):
            y = maps[i]
            for j, path in enumerate(row):
                if j > i:
                    y = y + F.interpolate(path(maps[j]), size=[y.shape[2], y.shape[3]], mode="bilinear", align_corners=False)
                if j < i:
                    y = y + path(maps[j])
            fused.append(F.relu(y))
        return fused


class HRNet(nn.Module):
    """models/hrnet.hpp without OCR, corners not aligned."""

    def __init__(self, width=18, classes=19, modules=(1, 4, 3)):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64)
        bottleneck = torchvision.models.resnet.Bottleneck
        shortcut = nn.Sequential(nn.Conv2d(64, 256, 1, bias=False), nn.BatchNorm2d(256))
        self.layer1 = nn.Sequential(bottleneck(64, 64, downsample=shortcut), *(bottleneck(256, 64) for _ in range(3)))
        before = [256]
        for stage, count in enumerate(modules, 2):
            widths = [width << i for i in range(stage)]
            paths = [nn.Identity() if i > 0 or before[0] == width else conv_bn(before[0], width) for i in range(len(before))]
            paths.append(nn.Sequential(conv_bn(before[-1], widths[-1], stride=2)))
            self.add_module(f"transition{stage - 1}", nn.ModuleList(paths))
            self.add_module(f"stage{stage}", nn.ModuleList(HRModule(widths) for _ in range(count)))
            before = widths
        self.last_layer = nn.Sequential(
            nn.Conv2d(15 * width, 15 * width, 1), nn.BatchNorm2d(15 * width), nn.ReLU(), nn.Conv2d(15 * width, classes, 1))

    def forward(self, x):
        size = [x.shape[2], x.shape[3]]
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        y = self.layer1(y)
        maps = [self.transition1[0](y), self.transition1[1](y)]
        for module in self.stage2:
            maps = module(maps)
        maps = [maps[0], maps[1], self.transition2[2](maps[1])]
        for module in self.stage3:
            maps = module(maps)
        maps = [maps[0], maps[1], maps[2], self.transition3[3](maps[2])]
        for module in self.stage4:
            maps = module(maps)
        all_maps = [maps[0]]
        for m in maps[1:]:
            all_maps.append(F.interpolate(m, size=[maps[0].shape[2], maps[0].shape[3]], mode="bilinear", align_corners=False))
        return F.interpolate(self.last_layer(torch.cat(all_maps, 1)), size=size, mode="bilinear", align_corners=False)


def settled(net):
    """The same with numbers of ordinary size in every layer: He-normal weights, running statistics of images of noise."""
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the average of all batches: of this one
    with torch.no_grad():
        net(torch.randn(2, 3, 96, 96))
    return net.eval()


networks = {
    "fcn8s": FCN8s, "unet": UNet, "fc-densenet103": FCDenseNet103, "deeplabv3-resnet50": DeepLabV3ResNet50, "pspnet50": PSPNet50,
    "hrnet-w18": HRNet
}

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, make in networks.items():
    script, weights = folder / f"{name}.pt", folder / f"{name}.pth"
    if script.exists():
        continue
    torch.manual_seed(0)
    net = settled(make())
    torch.save(getattr(net, "net", net).state_dict(), weights)
    torch.jit.script(net).save(script)
    print(f"{script}: {sum(p.numel() for p in net.parameters()):,} parameters")
