#include "segnet/crf/crf_rnn.hpp"
#include "segnet/crf/dense_crf.hpp"
#include "segnet/crf/grid_crf.hpp"
#include "segnet/crf/unary.hpp"
#include "segnet/models/crf_rnn.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/nn/summary.hpp"

#include "models/learns.hpp"

using namespace segnet;
using namespace segnet::testing;
using crf::FilterAlgorithm, crf::FilterNormalization, crf::FilterOptions;

namespace {

/// -log of the probabilities of label 0 that are given, of two.
Tensor<double> two_labels(const Shape& shape, const std::vector<double>& p) {
  Tensor<double> u(shape);
  for (std::size_t i = 0; i < p.size(); ++i) {
    u.data()[2 * i] = -std::log(p[i]);
    u.data()[2 * i + 1] = -std::log(1 - p[i]);
  }
  return u;
}
/// Largest difference from probabilities of label 0.
double from_first(const Tensor<double>& q, const std::vector<double>& expected) {
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::abs(q.data()[2 * i] - expected[i]));
  return worst;
}

/// The pictures of the dense CRF's published numbers: 4 x 3 pixels, two labels.
const std::vector<double> small_p{.9, .8, .4, .2, .6, .3, .3, .1, .8, .7, .6, .3};
Tensor<std::uint8_t> small_image() {
  Tensor<std::uint8_t> image({3, 4, 3});
  for (index_t y = 0; y < 3; ++y)
    for (index_t x = 0; x < 4; ++x)
      for (index_t c = 0; c < 3; ++c) image.at(y, x, c) = static_cast<std::uint8_t>(x < 2 ? 40 + 5 * c : 200 - 10 * c);
  return image;
}
template <class T>
crf::DenseCrf<T> small_crf(const FilterOptions& filter) {
  crf::DenseCrf<T> crf(3, 4, 2);
  crf.add(crf::GaussianTerm{.sxy = 3, .compat = 1.0, .filter = filter});
  crf.add(crf::BilateralTerm{.sxy = 80, .srgb = 13, .compat = 2.0, .filter = filter}, small_image());
  return crf;
}

}  // namespace

TEST_CASE("grid CRF: marginals by enumeration, mean field in parallel and in raster order") {
  struct Case {
    int neighbours;
    double weight, log_z;
    std::vector<std::int32_t> map;
    double energy;
    std::vector<double> exact, parallel, raster, converged;
    double f_start, f_end;
  };
  const std::vector<std::int32_t> some{0, 0, 1, 0, 0, 1}, none{0, 0, 0, 0, 0, 0};
  const Case cases[] = {{4,
                         .5,
                         -1.440840,
                         some,
                         3.468970,
                         {.914027, .610796, .274300, .750615, .421286, .176635},
                         {.923947, .623743, .259744, .759017, .400000, .156264},
                         {.923947, .629346, .265427, .763370, .422444, .154671},
                         {.929946, .622437, .254791, .766194, .409703, .151639},
                         1.590000,
                         1.561688},
                        {4,
                         1,
                         -2.601311,
                         some,
                         4.468970,
                         {.895781, .611476, .300395, .772644, .477186, .222225},
                         {.942526, .646906, .223168, .809582, .400000, .120649},
                         {.942526, .666082, .246915, .822350, .492850, .129345},
                         {.961422, .664659, .216548, .844600, .461361, .116040},
                         3.180000,
                         3.057835},
                        {8,
                         .5,
                         -2.312867,
                         some,
                         4.468970,
                         {.890676, .599658, .300843, .751665, .477464, .229435},
                         {.916615, .600000, .240983, .776832, .448814, .169906},
                         {.916615, .603981, .241712, .780382, .459396, .170625},
                         {.931137, .633350, .257127, .799891, .473826, .179168},
                         2.620000,
                         2.579406},
                        {8,
                         1,
                         -3.726117,
                         none,
                         4.702563,
                         {.796729, .635399, .488722, .722201, .602026, .449500},
                         {.930683, .600000, .190418, .838526, .498634, .143528},
                         {.930683, .614633, .194970, .850424, .543876, .157184},
                         {.993840, .989181, .835784, .977390, .976567, .771495},
                         5.240000,
                         4.304822}};
  for (const Case& c : cases) {
    INFO(c.neighbours, " neighbours, weight ", c.weight);
    const crf::GridCrf<double> grid(two_labels({6, 2}, {.9, .6, .3, .7, .4, .2}), crf::grid_edges(2, 3, c.neighbours, c.weight),
                                    crf::potts(2));
    const auto exact = crf::enumerate(grid);
    CHECK(exact.log_partition == doctest::Approx(c.log_z).epsilon(1e-6));
    CHECK(exact.least_energy == doctest::Approx(c.energy).epsilon(1e-6));
    CHECK(equal(exact.most_probable, Tensor<std::int32_t>({6}, c.map)));
    CHECK(from_first(exact.marginals, c.exact) < 6e-7);

    auto q = grid.start();
    CHECK(grid.free_energy(q) == doctest::Approx(c.f_start).epsilon(1e-6));
    CHECK(from_first(grid.parallel_step(q), c.parallel) < 6e-7);
    double energy = grid.free_energy(q);
    for (int sweep = 0; sweep < 200; ++sweep) {
      grid.raster_sweep(q);
      if (sweep == 0) CHECK(from_first(q, c.raster) < 6e-7);
      CHECK(grid.free_energy(q) <= energy + 1e-12);
      energy = grid.free_energy(q);
      CHECK(energy >= -exact.log_partition);
    }
    CHECK(from_first(q, c.converged) < 2e-6);
    CHECK(energy == doctest::Approx(c.f_end).epsilon(1e-6));
    auto damped = grid.start();
    for (int i = 0; i < 200; ++i) damped = grid.parallel_step(damped, 0.5);
    CHECK(max_difference(damped, q) < 1e-6);
  }
}

