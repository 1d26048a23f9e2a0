// Pairwise CRFs on few edges, such as the 4 or 8 neighbours of each pixel, and their mean field. Small ones are computed exactly, by going
// through all labellings.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"

namespace segnet::crf {

/// Nodes i and j interact with strength `weight`.
struct Edge {
  index_t i, j;
  double weight;
};

/// Edges of an image's pixels, numbered y * W + x, each pair once: to the right and below, with 8 neighbours diagonally below, too.
/// @throws ValueError: neighbours neither 4 nor 8
[[nodiscard]] inline std::vector<Edge> grid_edges(index_t H, index_t W, int neighbours = 4, double weight = 1) {
  if (neighbours != 4 && neighbours != 8) throw ValueError("crf::grid_edges", "neighbours", "4 or 8", concat(neighbours));
  std::vector<Edge> edges;
  for (index_t y = 0; y < H; ++y)
    for (index_t x = 0; x < W; ++x) {
      const index_t p = y * W + x;
      if (x + 1 < W) edges.push_back({p, p + 1, weight});
      if (y + 1 < H) edges.push_back({p, p + W, weight});
      if (neighbours == 8 && y + 1 < H) {
        if (x + 1 < W) edges.push_back({p, p + W + 1, weight});
        if (x > 0) edges.push_back({p, p + W - 1, weight});
      }
    }
  return edges;
}

/// The same, weaker across edges of the image: weight exp(-beta |I_i - I_j|^2), beta = 1 / (2 mean over the edges of |I_i - I_j|^2).
/// @param image [H, W, channels]   @throws ShapeError: image;  ValueError: neighbours
template <class Colour>
[[nodiscard]] std::vector<Edge> contrast_edges(const Tensor<Colour>& image, int neighbours = 4, double weight = 1) {
  if (image.rank() != 3) throw ShapeError("crf::contrast_edges", "image", "[H, W, channels]", image.shape());
  std::vector<Edge> edges = grid_edges(image.dim(0), image.dim(1), neighbours, weight);
  const index_t C = image.dim(2);
  std::vector<double> contrast;
  double sum = 0;
  for (const Edge& e : edges) {
    double square = 0;
    for (index_t c = 0; c < C; ++c) {
      const double d = static_cast<double>(image.data()[e.i * C + c]) - static_cast<double>(image.data()[e.j * C + c]);
      square += d * d;
    }
    contrast.push_back(square);
    sum += square;
  }
  for (std::size_t e = 0; e < edges.size() && sum > 0; ++e)
    edges[e].weight *= std::exp(-contrast[e] * static_cast<double>(edges.size()) / (2 * sum));
  return edges;
}

/// mu(a, b) = [a != b]
template <class T = double>
[[nodiscard]] Tensor<T> potts(index_t labels) {
  Tensor<T> mu = ones<T>({labels, labels});
  for (index_t l = 0; l < labels; ++l) mu.data()[l * (labels + 1)] = 0;
  return mu;
}

/// The energy of a labelling y, and the distribution exp(-E(y)) / Z:
///
///   E(y) = sum_i U_i(y_i) + sum over edges (i, j) of weight mu(y_i, y_j)
///
/// and its mean field, q(y) = product of q_i(y_i):
///
///   q_i(l) <- softmax over l of (-U_i(l) - sum over edges at i of weight sum_l' mu(l, l') q_j(l'))
template <class T = double>
class GridCrf {
 public:
  /// @param unary [nodes, labels], energies   @param edges of nodes   @param mu [labels, labels]; need not be symmetric: mu(y_i, y_j)
  /// @throws ShapeError: unary, mu;  ValueError: an edge to no node, or of a node to itself
  GridCrf(const Tensor<T>& unary, std::vector<Edge> edges, const Tensor<T>& mu)
      : unary_(unary), mu_(mu), edges_(std::move(edges)), begin_(static_cast<std::size_t>(unary.shape()[0]) + 1, 0) {
    constexpr const char* op = "crf::GridCrf";
    if (unary.rank() != 2 || unary.dim(1) < 1) throw ShapeError(op, "unary", "[nodes, labels]", unary.shape());
    if (mu.shape() != Shape{labels(), labels()}) throw ShapeError(op, "mu", concat(Shape{labels(), labels()}), mu.shape());
    for (const Edge& e : edges_) {
      if (std::min(e.i, e.j) < 0 || std::max(e.i, e.j) >= nodes() || e.i == e.j)
        throw ValueError(op, "edges", concat("two of ", nodes(), " nodes"), concat(e.i, " and ", e.j));
      ++begin_[static_cast<std::size_t>(e.i) + 1];
      ++begin_[static_cast<std::size_t>(e.j) + 1];
    }
    for (std::size_t i = 1; i < begin_.size(); ++i) begin_[i] += begin_[i - 1];
    links_.resize(2 * edges_.size());
    std::vector<std::size_t> next(begin_.begin(), begin_.end() - 1);
    for (const Edge& e : edges_) {
      links_[next[static_cast<std::size_t>(e.i)]++] = {e.j, static_cast<T>(e.weight), false};
      links_[next[static_cast<std::size_t>(e.j)]++] = {e.i, static_cast<T>(e.weight), true};
    }
  }

