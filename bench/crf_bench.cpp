// The filters of dense CRFs on an image of VOC's size, 500 x 375 with 21 labels, whose features are those of DeepLab (67 pixels, 3 grey
// levels), pydensecrf's example (80, 13), CRF-RNN (160, 3) and smoothness (3 pixels); beside the lattice as it is usually written, on one
// thread: points scatter to vertices, row by row. Bytes of a filtering: rows of values once, rows of vertices once for each pass that reads
// or writes them, weights and indices. vertices: of the lattice; ms of a mean field iteration are at the end.
#include "bandwidth.hpp"
#include "context.hpp"
#include "segnet/core/random.hpp"
#include "segnet/crf/dense_crf.hpp"

namespace {

using namespace segnet;

constexpr index_t H = 375, W = 500, labels = 21;

/// Smooth shading, objects with sharp borders, and a camera's noise.
Tensor<std::uint8_t> picture() {
  Generator random{1, 0};
  Tensor<std::uint8_t> image({H, W, 3});
  for (index_t y = 0; y < H; ++y)
    for (index_t x = 0; x < W; ++x)
      for (index_t c = 0; c < 3; ++c) {
        double value = static_cast<double>(90 + 40 * c) + 0.1 * static_cast<double>(x) - 0.15 * static_cast<double>(y * c);
        for (index_t object = 0; object < 6; ++object) {
          const index_t dy = y - 60 - 50 * object, dx = x - 60 - object * 150 % 400, radius = 35 + 8 * object;
          if (dy * dy + dx * dx < radius * radius)
            value = static_cast<double>((object * 67 + c * 91) % 200 + 30) + 0.3 * static_cast<double>(dx);
        }
        image.at(y, x, c) = static_cast<std::uint8_t>(std::clamp(value + 3 * random.normal(), 0.0, 255.0));
      }
  return image;
}

struct Case {
  const char* name;
  double sxy, srgb;  // srgb 0: positions alone
  [[nodiscard]] Tensor<float> features() const {
    return srgb > 0 ? crf::bilateral_features<float>(picture(), sxy, srgb) : crf::position_features<float>(H, W, sxy);
  }
};
const Case cases[] = {{"smoothness_3", 3, 0}, {"pydensecrf_80_13", 80, 13}, {"deeplab_67_3", 67, 3}, {"crf_rnn_160_3", 160, 3}};

/// The usual lattice: y = S B_d ... B_0 S^T x.
void scatter_filter(const kernels::PermutohedralLattice<float>& lattice, const float* x, float* y) {
  const std::int64_t corners = lattice.d + 1, rows = lattice.vertices + 1;
  std::vector<float> from(static_cast<std::size_t>(rows * labels), 0.0f), to(from.size(), 0.0f);
  for (std::int64_t p = 0; p < lattice.points; ++p)
    for (std::int64_t r = 0; r < corners; ++r) {
      const auto corner = static_cast<std::size_t>(p * corners + r);
      float* row = from.data() + lattice.vertex[corner] * labels;
      for (index_t c = 0; c < labels; ++c) row[c] += lattice.weight[corner] * x[p * labels + c];
    }
  for (std::int64_t j = 0; j < corners; ++j, std::swap(from, to))
    for (std::int64_t v = 0; v < lattice.vertices; ++v) {
      const std::int32_t* neighbour = lattice.neighbour.data() + 2 * (j * lattice.vertices + v);
      const float *a = from.data() + neighbour[0] * labels, *b = from.data() + neighbour[1] * labels, *own = from.data() + v * labels;
      for (index_t c = 0; c < labels; ++c) to[static_cast<std::size_t>(v * labels + c)] = own[c] + 0.5f * (a[c] + b[c]);
    }
  const auto alpha = static_cast<float>(lattice.alpha());
  for (std::int64_t p = 0; p < lattice.points; ++p)
    for (index_t c = 0; c < labels; ++c) {
      float sum = 0;
      for (std::int64_t r = 0; r < corners; ++r) {
        const auto corner = static_cast<std::size_t>(p * corners + r);
        sum += lattice.weight[corner] * from[static_cast<std::size_t>(lattice.vertex[corner] * labels + c)];
      }
      y[p * labels + c] = alpha * sum;
    }
}

void build(benchmark::State& state, const Case& c) {
  const auto f = c.features();
  std::int32_t vertices = 0;
  for (auto _ : state) vertices = kernels::permutohedral_lattice<float>(f.view()).vertices;
  state.counters["vertices"] = vertices;
}

void filter(benchmark::State& state, const Case& c, bool scatter) {
  const auto lattice = kernels::permutohedral_lattice<float>(c.features().view());
  const auto x = random_uniform<float>({H * W, labels}, default_generator()), y = zeros<float>(x.shape()),
             expected = zeros<float>(x.shape());
  const auto run = [&](bool plain) {
    if (plain) scatter_filter(lattice, x.data(), (scatter ? y : expected).data());
    else kernels::permutohedral_filter<float>(lattice, nullptr, nullptr, false, x.view(), (scatter ? expected : y).view());
  };
  run(true);
  run(false);
  for (index_t i = 0; i < y.numel(); ++i)
    if (std::abs(y.data()[i] - expected.data()[i]) > 1e-3f * std::abs(expected.data()[i]) + 1e-4f)
      return state.SkipWithError("filters differ");
  const double shares = static_cast<double>(lattice.shares.size()), corners = lattice.d + 1;
  const double bytes =
      4 * (2 * static_cast<double>(x.numel()) + 4 * shares + (2 * corners + 2) * lattice.vertices * static_cast<double>(labels));
  const double copy = copy_bandwidth(static_cast<std::size_t>(bytes / 2));
  for (auto _ : state) run(scatter);
  report_bandwidth(state, bytes, copy);
  state.counters["vertices"] = lattice.vertices;
}

/// One iteration: two filters, compatibilities, softmax.
void mean_field(benchmark::State& state, const Case& c) {
  crf::DenseCrf<float> crf(H, W, labels);
  crf.add(crf::GaussianTerm{});
  crf.add(crf::BilateralTerm{.sxy = c.sxy, .srgb = c.srgb, .compat = 4.0}, picture());
  const auto unary = random_uniform<float>({H, W, labels}, default_generator());
  auto q = crf.start(unary);
  for (auto _ : state) q = crf.step(unary, q);
}

}  // namespace

int main(int argc, char** argv) {
  const auto add = [](const std::string& name, auto run) {
    benchmark::RegisterBenchmark(name.c_str(), run)->UseRealTime()->Unit(benchmark::kMillisecond);
  };
  for (const Case& c : cases) {
    add(concat("permutohedral_lattice/", c.name), [=](benchmark::State& state) { build(state, c); });
    for (const bool scatter : {false, true})
      add(concat("permutohedral_filter/", c.name, scatter ? "/scatter" : "/segnet"),
          [=](benchmark::State& state) { filter(state, c, scatter); });
    if (c.srgb > 0) add(concat("mean_field/", c.name), [=](benchmark::State& state) { mean_field(state, c); });
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