TEST_CASE("grid CRF: parallel updates may oscillate, damped ones settle") {
  // Two nodes that want different labels but, more than that, the same one: each takes the other's.
  const crf::GridCrf<double> two(two_labels({2, 2}, {.6, .4}), {{0, 1, 5}}, crf::potts(2));
  auto q = two.start(), damped = two.start();
  for (int i = 0; i < 100; ++i) q = two.parallel_step(q), damped = two.parallel_step(damped, 0.5);
  CHECK(max_difference(q, two.parallel_step(q)) > 0.9);
  CHECK(max_difference(damped, two.parallel_step(damped)) < 1e-9);
}

TEST_CASE("grid CRF: edges, contrast, wrong arguments") {
  CHECK(crf::grid_edges(3, 4, 4).size() == 17);
  CHECK(crf::grid_edges(3, 4, 8).size() == 29);
  CHECK(crf::grid_edges(1, 1, 8).empty());
  // Squares 0 and 9 of neighbouring differences: mean 4.5, beta 1 / 9.
  const auto edges = crf::contrast_edges(Tensor<std::uint8_t>({1, 3, 1}, {7, 7, 10}), 4, 2.0);
  CHECK(edges[0].weight == 2);
  CHECK(edges[1].weight == doctest::Approx(2 * std::exp(-1.0)));
  CHECK(crf::contrast_edges(full<float>({2, 2, 3}, 5), 8)[3].weight == 1);

  const auto u = zeros<double>({4, 3});
  CHECK_THROWS_WITH_AS(void(crf::grid_edges(2, 2, 6)), doctest::Contains("'neighbours': expected 4 or 8, got 6"), ValueError);
  CHECK_THROWS_AS(void(crf::contrast_edges(zeros<float>({2, 2}))), ShapeError);
  CHECK_THROWS_WITH_AS(crf::GridCrf<double>(u, {}, crf::potts(2)), doctest::Contains("'mu': expected [3, 3], got [2, 2]"), ShapeError);
  CHECK_THROWS_AS(crf::GridCrf<double>(zeros<double>({4}), {}, crf::potts(3)), ShapeError);
  for (const crf::Edge& wrong : {crf::Edge{0, 4, 1}, {-1, 0, 1}, {2, 2, 1}})
    CHECK_THROWS_WITH_AS(crf::GridCrf<double>(u, {wrong}, crf::potts(3)), doctest::Contains("expected two of 4 nodes"), ValueError);
  const crf::GridCrf<double> grid(u, {}, crf::potts(3));
  CHECK_THROWS_AS(void(grid.parallel_step(zeros<double>({4, 2}))), ShapeError);
  CHECK_THROWS_WITH_AS(void(crf::enumerate(crf::GridCrf<double>(zeros<double>({25, 2}), {}, crf::potts(2)))),
                       doctest::Contains("expected at most 2^24 labellings, got 2^25"), ValueError);
}

