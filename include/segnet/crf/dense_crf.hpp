// The fully connected CRF and its mean field: Krähenbühl & Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
// potentials", NIPS 2011, arXiv:1210.5644, and "Parameter learning and convergent inference for dense random fields", ICML 2013.
#pragma once

#include <vector>

#include "segnet/crf/features.hpp"
#include "segnet/crf/gaussian_filter.hpp"
#include "segnet/kernels/softmax.hpp"
#include "segnet/ops/linear.hpp"

namespace segnet::crf {

/// mu(l, l'): the energy that a neighbour of label l' adds to label l, times the filter. Note the signs.
struct Compatibility {
  double number = 0;                        ///< Potts: equal labels are rewarded, -number where l = l', 0 elsewhere
  std::vector<double> diagonal;             ///< energies [labels] where l = l': negative ones attract
  std::vector<std::vector<double>> matrix;  ///< energies [labels, labels]: positive ones repel; (M + M^T) / 2 counts

  Compatibility(double potts) : number(potts) {}                                             // NOLINT: `.compat = 3`
  Compatibility(std::vector<double> energies) : diagonal(std::move(energies)) {}             // NOLINT
  Compatibility(std::vector<std::vector<double>> energies) : matrix(std::move(energies)) {}  // NOLINT
};

/// Smoothness: neighbours have equal labels. The standard values are pydensecrf's example's.
struct GaussianTerm {
  SigmaXy sxy = 3;
  Compatibility compat = 3.0;
  FilterOptions filter = {};
};
/// Appearance: pixels of like colour have equal labels, even far away.
struct BilateralTerm {
  SigmaXy sxy = 80;
  SigmaRgb srgb = 13;
  Compatibility compat = 10.0;
  FilterOptions filter = {};
};

/// Labels of an image by the energy
///
///   E(y) = sum_i U_i(y_i) + sum over pairs i < j of sum_m mu_m(y_i, y_j) k_m(i, j),   k_m a Gaussian filter's matrix
///
/// through the distribution Q = product of Q_i that mean field iteration makes nearest to exp(-E) / Z:
///
///   Q_i(l) <- softmax over l of (-U_i(l) - sum_m sum_l' mu_m(l, l') sum_j k_m(i, j) Q_j(l'))         all pixels at once
///
///   crf::DenseCrf<> crf(H, W, 21);
///   crf.add(crf::GaussianTerm{});
///   crf.add(crf::BilateralTerm{.sxy = 67, .srgb = 3, .compat = 4.0}, image);
///   labels = models::most_likely(crf.infer(crf::unary_from_logits(logits), 10));
///
/// Unaries and Q are [H, W, labels] or [1, H, W, labels]. By default each pixel is its own neighbour, too, as in all public code: what the
/// lattice does. On the CPU only. Same bits for any number of threads.
template <class T = float>
class DenseCrf {
 public:
  /// @throws ValueError: not positive
  DenseCrf(index_t height, index_t width, index_t labels) : H_(height), W_(width), labels_(labels) {
    for (const index_t n : {height, width, labels})
      if (n < 1) throw ValueError("crf::DenseCrf", "height, width, labels", "at least 1 each", concat(height, ", ", width, ", ", labels));
  }

  /// @throws ValueError: standard deviations, compat
  void add(const GaussianTerm& term) { add(position_features<T>(H_, W_, term.sxy), term.compat, term.filter); }
  /// @param image [H, W, 3], in the units of term.srgb   @throws ShapeError: image;  ValueError
  template <class Colour>
  void add(const BilateralTerm& term, const Tensor<Colour>& image) {
    if (image.rank() != 3 || image.dim(0) != H_ || image.dim(1) != W_ || image.dim(2) != 3)
      throw ShapeError("crf::DenseCrf::add", "image", concat(Shape{H_, W_, 3}), image.shape());
    add(bilateral_features<T>(image, term.sxy, term.srgb), term.compat, term.filter);
  }
  /// Any other kernel. @param features [H * W, d], in standard deviations   @throws ShapeError, ValueError as GaussianFilter
  void add(const Tensor<T>& features, const Compatibility& compat, const FilterOptions& options = {}) {
    if (features.rank() != 2 || features.dim(0) != H_ * W_)
      throw ShapeError("crf::DenseCrf::add", "features", concat("[", H_ * W_, ", d]"), features.shape());
    terms_.push_back({GaussianFilter<T>(features, options), energies(compat)});
  }

