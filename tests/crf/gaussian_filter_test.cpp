#include "segnet/crf/gaussian_filter.hpp"

#include <map>

#include "segnet/crf/features.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using crf::FilterAlgorithm, crf::FilterNormalization, crf::FilterOptions, crf::GaussianFilter;

namespace {

constexpr FilterNormalization normalizations[] = {FilterNormalization::none, FilterNormalization::before, FilterNormalization::after,
                                                  FilterNormalization::symmetric};

Tensor<double> identity(index_t n) {
  auto x = zeros<double>({n, n});
  for (index_t i = 0; i < n; ++i) x.at(i, i) = 1;
  return x;
}
Tensor<double> applied(const Tensor<double>& features, const Tensor<double>& x, bool transposed = false) {
  const auto lattice = kernels::permutohedral_lattice<double>(features.view());
  const Tensor<double> y(x.shape());
  kernels::permutohedral_filter<double>(lattice, nullptr, nullptr, transposed, x.view(), y.view());
  return y;
}

/// The definition of the lattice, a point and a vertex at a time.
Tensor<double> plain_lattice(const Tensor<double>& features, const Tensor<double>& x) {
  const index_t N = features.dim(0), C = x.dim(1);
  const int d = static_cast<int>(features.dim(1));
  using Row = std::vector<double>;
  std::map<std::vector<int>, Row> rows;
  const kernels::LatticeEmbedding embedding(d);
  const auto key = [&](const kernels::LatticeSimplex& s, int r) {
    std::vector<int> k;
    for (int i = 0; i <= d; ++i) k.push_back(s.coordinate(d, r, i));
    return k;
  };
  for (index_t p = 0; p < N; ++p) {
    const auto s = embedding(features.data() + p * d);
    for (int r = 0; r <= d; ++r) {
      Row& row = rows.try_emplace(key(s, r), Row(static_cast<std::size_t>(C), 0.0)).first->second;
      for (index_t c = 0; c < C; ++c) row[static_cast<std::size_t>(c)] += s.weight[r] * x.at(p, c);
    }
  }
  for (int j = 0; j <= d; ++j) {
    auto blurred = rows;
    for (auto& [k, row] : blurred)
      for (const int side : {-1, 1}) {
        std::vector<int> other = k;
        for (int i = 0; i <= d; ++i) other[static_cast<std::size_t>(i)] += side * (i == j ? d : -1);
        const auto found = rows.find(other);
        if (found == rows.end()) continue;
        for (std::size_t c = 0; c < row.size(); ++c) row[c] += found->second[c] / 2;
      }
    rows = blurred;
  }
  auto y = zeros<double>(x.shape());
  for (index_t p = 0; p < N; ++p) {
    const auto s = embedding(features.data() + p * d);
    for (int r = 0; r <= d; ++r)
      for (index_t c = 0; c < C; ++c) y.at(p, c) += s.weight[r] * rows[key(s, r)][static_cast<std::size_t>(c)] / (1 + std::pow(2.0, -d));
  }
  return y;
}

/// Three regions of 32 x 32 pixels, and noise.
Tensor<double> regions(double noise) {
  const auto image = normal<double>({32, 32, 3}, 0, noise);
  constexpr double colours[3][3] = {{40, 60, 200}, {180, 90, 60}, {90, 200, 120}};
  for (index_t y = 0; y < 32; ++y)
    for (index_t x = 0; x < 32; ++x)
      for (index_t c = 0; c < 3; ++c) image.at(y, x, c) += colours[y > 20 ? 2 : x + y / 2 > 16][c];
  return image;
}

}  // namespace

TEST_CASE("permutohedral lattice: the operator by hand, and the reverse order of blurs is its transpose") {
  struct Case {
    Tensor<double> features, expected;
    index_t vertices;
  };
  const Case cases[] = {{Tensor<double>({5, 1}, {0, .5, 1, 1.7, 3}),
                         Tensor<double>({5, 5}, {.833333, .737108, .589316, .185171, 0,       .737108, .807550, .796653, .470285,
                                                 .051567, .589316, .796653, .912821, .726753, .142734, .185171, .470285, .726753,
                                                 .976240, .421837, 0,       .051567, .142734, .421837, .798294}),
                         5},
                        {Tensor<double>({4, 2}, {0, 0, .3, -.7, 1, .5, -.7, 1.2}),
                         Tensor<double>({4, 4}, {.9, .638038, .530385, .358342, .532679, .674221, .357513, .097397, .530385, .348079,
                                                 .803077, .099334, .317513, .063640, .187261, .648696}),
                         9}};
  for (const Case& c : cases) {
    const index_t n = c.features.dim(0);
    CHECK(kernels::permutohedral_lattice<double>(c.features.view()).vertices == c.vertices);
    const auto k = applied(c.features, identity(n)), t = applied(c.features, identity(n), true);
    CHECK(max_difference(k, c.expected) < 6e-7);
    for (index_t i = 0; i < n; ++i)
      for (index_t j = 0; j < n; ++j) CHECK(std::abs(k.at(i, j) - t.at(j, i)) < 1e-15);
  }
}