TEST_CASE("dense CRF: exactly, on the lattice as Kraehenbuehl's code computes it, and how it converges") {
  struct Case {
    const char* name;
    FilterOptions filter;
    double tolerance;
    std::vector<double> first, fifth;
  };
  const Case cases[] = {{"exact, symmetric",
                         {.algorithm = FilterAlgorithm::exact},
                         6e-7,
                         {.952600, .894910, .237117, .099975, .770369, .477420, .166661, .047067, .899402, .832823, .412699, .160806},
                         {.979926, .952092, .107434, .039779, .890903, .680832, .071792, .018036, .956022, .920788, .213673, .066541}},
                        {"lattice, symmetric",
                         {},
                         6e-6,
                         {.95241, .89486, .23856, .10207, .76897, .47554, .16676, .04787, .89855, .83116, .41194, .16261},
                         {.97951, .95143, .10855, .04128, .88806, .67473, .07169, .01858, .95467, .91824, .21281, .06813}},
                        {"lattice, after",
                         {.normalization = FilterNormalization::after},
                         6e-6,
                         {.95206, .89417, .23752, .10130, .76792, .47363, .16617, .04763, .89818, .83027, .41052, .16174},
                         {.97895, .95017, .10646, .04018, .88559, .66873, .07048, .01819, .95374, .91634, .20911, .06661}},
                        {"exact, symmetric, without self",
                         {.algorithm = FilterAlgorithm::exact, .include_self = false},
                         6e-7,
                         {.939258, .879294, .228561, .115051, .779497, .564775, .173973, .060007, .884215, .825177, .353436, .168187},
                         {.976516, .945991, .115501, .046120, .885128, .706808, .079732, .021404, .950102, .913722, .210829, .074667}}};
  const auto u = two_labels({3, 4, 2}, small_p);
  for (const Case& c : cases) {
    INFO(c.name);
    const auto crf = small_crf<double>(c.filter);
    CHECK(from_first(crf.infer(u, 1), c.first) < c.tolerance);
    CHECK(from_first(crf.infer(u, 5), c.fifth) < c.tolerance);
    const auto batch = u.alias({1, 3, 4, 2});
    CHECK(equal(crf.infer(batch, 5), crf.infer(u, 5).alias({1, 3, 4, 2})));
    const auto narrow = small_crf<float>(c.filter).infer(cast<float>(u), 5);
    CHECK(max_difference(narrow, crf.infer(u, 5)) < 1e-5);
  }
  const auto crf = small_crf<double>({});
  auto q = crf.start(u);
  for (const double monitor : {-19.72283, -22.24784, -23.57879, -24.08558, -24.25626, -24.31196}) {
    CHECK(crf.kl_monitor(u, q) == doctest::Approx(monitor).epsilon(1e-6));
    q = crf.step(u, q);
  }
}