  /// Q after so many iterations from softmax(-U); 5 to 10 are usual.
  /// @throws ShapeError: unary;  ValueError: iterations, NaN, a pixel whose labels are all infinite
  [[nodiscard]] Tensor<T> infer(const Tensor<T>& unary, int iterations) const {
    if (iterations < 0) throw ValueError("crf::DenseCrf::infer", "iterations", "at least 0", concat(iterations));
    Tensor<T> q = start(unary);
    for (int i = 0; i < iterations; ++i) q = step(unary, q);
    return q;
  }
  /// The Q that iteration begins with. @throws as infer
  [[nodiscard]] Tensor<T> start(const Tensor<T>& unary) const {
    check_unary(unary);
    return most_probable(unary, zeros<T>(unary.shape()));
  }
  /// One iteration.
  [[nodiscard]] Tensor<T> step(const Tensor<T>& unary, const Tensor<T>& q) const {
    check_shape("unary", unary);
    return most_probable(unary, pairwise(q));
  }
  /// sum_m mu_m(K_m Q): the energy that the other pixels, distributed as q, add to each label of each pixel.
  [[nodiscard]] Tensor<T> pairwise(const Tensor<T>& q) const {
    check_shape("q", q);
    NoGrad guard;
    const Tensor<T> p = zeros<T>(q.shape());
    for (const Term& term : terms_) {
      const bool diagonal = term.energies.rank() == 1;
      const Tensor<T> f = diagonal ? term.filter(q) : linear(term.filter(q), term.energies);
      const T* mu = term.energies.data();
      parallel_for(H_ * W_, 1024, [&](index_t begin, index_t end) {
        vectorized([&]() SEGNET_INLINE_LAMBDA {
          for (index_t i = begin; i < end; ++i) {
            const T* from = f.data() + i * labels_;
            T* to = p.data() + i * labels_;
            SEGNET_SIMD for (index_t l = 0; l < labels_; ++l) to[l] += diagonal ? mu[l] * from[l] : from[l];
          }
        });
      });
    }
    return p;
  }
  /// What Krähenbühl's code watches: sum Q log Q + sum U Q + sum Q pairwise(Q). A monitor of convergence, not the exact KL divergence: log
  /// Z is missing, pairs count twice, and pixels are their own neighbours.
  [[nodiscard]] double kl_monitor(const Tensor<T>& unary, const Tensor<T>& q) const {
    check_shape("unary", unary);
    const Tensor<T> p = pairwise(q);
    double sum = 0;
    for (index_t i = 0; i < q.numel(); ++i) {
      const double qi = static_cast<double>(q.data()[i]);
      if (qi > 0) sum += qi * (std::log(std::max(qi, 1e-20)) + static_cast<double>(unary.data()[i]) + static_cast<double>(p.data()[i]));
    }
    return sum;
  }

 private:
  struct Term {
    GaussianFilter<T> filter;
    Tensor<T> energies;  ///< mu: its diagonal [labels], or [labels, labels]
  };

  [[nodiscard]] Tensor<T> energies(const Compatibility& c) const {
    const auto rows = static_cast<std::size_t>(labels_);
    const auto check = [&](std::size_t got) {
      if (got != rows) throw ValueError("crf::DenseCrf::add", "compat", concat("energies of ", labels_, " labels"), concat(got));
    };
    if (c.matrix.empty()) {
      Tensor<T> mu = full<T>({labels_}, static_cast<T>(-c.number));
      if (!c.diagonal.empty()) check(c.diagonal.size());
      for (std::size_t l = 0; l < c.diagonal.size(); ++l) mu.data()[l] = static_cast<T>(c.diagonal[l]);
      return mu;
    }
    check(c.matrix.size());
    for (const auto& row : c.matrix) check(row.size());
    Tensor<T> mu({labels_, labels_});
    for (std::size_t l = 0; l < rows; ++l)
      for (std::size_t k = 0; k < rows; ++k) mu.data()[l * rows + k] = static_cast<T>((c.matrix[l][k] + c.matrix[k][l]) / 2);
    return mu;
  }

  void check_shape(const char* argument, const Tensor<T>& t) const {
    const Shape one{H_, W_, labels_}, batch{1, H_, W_, labels_};
    if (t.shape() != one && t.shape() != batch) throw ShapeError("crf::DenseCrf", argument, concat(one, " or ", batch), t.shape());
  }
  void check_unary(const Tensor<T>& unary) const {
    check_shape("unary", unary);
    for (index_t p = 0; p < H_ * W_; ++p) {
      T least = std::numeric_limits<T>::infinity();
      for (index_t l = 0; l < labels_; ++l) {
        const T u = unary.data()[p * labels_ + l];
        least = std::isnan(u) ? u : std::min(least, u);
        if (std::isnan(u)) break;
      }
      if (!std::isfinite(least))
        throw ValueError("crf::DenseCrf", "unary", "no NaN, and a finite least energy at each pixel",
                         concat(least, " at [", p / W_, ", ", p % W_, "]"));
    }
  }
  [[nodiscard]] static Tensor<T> most_probable(const Tensor<T>& unary, const Tensor<T>& pairwise) {
    const Tensor<T> q(unary.shape());
    const T* u = unary.data();
    T* e = pairwise.data();
    parallel_for(q.numel(), 1 << 15, [&](index_t begin, index_t end) {
      vectorized([&]() SEGNET_INLINE_LAMBDA { SEGNET_SIMD for (index_t i = begin; i < end; ++i) e[i] = -u[i] - e[i]; });
    });
    kernels::softmax<T>(pairwise.view(), q.rank() - 1, q.view());
    return q;
  }

  index_t H_, W_, labels_;
  std::vector<Term> terms_;
};

}  // namespace segnet::crf
