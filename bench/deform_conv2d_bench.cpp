// DCNv3 in the four stages of InternImage-T at 512 x 512, and deformable 3 x 3 convolutions of ResNet-50: all contenders in turns, medians
// and their ratio to segnet's, on one thread unless OMP_NUM_THREADS says otherwise; each result is held against segnet's.
//
// GB/s are of the bytes that must be moved (x, offsets, scalars and weight read, y written; back, those and dy read, gradients written),
// and %copy is their share of what copying 32 MiB reaches in the same turns; %fma is the share of multiply-adds on registers alone.
// Operations: dcnv3 10 for each tap and channel, deform_conv2d 8 (10 with a mask) and 2 for each output channel; back twice as many.
#include "deform_conv2d_bench.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "fma_peak.hpp"
#include "interleaved.hpp"
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

const DeformContender ours{"segnet", [](const DeformProblem& p) { return [run = Run(p)] { run.forward(); }; },
                           [](const DeformProblem& p) { return [run = Run(p)] { run.backward(); }; }};

/// dcnv3 as its formula says, tap by tap and channel by channel.
const DeformContender loops{"plain loops",
                            [](const DeformProblem& p) -> std::function<void()> {
                              if (!p.v3) return {};
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

/// Rows of the table: forward and back.
bool compare(const char* name, bool v3, bool mask, long side, long C) {
  Generator random{1, 0};
  const Run shapes({v3, side, C, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr});
  const auto draw = [&](const Shape& s, double std) { return random_normal<float>(s, random, 0, std); };
  const auto x = draw(shapes.image, 1), offset = draw(shapes.offsets, 1), w = draw(shapes.weight, 0.05), dy = draw(shapes.image, 1);
  const auto scalars = draw(shapes.scalars, 0.3);
  std::vector<DeformContender> all{ours, loops};
  for (const auto& peer : deform_contenders()) all.push_back(peer);
  const auto from = full<std::uint8_t>({32 << 20}, 1), to = full<std::uint8_t>({32 << 20}, 2);
  bool same = true;
  for (const bool back : {false, true}) {
    std::vector<std::function<void()>> calls;
    std::vector<double> first;
    std::vector<std::string> names;
    std::vector<std::vector<Tensor<float>>> kept;
    double flop = 0, bytes = 0;
    for (const auto& contender : all) {
      std::vector<Tensor<float>> results{zeros<float>(x.shape()), zeros<float>(x.shape()), zeros<float>(offset.shape()),
                                         zeros<float>(scalars.shape()), zeros<float>(w.shape())};
      const DeformProblem p{v3,
                            side,
                            C,
                            x.data(),
                            offset.data(),
                            mask ? scalars.data() : nullptr,
                            w.data(),
                            dy.data(),
                            results[0].data(),
                            results[1].data(),
                            results[2].data(),
                            results[3].data(),
                            results[4].data()};
      const auto& make = back ? contender.backward : contender.forward;
      const std::function<void()> call = make ? make(p) : nullptr;
      if (!call) continue;
      flop = Run(p).flop() * (back ? 2 : 1), bytes = Run(p).bytes(back);
      first.push_back(seconds_of(call));
      for (std::size_t i = 0; !kept.empty() && i < results.size(); ++i)
        if (!close(kept[0][i], results[i])) {
          std::printf("%s: %s computes something else (%zu)\n", name, contender.name.c_str(), i);
          same = false;
        }
      kept.push_back(results);
      calls.push_back(call);
      names.push_back(contender.name);
    }
    calls.push_back([&] {
      parallel_for(from.numel(), 1 << 20,
                   [&](index_t a, index_t b) { std::memcpy(to.data() + a, from.data() + a, static_cast<std::size_t>(b - a)); });
    });
    first.push_back(seconds_of(calls.back()));
    const double peak = fma_peak();
    const auto seconds = medians_in_turns(calls, first, {.seconds = 1.5});
    const double copy = 2. * (32 << 20) / seconds.back();
    std::printf("%-22s %-8s %8.3f ms %7.1f GFLOP/s (%3.0f %%fma) %6.1f GB/s (%3.0f %%copy)", name, back ? "backward" : "forward",
                1e3 * seconds[0], flop / seconds[0] * 1e-9, 100 * flop / seconds[0] / peak, bytes / seconds[0] * 1e-9,
                100 * bytes / seconds[0] / copy);
    for (std::size_t k = 1; k < names.size(); ++k) std::printf("  %s %.2f", names[k].c_str(), seconds[k] / seconds[0]);
    std::printf("\n");
  }
  return same;
}

}  // namespace

int main() {
  bool same = true;
  same &= compare("dcnv3 128 64", true, true, 128, 64);
  same &= compare("dcnv3 64 128", true, true, 64, 128);
  same &= compare("dcnv3 32 256", true, true, 32, 256);
  same &= compare("dcnv3 16 512", true, true, 16, 512);
  same &= compare("v1 64 128", false, false, 64, 128);
  same &= compare("v2 64 128", false, true, 64, 128);
  same &= compare("v2 32 256", false, true, 32, 256);
  return same ? 0 : 1;
}