TEST_CASE("dense CRF: the lattice's labels are the exact ones") {
  constexpr index_t side = 32, L = 3;
  Tensor<float> image({side, side, 3}), p({side, side, L});
  for (index_t y = 0; y < side; ++y)
    for (index_t x = 0; x < side; ++x) {
      const index_t region = y > 20 ? 2 : x + y / 2 > 16;
      double sum = 0;
      for (index_t c = 0; c < 3; ++c) {
        image.at(y, x, c) = static_cast<float>((region == c ? 180 : 70) + 8 * testing::random().normal());
        sum += p.at(y, x, c) = static_cast<float>(std::exp((region == c ? 1 : 0) + testing::random().normal()));
      }
      for (index_t c = 0; c < L; ++c) p.at(y, x, c) /= static_cast<float>(sum);
    }
  const auto inferred = [&](FilterAlgorithm algorithm) {
    const FilterOptions filter{.algorithm = algorithm};
    crf::DenseCrf<float> crf(side, side, L);
    crf.add(crf::GaussianTerm{.filter = filter});
    crf.add(crf::BilateralTerm{.sxy = 20, .srgb = 13, .filter = filter}, image);
    return crf.infer(crf::unary_from_probabilities(p), 5).alias({1, side, side, L});
  };
  const auto lattice = inferred(FilterAlgorithm::permutohedral), exact = inferred(FilterAlgorithm::exact);
  const auto labels = models::most_likely(lattice), expected = models::most_likely(exact);
  double off = 0;
  int flipped = 0;
  for (index_t i = 0; i < lattice.numel(); ++i) off += std::abs(lattice.data()[i] - exact.data()[i]);
  for (index_t i = 0; i < labels.numel(); ++i) flipped += labels.data()[i] != expected.data()[i];
  CHECK(off / static_cast<double>(lattice.numel()) < 0.015);
  CHECK(flipped <= side * side / 50);
}

TEST_CASE("dense CRF: compatibilities by number, vector and matrix") {
  const index_t L = 3;
  const auto u = normal<double>({4, 5, L}), features = normal<double>({20, 2});
  const auto inferred = [&](const crf::Compatibility& compat) {
    crf::DenseCrf<double> crf(4, 5, L);
    crf.add(features, compat);
    return crf.infer(u, 3);
  };
  const auto potts = inferred(2.0);
  CHECK(max_difference(potts, inferred({std::vector<double>{-2, -2, -2}})) < 1e-12);
  CHECK(max_difference(potts, inferred({std::vector<std::vector<double>>{{-2, 0, 0}, {0, -2, 0}, {0, 0, -2}}})) < 1e-12);
  // Its symmetric part counts, and what all labels get alike does not.
  CHECK(max_difference(inferred({std::vector<std::vector<double>>{{0, 3, 1}, {1, 0, 5}, {3, -1, 0}}}), potts) < 1e-12);
  CHECK(max_difference(potts, crf::DenseCrf<double>(4, 5, L).infer(u, 3)) > 1e-2);
}

TEST_CASE("dense CRF: one pixel, one label, impossible labels, and wrong arguments") {
  const auto image = zeros<std::uint8_t>({1, 1, 3});
  crf::DenseCrf<double> pixel(1, 1, 2);
  pixel.add(crf::GaussianTerm{.compat = 0.5});
  pixel.add(crf::BilateralTerm{.compat = 0.25}, image);
  const auto u = two_labels({1, 1, 2}, {.7});
  const double q1 = pixel.infer(u, 1).data()[0];  // its own neighbour: odds .7 / .3 times exp(.75 (.7 - .3))
  CHECK(q1 / (1 - q1) == doctest::Approx(.7 / .3 * std::exp(.75 * .4)).epsilon(1e-9));

  crf::DenseCrf<double> label(3, 4, 1);
  label.add(crf::GaussianTerm{});
  CHECK(equal(label.infer(normal<double>({3, 4, 1}), 2), ones<double>({3, 4, 1})));

  const auto never = two_labels({3, 4, 2}, small_p);
  never.at(1, 1, 1) = INFINITY;
  const auto crf = small_crf<double>({});
  const auto q = crf.infer(never, 3);
  CHECK(q.at(1, 1, 0) == 1);
  CHECK(std::isfinite(dot(q, q)));
  for (const double bad : {double(NAN), double(INFINITY)}) {
    const auto wrong = never.clone();
    wrong.at(1, 1, 0) = bad;
    CHECK_THROWS_WITH_AS(void(crf.infer(wrong, 3)), doctest::Contains("expected no NaN, and a finite least energy at each pixel"),
                         ValueError);
  }
  CHECK_THROWS_WITH_AS(void(crf.infer(u, 3)), doctest::Contains("'unary': expected [3, 4, 2] or [1, 3, 4, 2], got [1, 1, 2]"), ShapeError);
  CHECK_THROWS_AS(void(crf.kl_monitor(never, u)), ShapeError);
  CHECK_THROWS_AS(void(crf.infer(never, -1)), ValueError);
  CHECK_THROWS_AS(crf::DenseCrf<>(3, 0, 2), ValueError);
  CHECK_THROWS_WITH_AS(pixel.add(crf::BilateralTerm{}, small_image()), doctest::Contains("'image': expected [1, 1, 3], got [3, 4, 3]"),
                       ShapeError);
  CHECK_THROWS_AS(pixel.add(zeros<double>({2, 2}), 1.0), ShapeError);
  CHECK_THROWS_WITH_AS(pixel.add(crf::GaussianTerm{.compat = std::vector<double>{1, 2, 3}}),
                       doctest::Contains("expected energies of 2 labels, got 3"), ValueError);
  CHECK_THROWS_AS(pixel.add(crf::GaussianTerm{.compat = std::vector<std::vector<double>>{{1, 2}, {1}}}), ValueError);
}

