// Images and feature maps warped by a grid: all contenders in turns, medians and their ratio to segnet's, on one thread unless
// OMP_NUM_THREADS says otherwise. Peers compute into memory of their own layout; each result is held against segnet's.
#include "grid_sample_bench.hpp"

#include <cmath>

#include "context.hpp"
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

struct Case {
  const char* name;
  long N, side, C;
};
const Case cases[] = {{"image", 1, 512, 3}, {"maps_batch4", 4, 64, 64}, {"maps_256", 1, 64, 256}};

bool close(const Tensor<float>& a, const Tensor<float>& b) {
  double largest = 0, off = 0;
  for (index_t i = 0; i < a.numel(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a.data()[i])));
    off = std::max(off, std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
  }
  return off <= 1e-4 * largest;
}

void sample(benchmark::State& state, const Case& c, const GridSampleContender& contender, bool back) {
  Generator random{1, 0};
  const Shape image{c.N, c.side, c.side, c.C};
  const auto x = random_normal<float>(image, random), grid = random_normal<float>({c.N, c.side, c.side, 2}, random, 0, 0.02);
  for (index_t i = 0; i < grid.numel(); ++i) {
    const auto coordinate = [&](index_t k) { return (2 * static_cast<double>(k % c.side) + 1) / static_cast<double>(c.side) - 1; };
    const double at_x = coordinate(i / 2), at_y = coordinate(i / 2 / c.side);
    grid.data()[i] += static_cast<float>(i % 2 ? 0.342 * at_x + 0.940 * at_y : 0.940 * at_x - 0.342 * at_y);
  }
  std::vector<Tensor<float>> results[2];
  std::function<void()> run;
  for (const GridSampleContender* who : {&ours, &contender}) {
    auto& r = results[who == &contender];
    r = {zeros<float>(image), zeros<float>(image), zeros<float>(grid.shape())};
    run = (back ? who->backward : who->forward)({c.N, c.side, c.C, x.data(), grid.data(), r[0].data(), r[1].data(), r[2].data()});
    run();
  }
  for (std::size_t i = back ? 1 : 0; i < (back ? 3u : 1u); ++i)
    if (&contender != &ours && !close(results[0][i], results[1][i])) return state.SkipWithError("not what segnet computes");
  for (auto _ : state) run();
  state.SetItemsProcessed(state.iterations() * c.N * c.side * c.side);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<const GridSampleContender*> all{&ours};
  for (const auto& peer : grid_sample_contenders()) all.push_back(&peer);
  for (const Case& c : cases)
    for (const bool back : {false, true})
      for (const GridSampleContender* contender : all)
        benchmark::RegisterBenchmark(concat("grid_sample", back ? "_backward/" : "/", c.name, "/", c.C, "/", contender->name).c_str(),
                                     [=](benchmark::State& state) { sample(state, c, *contender, back); })
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