TEST_CASE("permutohedral lattice: a point's simplex holds it") {
  for (int d = 1; d <= kernels::max_lattice_dim; ++d)
    for (const double range : {2.0, 1e6}) {
      const kernels::LatticeEmbedding embedding(d);
      const auto f = random_uniform<double>({d}, testing::random(), -range, range);
      const auto s = embedding(f.data());
      double sum = 0, at[kernels::max_lattice_dim + 1] = {};
      for (int r = 0; r <= d; ++r) {
        CHECK(s.weight[r] >= -1e-15 * range);
        sum += s.weight[r];
        index_t coordinates = 0;
        for (int i = 0; i <= d; ++i) {
          coordinates += s.coordinate(d, r, i);
          CHECK((s.coordinate(d, r, i) - r) % (d + 1) == 0);
          at[i] += s.weight[r] * s.coordinate(d, r, i);
        }
        CHECK(coordinates == 0);
      }
      CHECK(sum == doctest::Approx(1));
      double squares = 0, expected = 0;  // of what the vertices' mean is: distances grow by (d + 1) sqrt(2 / 3)
      for (int i = 0; i <= d; ++i) squares += at[i] * at[i];
      for (int i = 0; i < d; ++i) expected += f.data()[i] * f.data()[i];
      CHECK(squares == doctest::Approx(expected * (d + 1) * (d + 1) * 2 / 3));
    }
}

TEST_CASE("permutohedral filter: its definition, its exact adjoint, the same bits on any number of threads") {
  struct Case {
    index_t points, d, channels;
    double spread;
  };
  for (const Case& c : {Case{1, 2, 1, 1},
                        {200, 1, 2, 3},
                        {300, 2, 21, 2},
                        {150, 3, 16, 1},
                        {100, 5, 17, 2},
                        {40, 8, 70, 0.3},
                        {5000, 2, 3, 4},
                        {700, 2, 5, 0}}) {  // the last: one vertex has them all
    INFO("points ", c.points, " d ", c.d, " channels ", c.channels);
    const auto f = normal<double>({c.points, c.d}, 0, c.spread), x = normal<double>({c.points, c.channels}), y = normal<double>(x.shape());
    set_num_threads(2);
    const auto kx = applied(f, x), ky = applied(f, y, true);
    set_num_threads(1);
    CHECK(equal(kx, applied(f, x)));
    CHECK(equal(ky, applied(f, y, true)));
    CHECK(max_difference(kx, plain_lattice(f, x)) < 1e-11);
    CHECK(dot(kx, y) == doctest::Approx(dot(x, ky)).epsilon(1e-12).scale(std::sqrt(dot(kx, kx) * dot(y, y))));
    const auto in_float = [](const Tensor<double>& t) {
      Tensor<float> narrow(t.shape());
      for (index_t i = 0; i < t.numel(); ++i) narrow.data()[i] = static_cast<float>(t.data()[i]);
      return narrow;
    };
    const auto features = in_float(f);
    const auto exact = Tensor<double>(f.shape());  // the same simplices
    for (index_t i = 0; i < f.numel(); ++i) exact.data()[i] = static_cast<double>(features.data()[i]);
    const auto narrow = GaussianFilter<float>(features, {.normalization = FilterNormalization::none})(in_float(x));
    double largest = 0;
    const auto wide = applied(exact, x);
    for (index_t i = 0; i < wide.numel(); ++i) largest = std::max(largest, std::abs(wide.data()[i]));
    CHECK(max_difference(narrow, wide) < 3e-6 * std::max(1.0, largest));
  }
  set_num_threads(2);
}

TEST_CASE("Gaussian filter: normalisations, and gradients are those of the transpose") {
  const auto f = normal<double>({12, 2}), x = normal<double>({3, 4, 5});
  for (const FilterAlgorithm algorithm : {FilterAlgorithm::permutohedral, FilterAlgorithm::exact})
    for (const bool self : {true, false})
      for (const FilterNormalization normalization : normalizations) {
        if (!self && algorithm == FilterAlgorithm::permutohedral) continue;
        const std::string what =
            concat("algorithm ", static_cast<int>(algorithm), " self ", self, " normalization ", static_cast<int>(normalization));
        INFO(what);
        const GaussianFilter<double> filter(f, {normalization, algorithm, self});
        check_gradients(what, [&](const auto& in) { return filter(in[0]); }, {x.clone()}, {.step = 1, .max_elements = 8});
        const auto k = filter(identity(12)), raw = GaussianFilter<double>(f, {FilterNormalization::none, algorithm, self})(identity(12));
        std::vector<double> n;
        for (index_t i = 0; i < 12; ++i) n.push_back(dot(raw.alias({12}, 12 * i), ones<double>({12})));
        for (index_t i = 0; i < 12; ++i)
          for (index_t j = 0; j < 12; ++j) {
            const double ni = n[static_cast<std::size_t>(i)], nj = n[static_cast<std::size_t>(j)];
            const double by = normalization == FilterNormalization::none     ? 1
                              : normalization == FilterNormalization::before ? nj
                              : normalization == FilterNormalization::after  ? ni
                                                                             : std::sqrt(ni * nj);
            CHECK(k.at(i, j) == doctest::Approx(raw.at(i, j) / by).epsilon(1e-12));
            if (algorithm == FilterAlgorithm::permutohedral) continue;
            const double a = f.at(i, 0) - f.at(j, 0), b = f.at(i, 1) - f.at(j, 1);
            CHECK(raw.at(i, j) == doctest::Approx(i == j && !self ? 0 : std::exp(-(a * a + b * b) / 2)));
          }
      }
}