TEST_CASE("unary energies: from probabilities, logits and label maps") {
  const auto logits = normal<double>({2, 3, 4});
  logits.at(0, 0, 0) = 100;  // the others' probabilities are clipped
  const auto u = crf::unary_from_logits(logits);
  CHECK(max_difference(u, crf::unary_from_probabilities(softmax(logits))) < 1e-12);
  CHECK(u.at(0, 0, 1) == doctest::Approx(-std::log(1e-5)));
  CHECK(u.at(1, 1, 0) - u.at(1, 1, 1) == doctest::Approx(logits.at(1, 1, 1) - logits.at(1, 1, 0)));
  const auto drawn = crf::unary_from_labels(Tensor<std::int32_t>({1, 2}, {2, 255}), 3, {.certainty = 0.7});
  const Tensor<double> expected({1, 2, 3}, {-std::log(.15), -std::log(.15), -std::log(.7), std::log(3), std::log(3), std::log(3)});
  CHECK(max_difference(drawn, expected) < 1e-6);
  CHECK_THROWS_WITH_AS(void(crf::unary_from_labels(full<std::int32_t>({1}, 3), 3)),
                       doctest::Contains("expected labels 0 to 2 or 255, got 3"), ValueError);
  CHECK_THROWS_AS(void(crf::unary_from_labels(full<std::int32_t>({1}, 0), 1)), ValueError);
  CHECK_THROWS_AS(void(crf::unary_from_labels(full<std::int32_t>({1}, 0), 3, {.certainty = 1})), ValueError);
  CHECK_THROWS_AS(void(crf::unary_from_probabilities(logits, 0)), ValueError);
}

TEST_CASE("CRF-RNN: as it begins it is the dense CRF") {
  const auto image = small_image();
  crf::DenseCrf<double> dense(3, 4, 2);
  const FilterOptions after{.normalization = FilterNormalization::after};
  dense.add(crf::GaussianTerm{.sxy = 3, .compat = 3.0, .filter = after});
  dense.add(crf::BilateralTerm{.sxy = 160, .srgb = 3, .compat = 5.0, .filter = after}, image);
  const auto u = two_labels({1, 3, 4, 2}, small_p), logits = u * -1.0;
  crf::CrfRnn<double> rnn({.classes = 2});
  const auto x = cast<double>(image).alias({1, 3, 4, 3});
  CHECK(max_difference(softmax(rnn(logits, x)), dense.infer(u, 5)) < 1e-12);
  nn::eval(rnn);
  CHECK(max_difference(softmax(rnn(logits, x)), dense.infer(u, 10)) < 1e-12);
  rnn.options.test_iterations = 0;
  CHECK(equal(rnn(logits, x), logits));
  CHECK(nn::num_parameters(crf::CrfRnn<>{}) == 1323);
}

