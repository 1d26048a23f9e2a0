// Images and feature maps warped by a grid: all contenders in turns, medians and their ratio to segnet's, on one thread unless
// OMP_NUM_THREADS says otherwise. Peers compute into memory of their own layout; each result is held against segnet's.
#include "grid_sample_bench.hpp"

#include <cmath>
#include <cstdio>

#include "interleaved.hpp"
#include "segnet/core/random.hpp"
#include "segnet/ops/grid_sample.hpp"

std::vector<GridSampleContender>& grid_sample_contenders() {
  static std::vector<GridSampleContender> all;
  return all;
}

namespace {

using namespace segnet;

struct Run {
  kernels::GridGeometry g;
  View<const float> x, grid;
  View<float> y, dx, dgrid;

  explicit Run(const GridSampleProblem& p) {
    const kernels::GridAxis axis{static_cast<std::int32_t>(p.side), GridPadding::zeros, false};
    g = {p.N, p.C, p.side * p.side, GridSampleMode::bilinear, axis, axis};
    const Shape image{p.N, p.side, p.side, p.C}, points{p.N, p.side, p.side, 2};
    x = {p.x, image}, grid = {p.grid, points}, y = {p.y, image}, dx = {p.dx, image}, dgrid = {p.dgrid, points};
  }
};

const GridSampleContender ours{
    "segnet", [](const GridSampleProblem& p) { return [run = Run(p)] { kernels::grid_sample<float>(run.g, run.x, run.grid, run.y); }; },
    [](const GridSampleProblem& p) {
      return [run = Run(p)] {
        kernels::grid_sample_backward_input<float>(run.g, run.x, run.grid, run.dx);
        kernels::grid_sample_backward_grid<float>(run.g, run.x, run.x, run.grid, run.dgrid);
      };
    }};

bool close(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0, off = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i])));
    off = std::max(off, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return off <= 1e-4 * largest;
}

void compare(long N, long side, long C) {
  Generator random{1, 0};
  const auto x = random_normal<float>({N, side, side, C}, random), noise = random_normal<float>({N, side, side, 2}, random, 0, 0.02);
  const auto grid = noise.clone();
  for (index_t i = 0; i < grid.numel(); ++i) {  // a rotation by 20 degrees, shaken
    const double at_x = (2 * static_cast<double>(i / 2 % side) + 1) / static_cast<double>(side) - 1,
                 at_y = (2 * static_cast<double>(i / 2 / side % side) + 1) / static_cast<double>(side) - 1;
    grid.data()[i] += static_cast<float>(i % 2 ? 0.342 * at_x + 0.940 * at_y : 0.940 * at_x - 0.342 * at_y);
  }
  std::vector<GridSampleContender> all{ours};
  for (const auto& peer : grid_sample_contenders()) all.push_back(peer);
  for (const bool back : {false, true}) {
    std::vector<std::function<void()>> calls;
    std::vector<double> first;
    std::vector<Tensor<float>> kept;
    std::vector<float> expected;
    std::printf("%-8s %ld x %ld^2 x %-4ld", back ? "backward" : "forward", N, side, C);
    for (const auto& contender : all) {
      const auto y = zeros<float>(x.shape()), dx = zeros<float>(x.shape()), dgrid = zeros<float>(grid.shape());
      for (const auto& t : {y, dx, dgrid}) kept.push_back(t);
      calls.push_back(
          (back ? contender.backward : contender.forward)({N, side, C, x.data(), grid.data(), y.data(), dx.data(), dgrid.data()}));
      first.push_back(seconds_of(calls.back()));
      std::vector<float> got = (back ? dx : y).to_vector();
      if (back)
        for (const float v : dgrid.to_vector()) got.push_back(v);
      if (expected.empty()) expected = got;
      if (!close(expected, got)) std::printf("  %s differs!", contender.name.c_str());
    }
    const auto seconds = medians_in_turns(calls, first, {.seconds = 1});
    for (std::size_t k = 0; k < all.size(); ++k)
      std::printf("  %s %.3f ms (%.2f)", all[k].name.c_str(), 1e3 * seconds[k], seconds[k] / seconds[0]);
    std::printf("\n");
  }
}

}  // namespace

int main() {
  compare(1, 512, 3);
  compare(4, 64, 64);
  compare(1, 64, 256);
  return 0;
}