  [[nodiscard]] index_t nodes() const { return unary_.dim(0); }
  [[nodiscard]] index_t labels() const { return unary_.dim(1); }
  [[nodiscard]] const std::vector<Edge>& edges() const { return edges_; }

  /// E of `y`, `nodes` labels.
  [[nodiscard]] double energy(const std::int32_t* y) const {
    double sum = 0;
    for (index_t i = 0; i < nodes(); ++i) sum += static_cast<double>(unary_.data()[i * labels() + y[i]]);
    for (const Edge& e : edges_) sum += e.weight * static_cast<double>(mu_.data()[y[e.i] * labels() + y[e.j]]);
    return sum;
  }

  /// softmax(-U), where iteration begins: [nodes, labels]
  [[nodiscard]] Tensor<T> start() const {
    Tensor<T> q = unary_.clone();
    for (index_t i = 0; i < nodes(); ++i) probabilities(q.data() + i * labels());
    return q;
  }
  /// All nodes at once, q <- (1 - damping) new + damping old. Without damping it may oscillate. Same bits for any number of threads.
  [[nodiscard]] Tensor<T> parallel_step(const Tensor<T>& q, double damping = 0) const {
    check(q);
    const Tensor<T> next(q.shape());
    parallel_for(nodes(), 512, [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        T* to = next.data() + i * labels();
        update(i, q.data(), to);
        const T* old = q.data() + i * labels();
        for (index_t l = 0; l < labels() && damping != 0; ++l) to[l] += static_cast<T>(damping) * (old[l] - to[l]);
      }
    });
    return next;
  }
  /// One node after the other, in place: the free energy never rises.
  void raster_sweep(const Tensor<T>& q) const {
    check(q);
    std::vector<T> one(static_cast<std::size_t>(labels()));
    for (index_t i = 0; i < nodes(); ++i) {
      update(i, q.data(), one.data());
      std::copy(one.begin(), one.end(), q.data() + i * labels());
    }
  }
  /// F(q) = sum q log q + sum U q + sum over edges of weight q_i^T mu q_j >= -log Z; the divergence of q from the distribution is F + log
  /// Z.
  [[nodiscard]] double free_energy(const Tensor<T>& q) const {
    check(q);
    double sum = 0;
    for (index_t i = 0; i < q.numel(); ++i) {
      const double p = static_cast<double>(q.data()[i]);
      if (p > 0) sum += p * (std::log(p) + static_cast<double>(unary_.data()[i]));
    }
    for (const Edge& e : edges_)
      for (index_t a = 0; a < labels(); ++a)
        for (index_t b = 0; b < labels(); ++b)
          sum += e.weight * static_cast<double>(q.data()[e.i * labels() + a] * mu_.data()[a * labels() + b] * q.data()[e.j * labels() + b]);
    return sum;
  }