TEST_CASE("CRF-RNN: gradients through all iterations, image by image") {
  const Shape shape{2, 3, 4, 3};
  const auto image = random_uniform<double>(shape, testing::random(), 0, 20);
  for (const FilterAlgorithm algorithm : {FilterAlgorithm::permutohedral, FilterAlgorithm::exact}) {
    const crf::CrfRnn<double> rnn({.classes = 3, .theta_alpha = 4, .theta_beta = 10, .train_iterations = 3, .algorithm = algorithm});
    for (const auto& p : nn::parameters<double>(rnn))
      for (index_t i = 0; i < p.numel(); ++i) p.data()[i] += 0.3 * testing::random().normal();
    check_gradients(concat("CRF-RNN, algorithm ", static_cast<int>(algorithm)), [&](const auto& in) { return rnn(in[0], image); },
                    {normal<double>(shape), rnn.spatial_ker_weights, rnn.bilateral_ker_weights, rnn.compatibility_matrix},
                    {.max_elements = 9});
    const auto s = normal<double>(shape);
    const auto both = rnn(s, image);
    for (index_t n = 0; n < 2; ++n) CHECK(equal(narrow(both, 0, n, 1), rnn(narrow(s, 0, n, 1), narrow(image, 0, n, 1))));
  }
}

TEST_CASE("CRF-RNN: no images, NaN, and wrong arguments") {
  const crf::CrfRnn<> rnn({.classes = 3});
  CHECK(rnn(Tensor<float>({0, 4, 4, 3}), Tensor<float>({0, 4, 4, 3})).shape() == Shape{0, 4, 4, 3});
  const auto logits = zeros<float>({1, 2, 3, 3}), image = zeros<float>({1, 2, 3, 3});
  logits.at(0, 0, 0, 0) = NAN;  // spreads as far as the filters reach
  CHECK(std::isnan(rnn(logits, image).at(0, 1, 2, 1)));
  image.at(0, 1, 0, 2) = NAN;
  CHECK_THROWS_WITH_AS(void(rnn(zeros<float>({1, 2, 3, 3}), image)), doctest::Contains("got nan at [3, 4]"), ValueError);
  CHECK_THROWS_WITH_AS(void(rnn(zeros<float>({1, 2, 3, 4}), image)), doctest::Contains("'logits': expected [N, H, W, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(void(rnn(logits, zeros<float>({1, 3, 2, 3}))), doctest::Contains("'image': expected [1, 2, 3, 3], got [1, 3, 2, 3]"),
                       ShapeError);
  CHECK_THROWS_AS(crf::CrfRnn<>({.classes = 0}), ValueError);
  CHECK_THROWS_AS(crf::CrfRnn<>({.test_iterations = -1}), ValueError);
}

TEST_CASE("CRF-RNN on FCN-8s: counts, names, colours in other units, and learning") {
  {
    const nn::ShapesOnly shapes;
    models::CrfRnnNet<> net;
    CHECK(nn::num_parameters(net) == nn::num_parameters(net.fcn) + 1323);
    CHECK(nn::state_dict(net).back().name == "crfrnn.compatibility_matrix");
    CHECK(net(Tensor<float>({1, 50, 60, 3})).shape() == Shape{1, 50, 60, 21});
  }
  const models::FcnOptions fcn{.classes = 3, .width = 4, .hidden = 16, .aligned = true, .learn_upsampling = true};
  models::CrfRnnNet<> net({.fcn = fcn, .crf = {.theta_alpha = 20, .theta_beta = 13}, .colour_scale = {58, 57, 57}});
  const auto x = normal<float>({1, 32, 32, 3});
  for (auto* score : {&net.fcn.score_fr, &*net.fcn.score_pool4, &*net.fcn.score_pool3})
    nn::init::kaiming_normal(score->weight, testing::random());
  const auto scores = net.fcn(x), units = x * Tensor<float>({3}, {58.f, 57.f, 57.f});
  CHECK(scores.dim(3) == 3);
  nn::eval(net);
  CHECK(equal(net(x), net.crfrnn(net.fcn(x), units)));
  learns(net, {1, 32, 32, 3}, 3, 32, 32);
  CHECK(net.crfrnn.compatibility_matrix.grad());
  CHECK_THROWS_WITH_AS(models::CrfRnnNet<>({.fcn = {.in_channels = 1, .width = 2, .hidden = 2}}),
                       doctest::Contains("expected 3, colours, got 1"), ValueError);
}