TEST_CASE("Gaussian filter: the lattice is near the exact one") {
  struct Case {
    const char* name;
    double sxy, srgb, noise;
    index_t fewest, most;  // vertices
    double after, symmetric;
  };
  // Errors are relative: root mean squares. Standard deviations below the noise are the hardest.
  for (const Case& c : {Case{"position/3", 3, 0, 0, 156, 156, .02, .03},
                        {"80, 13, noise 8", 80, 13, 8, 250, 700, .02, .05},
                        {"20, 13", 20, 13, 8, 400, 1000, .03, .05},
                        {"61, 10, noise 4", 61, 10, 4, 150, 450, .02, .05},
                        {"160, 3, noise 8", 160, 3, 8, 2500, 5000, .06, .08}}) {
    INFO(c.name);
    const auto image = regions(c.noise);
    const auto f = c.srgb > 0 ? crf::bilateral_features<float>(image, c.sxy, c.srgb) : crf::position_features<float>(32, 32, c.sxy);
    auto q = random_uniform<float>({1024, 3}, testing::random(), 0, 0.5);
    for (index_t p = 0; p < 1024; ++p) q.at(p, image.data()[3 * p] > 140 ? 0 : image.data()[3 * p + 2] > 160 ? 1 : 2) += 0.5f;
    for (const auto& [normalization, bound] :
         {std::pair{FilterNormalization::after, c.after}, {FilterNormalization::symmetric, c.symmetric}}) {
      const GaussianFilter<float> lattice(f, {.normalization = normalization});
      const auto y = lattice(q), exact = GaussianFilter<float>(f, {normalization, FilterAlgorithm::exact})(q);
      CHECK(lattice.vertices() >= c.fewest);
      CHECK(lattice.vertices() <= c.most);
      Tensor<float> difference(y.shape());
      for (index_t i = 0; i < y.numel(); ++i) difference.data()[i] = y.data()[i] - exact.data()[i];
      const double error = std::sqrt(dot(difference, difference) / dot(exact, exact));
      CHECK(error < bound);
    }
  }
}

TEST_CASE("Gaussian filter: one pixel, equal points, and wrong arguments") {
  for (const FilterNormalization normalization :
       {FilterNormalization::before, FilterNormalization::after, FilterNormalization::symmetric}) {
    const auto x = normal<double>({1, 3});
    CHECK(max_difference(GaussianFilter<double>(Tensor<double>({1, 2}, {5., -7.}), {.normalization = normalization})(x), x) < 1e-15);
    const GaussianFilter<double> alone(Tensor<double>({1, 2}, {5., -7.}), {normalization, FilterAlgorithm::exact, false});
    CHECK(equal(alone(x), zeros<double>({1, 3})));  // no neighbour, no message
    CHECK(max_difference(GaussianFilter<double>(full<double>({9, 5}, 0.3), {.normalization = normalization})(ones<double>({9, 2})),
                         ones<double>({9, 2})) < 1e-14);
  }
  const auto features = zeros<float>({6, 2});
  for (const float bad : {NAN, INFINITY, 2e6f}) {
    const auto f = zeros<float>({6, 2});
    f.at(4, 1) = bad;
    CHECK_THROWS_WITH_AS(void(GaussianFilter<float>(f)),
                         doctest::Contains(concat("expected finite numbers up to 1e+06, got ", bad, " at [4, 1]").c_str()), ValueError);
  }
  CHECK_THROWS_WITH_AS(void(GaussianFilter<float>(zeros<float>({6, 17}))), doctest::Contains("expected [points, 1 to 16], got [6, 17]"),
                       ShapeError);
  CHECK_THROWS_AS(void(GaussianFilter<float>(zeros<float>({6}))), ShapeError);
  CHECK_THROWS_WITH_AS(void(GaussianFilter<float>(features, {.include_self = false})),
                       doctest::Contains("'include_self': expected true on the lattice"), ValueError);
  CHECK_THROWS_WITH_AS(void(GaussianFilter<float>(features)(zeros<float>({5, 3}))),
                       doctest::Contains("expected [..., C] with 6 rows, got [5, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(void(crf::position_features(2, 3, {1, 0})), doctest::Contains("'sxy': expected positive numbers, got 0"),
                       ValueError);
  CHECK_THROWS_AS(void(crf::bilateral_features(zeros<float>({2, 3, 3}), 1, {1, -1, 1})), ValueError);
  CHECK_THROWS_WITH_AS(void(crf::bilateral_features(zeros<float>({2, 3, 4}), 1, 1)), doctest::Contains("expected [H, W, 3], got [2, 3, 4]"),
                       ShapeError);
}
