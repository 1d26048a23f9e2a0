// A whole network: U-Net training step and inference, time and peak memory, with LibTorch in the same program where installed.
//
// Times are interleaved by Google Benchmark. Peak memory is the growth of the resident set in a process of its own, from the
// built network on, over two training steps or inferences; the same measure for everybody.
#include "unet_bench.hpp"

#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "segnet/models/unet.hpp"
#include "segnet/nn/loss.hpp"
#include "segnet/optim/sgd.hpp"

std::vector<UNetContender>& unet_contenders() {
  static std::vector<UNetContender> all;
  return all;
}

namespace {

using namespace segnet;

struct SegnetUNet final : UNetRunner {
  SegnetUNet(const UNetCase& c, int threads)
      : net({.classes = 11, .base = c.width, .batch_norm = true}),
        x(random_normal<float>({c.batch, c.height, c.side, 3}, default_generator())),
        labels({c.batch, c.height, c.side}),
        sgd(nn::parameters(net), {.lr = 1e-3, .momentum = 0.9}) {
    set_num_threads(threads);
    for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % 11);
  }
  void train_step() override {
    nn::train(net);
    sgd.zero_grad();
    cross_entropy(net(x), labels).backward();
    sgd.step();
  }
  void inference() override {
    nn::eval(net);
    NoGrad guard;
    benchmark::DoNotOptimize(net(x).data());
  }

  models::UNet<> net;
  Tensor<float> x;
  Tensor<std::int32_t> labels;
  optim::Sgd<float> sgd;
};

const bool added =
    (unet_contenders().push_back({"segnet", [](const UNetCase& c, int t) { return std::make_unique<SegnetUNet>(c, t); }}), true);

/// Largest growth of the resident set, in MiB, while a fresh process works. Called before any thread exists.
double peak_memory(const UNetContender& contender, const UNetCase& c, int threads, bool training) {
  int channel[2];
  if (pipe(channel) != 0) return 0;
  const pid_t child = fork();
  if (child == 0) {
    const auto runner = contender.make(c, threads);
    std::FILE* statm = std::fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    if (!statm || std::fscanf(statm, "%ld %ld", &pages, &resident) != 2) _exit(1);
    const double before = static_cast<double>(resident * sysconf(_SC_PAGESIZE));
    for (int i = 0; i < 2; ++i) training ? runner->train_step() : runner->inference();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double mib = (static_cast<double>(usage.ru_maxrss) * 1024 - before) / 1048576;
    _exit(write(channel[1], &mib, sizeof mib) == sizeof mib ? 0 : 1);
  }
  double mib = 0;
  const bool read_it = read(channel[0], &mib, sizeof mib) == sizeof mib;
  close(channel[0]);
  close(channel[1]);
  waitpid(child, nullptr, 0);
  return read_it ? mib : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const UNetCase cases[] = {{64, 256, 256, 4}, {32, 240, 320, 2}};
  const int threads = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  for (const UNetCase& c : cases)
    for (const bool training : {true, false})
      for (const UNetContender& contender : unet_contenders()) {
        const double mib = peak_memory(contender, c, threads, training);
        const std::string name = std::string(training ? "train/" : "infer/") + c.name() + "/" + contender.name;
        benchmark::RegisterBenchmark(name.c_str(),
                                     [=](benchmark::State& state) {
                                       const auto runner = contender.make(c, threads);
                                       training ? runner->train_step() : runner->inference();  // warm
                                       for (auto _ : state) training ? runner->train_step() : runner->inference();
                                       state.counters["images/s"] =
                                           benchmark::Counter(c.batch, benchmark::Counter::kIsIterationInvariantRate);
                                       state.counters["peak_MiB"] = mib;
                                     })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
