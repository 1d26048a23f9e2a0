// Message passing between all pairs of pixels: a normalised Gaussian filter in feature space, differentiable in what is filtered.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/matmul.hpp"
#include "segnet/kernels/permutohedral.hpp"

namespace segnet::crf {

enum class FilterAlgorithm {
  permutohedral,  ///< approximately, on the lattice: time and memory linear in the points
  exact           ///< the matrix of all pairs: for small images and tests
};

/// What makes of k(i, j) = exp(-|f_i - f_j|^2 / 2) and its sums n_i = sum_j k(i, j) the filter's matrix.
enum class FilterNormalization {
  none,      ///< k(i, j): on the lattice, whose sums are 0.3 to 0.9 of the exact ones, a poor approximation
  before,    ///< k(i, j) / n_j
  after,     ///< k(i, j) / n_i: rows sum to 1 (Krähenbühl & Koltun, NIPS 2011; CRF-RNN)
  symmetric  ///< k(i, j) / sqrt(n_i n_j) (the same authors, ICML 2013)
};

struct FilterOptions {
  FilterNormalization normalization = FilterNormalization::symmetric;
  FilterAlgorithm algorithm = FilterAlgorithm::permutohedral;
  bool include_self = true;  ///< k(i, i) = 1; else 0, which the lattice cannot do
};

/// A filter for points at `features`, built once for many applications, y = K x for every channel of x. Copies share it.
///
/// Lattice: O(N d^2) time to build, O((N + M) d C) to apply, with M <= N (d + 1) vertices, usually far fewer, and
/// (d + 1) (12 + sizeof(T)) bytes a point. Exact: N^2 elements, O(N^2 C). Same bits for any number of threads. On the CPU only: what is on
/// the GPU comes to the host first.
template <class T = float>
class GaussianFilter {
 public:
  /// @param features [N, d], in standard deviations; d at most 16
  /// @throws ShapeError: features;  ValueError: a feature that is not finite or larger than 10^6, include_self
  explicit GaussianFilter(const Tensor<T>& features, const FilterOptions& options = {}) : parts_(std::make_shared<Parts>()) {
    constexpr const char* op = "crf::GaussianFilter";
    const Shape& shape = features.shape();
    const bool lattice = options.algorithm == FilterAlgorithm::permutohedral;
    if (shape.rank() != 2 || shape[1] < 1 || shape[1] > kernels::max_lattice_dim)
      throw ShapeError(op, "features", concat("[points, 1 to ", kernels::max_lattice_dim, "]"), shape);
    if (shape[0] * (shape[1] + 1) > std::numeric_limits<std::int32_t>::max())
      throw ShapeError(op, "features", "fewer than 2^31 / (d + 1) points", shape);
    for (index_t i = 0; i < features.numel(); ++i)
      if (!(std::abs(static_cast<double>(features.data()[i])) <= kernels::max_lattice_position))
        throw ValueError(op, "features", concat("finite numbers up to ", kernels::max_lattice_position),
                         concat(features.data()[i], " at [", i / shape[1], ", ", i % shape[1], "]"));
    if (lattice && !options.include_self) throw ValueError(op, "include_self", "true on the lattice", "false");

    Parts& k = *parts_;
    k.points = shape[0];
    if (lattice) {
      k.lattice = kernels::permutohedral_lattice<T>(features.view());
    } else {
      k.matrix = Tensor<T>({k.points, k.points});
      kernels::gaussian_matrix(features.view(), options.include_self, k.matrix.view());
    }
    if (options.normalization == FilterNormalization::none) return;
    const bool symmetric = options.normalization == FilterNormalization::symmetric;
    const Tensor<T> n({k.points, 1});
    k.apply(false, ones<T>({k.points, 1}), n);
    for (index_t i = 0; i < k.points; ++i) {  // nothing is near a point alone that is not near itself: 0 / 1e-20
      const T guarded = n.data()[i] + T(1e-20);
      n.data()[i] = T(1) / (symmetric ? std::sqrt(guarded) : guarded);
    }
    if (options.normalization != FilterNormalization::after) k.right = n;
    if (options.normalization != FilterNormalization::before) k.left = n;
  }

  /// @param x [..., C], N rows   @return the same shape   @throws ShapeError: another number of rows
  /// Gradient to x: K^T dy, on the lattice the blurs in reverse order. NaN spreads as far as the filter reaches.
  [[nodiscard]] Tensor<T> operator()(const Tensor<T>& x) const {
    if (x.rank() < 1 || x.dim(-1) < 1 || x.numel() != parts_->points * x.dim(-1))
      throw ShapeError("crf::GaussianFilter", "x", concat("[..., C] with ", parts_->points, " rows"), x.shape());
    const Tensor<T> y(x.shape());
    parts_->apply(false, x, y);
    return record("crf::GaussianFilter", y, {x},
                  [parts = parts_](const Tensor<T>& dy, Gradients<T, Cpu>& grad) { parts->apply(true, dy, grad[0]); });
  }

  [[nodiscard]] index_t points() const { return parts_->points; }
  /// Vertices of the lattice; 0 of an exact filter.
  [[nodiscard]] index_t vertices() const { return parts_->lattice.vertices; }

 private:
  struct Parts {
    index_t points = 0;
    kernels::PermutohedralLattice<T> lattice;
    Tensor<T> matrix;       ///< [points, points], symmetric
    Tensor<T> left, right;  ///< [points, 1], or none: y = diag(left) K diag(right) x

    void apply(bool transposed, const Tensor<T>& x, const Tensor<T>& y) const {
      const index_t C = x.dim(-1);
      const T *l = left.data(), *r = right.data();
      if (transposed) std::swap(l, r);
      if (!matrix) {
        kernels::permutohedral_filter<T>(lattice, l, r, transposed, View<const T>{x.data(), {points, C}}, View<T>{y.data(), {points, C}});
        return;
      }
      const Tensor<T> scaled = r ? x.clone().alias({points, C}) : x.alias({points, C});
      for (index_t i = 0; r && i < points * C; ++i) scaled.data()[i] *= r[i / C];
      kernels::matmul<T>(kernels::matmul_geometry("crf::GaussianFilter", matrix.shape(), scaled.shape(), {}), matrix.view(), scaled.view(),
                         View<T>{y.data(), {points, C}});
      for (index_t i = 0; l && i < points * C; ++i) y.data()[i] *= l[i / C];
    }
  };
  std::shared_ptr<Parts> parts_;
};

}  // namespace segnet::crf
