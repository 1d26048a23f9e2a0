#include "segnet/crf/crf_rnn.hpp"
#include "segnet/crf/dense_crf.hpp"
#include "segnet/crf/grid_crf.hpp"
#include "segnet/ops/permute.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

/// [labels, pixels] of the file as [pixels, labels], or the other way.
template <class T>
Tensor<T> turned(const Tensor<T>& t) {
  return permute(t, {1, 0});
}

crf::Compatibility compatibility(const Json& value) {
  const auto numbers = [](const Json& list) {
    std::vector<double> all;
    for (const Json& v : list.array()) all.push_back(v.number());
    return all;
  };
  if (!value.is_array()) return value.number();
  if (!value[0].is_array()) return numbers(value);
  std::vector<std::vector<double>> rows;
  for (const Json& row : value.array()) rows.push_back(numbers(row));
  return rows;
}

template <class T>
crf::DenseCrf<T> dense_crf(const CaseBase& c, const Tensor<std::uint8_t>& image, crf::FilterAlgorithm algorithm, bool include_self = true) {
  crf::DenseCrf<T> crf(c.integer("H"), c.integer("W"), c.integer("L"));
  for (const Json& term : c.attribute("terms").array()) {
    const auto numbers = [&](const char* key, std::size_t i) { return term[key][i].number(); };
    const std::string& name = term["normalization"].string();
    const crf::FilterOptions filter{name == "none"     ? crf::FilterNormalization::none
                                    : name == "before" ? crf::FilterNormalization::before
                                    : name == "after"  ? crf::FilterNormalization::after
                                                       : crf::FilterNormalization::symmetric,
                                    algorithm, include_self};
    const crf::SigmaXy sxy{numbers("sxy", 0), numbers("sxy", 1)};
    const auto compat = compatibility(term["compat"]);
    if (term["type"].string() == "gaussian") crf.add(crf::GaussianTerm{sxy, compat, filter});
    else crf.add(crf::BilateralTerm{sxy, {numbers("srgb", 0), numbers("srgb", 1), numbers("srgb", 2)}, compat, filter}, image);
  }
  return crf;
}

/// Calls f(Q) after each of the iterations that the file has, by the name of its tensor.
template <class T, class F>
void after_iterations(const CaseBase& c, const std::string& role, const crf::DenseCrf<T>& crf, const Tensor<T>& unary, const F& f) {
  Tensor<T> q = crf.start(unary);
  for (int i = 1; i <= 10; ++i) {
    q = crf.step(unary, q);
    if (const std::string name = concat(role, i); c.has(name)) f(name, turned(q.alias({q.dim(0) * q.dim(1), q.dim(2)})));
  }
}

}  // namespace

void add_crf(Registry& registry) {
  registry.add("crf_dense", []<class T, class D>(Case<T, D>& c) {
    if constexpr (std::is_same_v<D, Cuda>) c.not_implemented("dense CRF on the GPU");
    else {
      using crf::FilterAlgorithm;
      constexpr Compare wavering{.in_float = {.of_largest = 5e-5}};  // iteration makes more of what rounds where labels are near equal
      const auto image = c.template integer_input<std::uint8_t>("image");
      const auto unary = turned(c.input("unary")).alias({c.integer("H"), c.integer("W"), c.integer("L")});
      for (const bool self : {true, false})
        after_iterations(c, self ? "exact_Q" : "exact_noself_Q", dense_crf<T>(c, image, FilterAlgorithm::exact, self), unary,
                         [&](const std::string& role, const Tensor<T>& q) { c.check(role, q, wavering); });
      // pydensecrf's, which computes in float.
      after_iterations(c, "lattice_Q", dense_crf<T>(c, image, FilterAlgorithm::permutohedral), unary,
                       [&](const std::string& role, const Tensor<T>& q) { c.check_numbers(role, in_double(q), {.absolute = 5e-6}); });
    }
  });

  registry.add("crf_grid", []<class T, class D>(Case<T, D>& c) {
    if constexpr (std::is_same_v<D, Cuda>) c.not_implemented("grid CRF on the GPU");
    else {
      const auto ends = c.template integer_input<std::int64_t>("edges");
      const auto weights = c.numbers("edge_weight");
      std::vector<crf::Edge> edges;
      for (index_t e = 0; e < weights.numel(); ++e) edges.push_back({ends.data()[2 * e], ends.data()[2 * e + 1], weights.data()[e]});
      const crf::GridCrf<T> grid(turned(c.input("unary")), edges, c.input("compat"));
      const auto exact = crf::enumerate(grid);
      const Tolerance rounding =
          std::is_same_v<T, double> ? Tolerance{.absolute = 1e-12, .relative = 1e-12} : Tolerance{.absolute = 1e-5, .relative = 1e-5};
      c.check_numbers("log_partition", full<double>({}, exact.log_partition), rounding);
      c.check_numbers("map_energy", full<double>({}, exact.least_energy), rounding);
      c.check_numbers("marginals", turned(exact.marginals), rounding);
      c.check_numbers("pair_marginals", exact.pair_marginals, rounding);
      c.check("map_labels", exact.most_probable);
      Tensor<T> q = grid.start();
      for (int i = 1; i <= 50; ++i) {
        q = grid.parallel_step(q);
        if (const std::string role = concat("meanfield_Q", i); c.has(role)) c.check(role, turned(q));
      }
    }
  });

  registry.add("crf_rnn", []<class T, class D>(Case<T, D>& c) {
    const index_t L = c.integer("L"), H = c.integer("H"), W = c.integer("W");
    crf::CrfRnn<T, D> rnn({.classes = L,
                           .theta_gamma = c.number("theta_gamma"),
                           .theta_alpha = c.number("theta_alpha"),
                           .theta_beta = c.number("theta_beta"),
                           .train_iterations = static_cast<int>(c.integer("iterations")),
                           .algorithm = crf::FilterAlgorithm::exact,
                           .include_self = c.flag("include_self")});
    const auto set = [](Tensor<T, D>& parameter, const Tensor<T, D>& value) { parameter = value; };
    set(rnn.spatial_ker_weights, c.input("spatial_weight"));
    set(rnn.bilateral_ker_weights, c.input("bilateral_weight"));
    set(rnn.compatibility_matrix, c.input("compat") * -1);  // Caffe's sign
    const auto logits = reshape(permute(c.input("unary"), {1, 2, 0}), {1, H, W, L});
    const auto y = rnn(logits, c.input("image").alias({1, H, W, 3}));
    c.output("y", permute(reshape(y, {H, W, L}), {2, 0, 1}));
    c.check_gradients();
  });
}

}  // namespace segnet::golden
