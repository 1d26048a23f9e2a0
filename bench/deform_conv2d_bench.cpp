// DCNv3 in the four stages of InternImage-T at 512 x 512, and deformable 3 x 3 convolutions of ResNet-50; offsets of a standard deviation
// of a pixel. Each peer's results are held against segnet's.
//
// B/s are of the bytes that must be moved: x, offsets, scalars and weight read, y written; back, those and dy read, gradients written.
// %roof is the larger share of copying 32 MiB and of multiply-adds on registers alone, both measured just before. Operations: dcnv3 10 for
// each tap and channel; deform_conv2d 8, or 10 with a mask, and 2 for each output channel; back twice as many.
#include "deform_conv2d_bench.hpp"

#include <cmath>

#include "bandwidth.hpp"
#include "context.hpp"
#include "fma_peak.hpp"
#include "segnet/core/random.hpp"
#include "segnet/kernels/dcnv3.hpp"
#include "segnet/kernels/deform_conv2d.hpp"

std::vector<DeformContender>& deform_contenders() {
  static std::vector<DeformContender> all;
  return all;
}

namespace {

using namespace segnet;

/// Views of a problem, and its geometry.
struct Run {
  DeformProblem p;
  Shape image, offsets, scalars, weight;
  kernels::DeformableGeometry v3{};
  kernels::DeformConv2dGeometry v2{};

  explicit Run(const DeformProblem& problem)
      : p(problem),
        image{1, p.side, p.side, p.C},
        offsets{1, p.side, p.side, 18 * groups()},
        scalars{1, p.side, p.side, 9 * groups()},
        weight{p.C, 3, 3, p.C} {
    if (p.v3) v3 = kernels::dcnv3_geometry("", image, {.padding = 1, .groups = groups()});
    else v2 = kernels::deform_conv2d_geometry("", image, offsets, weight, {0}, p.mask ? scalars : Shape{0}, {.padding = 1});
  }
  [[nodiscard]] index_t groups() const { return p.v3 ? p.C / 16 : 1; }

  void forward() const {
    const View<const float> x{p.x, image}, offset{p.offset, offsets}, mask{p.mask, scalars};
    const View<float> y{p.y, image};
    if (p.v3) kernels::dcnv3(v3, x, offset, mask, y);
    else kernels::deform_conv2d(v2, x, offset, mask, View<const float>{p.w, weight}, {}, y);
  }
  void backward() const {
    const View<const float> x{p.x, image}, offset{p.offset, offsets}, mask{p.mask, scalars}, dy{p.dy, image};
    const View<float> dx{p.dx, image}, doffset{p.doffset, offsets}, dmask{p.mask ? p.dmask : nullptr, scalars};
    if (p.v3) return kernels::dcnv3_backward(v3, dy, x, offset, mask, dx, doffset, dmask);
    kernels::deform_conv2d_grad_taps(v2, dy, View<const float>{p.w, weight}, x, offset, mask, dx, doffset, dmask);
    kernels::deform_conv2d_grad_weight(v2, dy, x, offset, mask, View<float>{p.dw, weight});
  }
  [[nodiscard]] double flop() const {
    const double read = 9 * static_cast<double>(image.numel());
    return p.v3 ? 10 * read : read * (p.mask ? 10 : 8) + 2 * read * static_cast<double>(p.C);
  }
  [[nodiscard]] double bytes(bool back) const {
    const index_t inputs = offsets.numel() + (p.mask ? scalars.numel() : 0) + (p.v3 ? 0 : weight.numel());
    return 4 * static_cast<double>(back ? 3 * image.numel() + 2 * inputs : 2 * image.numel() + inputs);
  }
};

const DeformContender ours{"segnet", true, true, [](const DeformProblem& p) { return [run = Run(p)] { run.forward(); }; },
                           [](const DeformProblem& p) { return [run = Run(p)] { run.backward(); }; }};

/// dcnv3 as its formula says, tap by tap and channel by channel.
const DeformContender loops{"loops",
                            true,
                            false,
                            [](const DeformProblem& p) {
                              return [run = Run(p)] {
                                const auto& [q, image, offsets, scalars, weight, g, unused] = run;
                                for (index_t i = 0; i < g.pixels(); ++i)
                                  for (index_t group = 0; group < g.groups; ++group) {
                                    float* const y = q.y + i * g.C + group * 16;
                                    std::fill_n(y, 16, 0.f);
                                    for (index_t k = 0; k < 9; ++k) {
                                      const index_t tap = (i * g.groups + group) * 9 + k;
                                      const auto at = g.point(i / g.OW, i % g.OW, g.tap_row(k), g.tap_column(k), q.offset[2 * tap],
                                                              q.offset[2 * tap + 1]);
                                      for (int corner = 0; at.reaches() && corner < 4; ++corner)
                                        for (index_t c = 0; c < 16; ++c)
                                          y[c] += q.mask[tap] * at.weight(corner) * q.x[at.pixel(corner, g.W) * g.C + group * 16 + c];
                                    }
                                  }
                              };
                            },
                            {}};

bool close(const Tensor<float>& a, const Tensor<float>& b) {
  double largest = 0, off = 0;
  for (index_t i = 0; i < a.numel(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a.data()[i])));
    off = std::max(off, std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
  }
  return off <= 1e-4 * largest;
}