 private:
  struct Link {
    index_t other;
    T weight;
    bool backwards;  ///< the other node is the first of the edge: mu(its label, mine)
  };

  void check(const Tensor<T>& q) const {
    if (q.shape() != unary_.shape()) throw ShapeError("crf::GridCrf", "q", concat(unary_.shape()), q.shape());
  }
  /// Energies of one node's labels to probabilities, in place.
  void probabilities(T* e) const {
    const T least = *std::min_element(e, e + labels());
    T sum = 0;
    for (index_t l = 0; l < labels(); ++l) sum += e[l] = std::exp(least - e[l]);
    for (index_t l = 0; l < labels(); ++l) e[l] /= sum;
  }
  void update(index_t i, const T* q, T* to) const {
    const index_t L = labels();
    std::copy_n(unary_.data() + i * L, L, to);
    for (std::size_t k = begin_[static_cast<std::size_t>(i)]; k < begin_[static_cast<std::size_t>(i) + 1]; ++k) {
      const Link& link = links_[k];
      for (index_t l = 0; l < L; ++l)
        for (index_t m = 0; m < L; ++m)
          to[l] += link.weight * (link.backwards ? mu_.data()[m * L + l] : mu_.data()[l * L + m]) * q[link.other * L + m];
    }
    probabilities(to);
  }

  Tensor<T> unary_, mu_;
  std::vector<Edge> edges_;
  std::vector<std::size_t> begin_;  // links of a node: [begin_[i], begin_[i + 1])
  std::vector<Link> links_;
};

/// What a small CRF's distribution really is.
struct ExactInference {
  double log_partition = 0;            ///< log Z
  Tensor<double> marginals;            ///< [nodes, labels]
  Tensor<double> pair_marginals;       ///< [edges, labels, labels]
  Tensor<std::int32_t> most_probable;  ///< [nodes], the first of equals
  double least_energy = 0;
};

/// By going through all labels^nodes labellings. @throws ValueError: more than 2^24 of them
template <class T>
[[nodiscard]] ExactInference enumerate(const GridCrf<T>& crf) {
  const index_t n = crf.nodes(), L = crf.labels(), edges = static_cast<index_t>(crf.edges().size());
  if (static_cast<double>(n) * std::log2(static_cast<double>(L)) > 24)
    throw ValueError("crf::enumerate", "crf", "at most 2^24 labellings", concat(L, "^", n));
  ExactInference exact{-INFINITY, zeros<double>({n, L}), zeros<double>({edges, L, L}), zeros<std::int32_t>({n}), INFINITY};
  std::vector<std::int32_t> y(static_cast<std::size_t>(n), 0);
  const auto next = [&] {  // the last node's label runs fastest
    for (std::size_t i = y.size(); i-- > 0; y[i] = 0)
      if (++y[i] < L) return true;
    return false;
  };
  do {
    if (const double e = crf.energy(y.data()); e < exact.least_energy) {
      exact.least_energy = e;
      std::copy(y.begin(), y.end(), exact.most_probable.data());
    }
  } while (next());
  double total = 0;
  do {
    const double p = std::exp(exact.least_energy - crf.energy(y.data()));
    total += p;
    for (index_t i = 0; i < n; ++i) exact.marginals.data()[i * L + y[static_cast<std::size_t>(i)]] += p;
    for (index_t e = 0; e < edges; ++e) {
      const Edge& edge = crf.edges()[static_cast<std::size_t>(e)];
      exact.pair_marginals.data()[(e * L + y[static_cast<std::size_t>(edge.i)]) * L + y[static_cast<std::size_t>(edge.j)]] += p;
    }
  } while (next());
  for (Tensor<double>* t : {&exact.marginals, &exact.pair_marginals})
    for (index_t i = 0; i < t->numel(); ++i) t->data()[i] /= total;
  exact.log_partition = std::log(total) - exact.least_energy;
  return exact;
}

}  // namespace segnet::crf
