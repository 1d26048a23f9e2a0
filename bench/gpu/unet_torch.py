"""The U-Net of gpu_bench.cpp in PyTorch: channels last, autocast to bfloat16 or float with tf32. Prints the same two times."""
import statistics
import torch
from torch import nn

torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = True
torch.backends.cuda.matmul.allow_tf32 = True


def double_conv(i, o):
    layers = []
    for a in (i, o):
        layers += [nn.Conv2d(a, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, base=64, classes=11, depth=4):
        super().__init__()
        self.down = nn.ModuleList(double_conv(base << (k - 1) if k else 3, base << k) for k in range(depth + 1))
        self.up = nn.ModuleList(nn.ConvTranspose2d(base << (k + 1), base << k, 2, stride=2) for k in reversed(range(depth)))
        self.dec = nn.ModuleList(double_conv(base << (k + 1), base << k) for k in reversed(range(depth)))
        self.head = nn.Conv2d(base, classes, 1)

    def forward(self, x):
        skips = []
        for k, down in enumerate(self.down):
            x = down(nn.functional.max_pool2d(x, 2) if k else x)
            skips.append(x)
        skips.pop()
        for up, dec in zip(self.up, self.dec):
            x = dec(torch.cat([skips.pop(), up(x)], 1))
        return self.head(x)


def milliseconds(f, warm=5, rounds=15):
    for _ in range(warm):
        f()
    times = []
    for _ in range(rounds):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        f()
        b.record()
        b.synchronize()
        times.append(a.elapsed_time(b))
    return statistics.median(times)


def main():
    for bf16 in (True, False):
        torch.manual_seed(1)
        torch.cuda.reset_peak_memory_stats()
        net = UNet().cuda().to(memory_format=torch.channels_last)
        sgd = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
        x = torch.randn(16, 3, 352, 480, device="cuda").to(memory_format=torch.channels_last)
        labels = (torch.arange(16 * 352 * 480, device="cuda") % 11).view(16, 352, 480)

        def step():
            sgd.zero_grad(set_to_none=True)
            with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            sgd.step()

        train = milliseconds(step)
        peak = torch.cuda.max_memory_allocated() / 2**30
        net.eval()

        @torch.no_grad()
        def infer():
            with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
                net(x)

        print(f"PyTorch {torch.__version__} U-Net 64 wide, 16 x 352 x 480, {'bf16' if bf16 else 'float (tf32)'}: "
              f"training step {train:.2f} ms, inference {milliseconds(infer):.2f} ms, peak memory {peak:.2f} GiB", flush=True)


main()