struct Case {
  const char* name;
  bool v3, mask;
  long side, C;
};
const Case cases[] = {{"v3_stage1", true, true, 128, 64}, {"v3_stage2", true, true, 64, 128},  {"v3_stage3", true, true, 32, 256},
                      {"v3_stage4", true, true, 16, 512}, {"v1_conv3", false, false, 64, 128}, {"v2_conv3", false, true, 64, 128},
                      {"v2_conv4", false, true, 32, 256}};

void deform(benchmark::State& state, const Case& c, const DeformContender& contender, bool back) {
  Generator random{1, 0};
  const Run shapes({c.v3, c.side, c.C, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr});
  const auto draw = [&](const Shape& s, double std) { return random_normal<float>(s, random, 0, std); };
  const auto x = draw(shapes.image, 1), offset = draw(shapes.offsets, 1), mask = draw(shapes.scalars, 0.3), w = draw(shapes.weight, 0.05),
             dy = draw(shapes.image, 1);
  std::vector<Tensor<float>> results[2];
  std::function<void()> run;
  double flop = 0, bytes = 0;
  for (const DeformContender* who : {&ours, &contender}) {
    auto& r = results[who == &contender];
    for (const Tensor<float>& like : {x, x, offset, mask, w}) r.push_back(zeros<float>(like.shape()));
    const DeformProblem p{c.v3,       c.side,    c.C,         x.data(),    offset.data(), c.mask ? mask.data() : nullptr,
                          w.data(),   dy.data(), r[0].data(), r[1].data(), r[2].data(),   r[3].data(),
                          r[4].data()};
    run = (back ? who->backward : who->forward)(p);
    if (!run) return state.SkipWithError("not there");
    run();
    flop = Run(p).flop() * (back ? 2 : 1), bytes = Run(p).bytes(back);
  }
  for (std::size_t i = 0; i < results[0].size() && &contender != &ours; ++i)
    if (!close(results[0][i], results[1][i])) return state.SkipWithError("not what segnet computes");
  const double copy = copy_bandwidth(32 << 20), peak = fma_peak();
  for (auto _ : state) run();
  report_bandwidth(state, bytes, copy);
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  state.counters["FLOP/s"] = benchmark::Counter(flop, rate);
  state.counters["%roof"] = benchmark::Counter(100 * std::max(flop / peak, bytes / copy), rate);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<const DeformContender*> all{&ours, &loops};
  for (const auto& peer : deform_contenders()) all.push_back(&peer);
  for (const Case& c : cases)
    for (const bool back : {false, true})
      for (const DeformContender* contender : all)
        if (contender->takes(c.v3) && (back ? contender->backward : contender->forward))
          benchmark::RegisterBenchmark(concat("deform", back ? "_backward/" : "/", c.name, "/", contender->name).c_str(),
                                       [=](benchmark::State& state) { deform(state, c, *contender, back); })
              ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
