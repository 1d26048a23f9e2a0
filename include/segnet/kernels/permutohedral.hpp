// Gaussian filtering of points in a feature space of d dimensions, y_i = sum over j of exp(-|f_i - f_j|^2 / 2) x_j, for rows x_j of
// channels: as a matrix of all pairs, and approximately, in time linear in the points, on the permutohedral lattice: Adams, Baek, Davis,
// "Fast high-dimensional filtering using the permutohedral lattice", Computer Graphics Forum 29(2), 2010, as Krähenbühl & Koltun's dense
// CRF (arXiv:1210.5644) uses it.
//
// The lattice cuts space into simplices of d + 1 vertices. A point gives its row to those of its simplex (splat), the vertices blur theirs
// along the d + 1 directions of the lattice by 1/2, 1, 1/2, and the point reads back what its vertices have (slice):
//
//   K = alpha S B_d ... B_1 B_0 S^T,   S [points, vertices] barycentric weights, d + 1 a row
//
// Neighbours that no point has made do not exist and count as 0, so the blurs do not commute: K^T takes them in reverse. Rows of K sum to
// 0.3 to 0.9 of what the exact ones do, which a normalised filter does not see.
#pragma once

#include <cmath>
#include <vector>

#include "segnet/core/compiled.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/core/tensor.hpp"
#include "segnet/kernels/simd.hpp"

namespace segnet::kernels {

inline constexpr int max_lattice_dim = 16;
inline constexpr double max_lattice_position = 1e6;  ///< of a feature: keys stay well below 2^31

/// The simplex that a point lies in.
struct LatticeSimplex {
  std::int32_t origin[max_lattice_dim + 1];  ///< its vertex whose coordinates are multiples of d + 1; they sum to 0
  int rank[max_lattice_dim + 1];             ///< a permutation of 0 ... d: coordinates by falling distance from there
  double weight[max_lattice_dim + 2];        ///< barycentric, of vertices 0 ... d

  /// Coordinate i of vertex r. The first d of them tell vertices apart.
  SEGNET_HOST_DEVICE std::int32_t coordinate(int d, int r, int i) const { return origin[i] + (rank[i] <= d - r ? r : r - (d + 1)); }
};

/// Puts points of d features onto the plane in d + 1 dimensions that the lattice is in.
struct LatticeEmbedding {
  int dim;
  double scale[max_lattice_dim];  ///< makes the variance of splat, blur and slice one

  SEGNET_HOST_DEVICE explicit LatticeEmbedding(int d) : dim(d) {
    for (int i = 0; i < d; ++i) scale[i] = (d + 1) * std::sqrt(2.0 / 3.0 / ((i + 1) * (i + 2)));
  }

  template <class T>
  SEGNET_HOST_DEVICE LatticeSimplex operator()(const T* feature) const {
    return dim == 5 ? simplex<5>(feature) : dim == 2 ? simplex<2>(feature) : simplex<0>(feature);
  }

 private:
  /// Unrolled for a dimension that the compiler knows; 0: any.
  template <int known, class T>
  SEGNET_HOST_DEVICE LatticeSimplex simplex(const T* feature) const {
    const int d = known ? known : dim;
    const double per_step = 1.0 / (d + 1);
    double e[max_lattice_dim + 1], sum = 0;
    for (int j = d; j > 0; --j) {
      const double c = static_cast<double>(feature[j - 1]) * scale[j - 1];
      e[j] = sum - j * c;
      sum += c;
    }
    e[0] = sum;

    LatticeSimplex s;
    int off_plane = 0;  // what rounding each coordinate adds to their sum, in steps of d + 1
    for (int i = 0; i <= d; ++i) {
      const auto steps = static_cast<std::int32_t>(std::floor(e[i] * per_step + 0.5));
      s.origin[i] = steps * (d + 1);
      e[i] -= s.origin[i];
      off_plane += steps;
    }
    for (int i = 0; i <= d; ++i) s.rank[i] = off_plane;
    for (int i = 0; i < d; ++i)
      for (int j = i + 1; j <= d; ++j) {
        const int behind = e[i] < e[j];
        s.rank[i] += behind;
        s.rank[j] += 1 - behind;
      }
    for (int i = 0; i <= d; ++i) {
      const int back = s.rank[i] < 0 ? d + 1 : s.rank[i] > d ? -(d + 1) : 0;
      s.rank[i] += back;
      s.origin[i] += back;
      e[i] -= back;
    }

    for (int r = 0; r <= d + 1; ++r) s.weight[r] = 0;
    for (int i = 0; i <= d; ++i) {
      const double v = e[i] * per_step;
      s.weight[d - s.rank[i]] += v;
      s.weight[d + 1 - s.rank[i]] -= v;
    }
    s.weight[0] += 1 + s.weight[d + 1];
    return s;
  }
};

/// Keys of d integers, numbered in the order of their arrival.
class LatticeKeys {
 public:
  explicit LatticeKeys(int dim) : d_(static_cast<std::size_t>(dim)), slots_(1024, -1) {}

  [[nodiscard]] std::int32_t size() const { return size_; }
  [[nodiscard]] const std::int32_t* operator[](std::int32_t number) const { return keys_.data() + static_cast<std::size_t>(number) * d_; }
  /// The number of a key; -1 if it is not there.
  [[nodiscard]] std::int32_t find(const std::int32_t* key) const { return slots_[slot(key)]; }
  /// The same, with a new number if it was not there.
  std::int32_t add(const std::int32_t* key) {
    std::int32_t& number = slots_[slot(key)];
    if (number >= 0) return number;
    keys_.insert(keys_.end(), key, key + d_);
    number = size_++;
    if (2 * static_cast<std::size_t>(size_) > slots_.size()) {
      slots_.assign(2 * slots_.size(), -1);
      for (std::int32_t i = 0; i < size_; ++i) slots_[slot((*this)[i])] = i;
    }
    return size_ - 1;
  }

 private:
  /// Where a key is, or would be.
  std::size_t slot(const std::int32_t* key) const {
    std::uint64_t h = 0;
    for (std::size_t i = 0; i < d_; ++i) h = (h ^ static_cast<std::uint32_t>(key[i])) * 0x9e3779b97f4a7c15, h ^= h >> 32;
    for (std::size_t at = h & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1))
      if (slots_[at] < 0 || std::equal(key, key + d_, (*this)[slots_[at]])) return at;
  }

  std::size_t d_;
  std::vector<std::int32_t> slots_, keys_;  // slots: a power of two of them, half empty
  std::int32_t size_ = 0;
};

/// The vertices around a set of points, and how they hang together. Vertices are numbered in the order in which the points reach them.
template <class T>
struct PermutohedralLattice {
  struct Share {
    std::int32_t point;
    T weight;
  };
  int d = 0;
  std::int32_t points = 0, vertices = 0;
  std::vector<std::int32_t> vertex;     ///< [points, d + 1]
  std::vector<T> weight;                ///< [points, d + 1], barycentric
  std::vector<std::int32_t> begin;      ///< [vertices + 1]: the shares of a vertex, points in rising order
  std::vector<Share> shares;            ///< [points * (d + 1)]
  std::vector<std::int32_t> neighbour;  ///< [d + 1, vertices, 2], of each direction; `vertices` where there is none

  /// What makes the gain of one point alone in space 1, but for the blurs.
  [[nodiscard]] double alpha() const { return 1 / (1 + std::ldexp(1, -d)); }
};

/// The lattice around features [points, d], numbers up to `max_lattice_position`; fewer than 2^31 / (d + 1) points. In double.
template <class T>
[[nodiscard]] PermutohedralLattice<T> permutohedral_lattice(View<const T, Cpu> features) {
  constexpr index_t chunk = 4096;  // points whose vertices are numbered on their own first
  PermutohedralLattice<T> lattice;
  const int d = lattice.d = static_cast<int>(features.dim(1)), corners = d + 1;
  const index_t points = features.dim(0), chunks = (points + chunk - 1) / chunk;
  lattice.points = static_cast<std::int32_t>(points);
  lattice.vertex.resize(static_cast<std::size_t>(points * corners));
  lattice.weight.resize(lattice.vertex.size());
  const LatticeEmbedding embedding(d);
  std::vector<LatticeKeys> local(static_cast<std::size_t>(chunks), LatticeKeys(d));
  parallel_chunks(chunks, [&](index_t c) {
    std::int32_t key[max_lattice_dim];
    for (index_t p = c * chunk; p < std::min(points, (c + 1) * chunk); ++p) {
      const LatticeSimplex s = embedding(features.data + p * d);
      for (int r = 0; r < corners; ++r) {
        for (int i = 0; i < d; ++i) key[i] = s.coordinate(d, r, i);
        const auto at = static_cast<std::size_t>(p * corners + r);
        lattice.vertex[at] = local[static_cast<std::size_t>(c)].add(key);
        lattice.weight[at] = static_cast<T>(s.weight[r]);
      }
    }
  });

  LatticeKeys keys(d);
  std::vector<std::vector<std::int32_t>> number(local.size());  // of a chunk's vertices among all
  for (std::size_t c = 0; c < local.size(); ++c)
    for (std::int32_t i = 0; i < local[c].size(); ++i) number[c].push_back(keys.add(local[c][i]));
  const std::int32_t vertices = lattice.vertices = keys.size();
  lattice.begin.assign(static_cast<std::size_t>(vertices) + 1, 0);
  for (std::size_t c = 0, at = 0; c < number.size(); ++c)
    for (const std::size_t end = std::min(lattice.vertex.size(), at + static_cast<std::size_t>(chunk * corners)); at < end; ++at) {
      std::int32_t& v = lattice.vertex[at];
      v = number[c][static_cast<std::size_t>(v)];
      ++lattice.begin[static_cast<std::size_t>(v) + 1];
    }
  for (std::size_t v = 1; v < lattice.begin.size(); ++v) lattice.begin[v] += lattice.begin[v - 1];
  lattice.shares.resize(lattice.vertex.size());
  std::vector<std::int32_t> next(lattice.begin.begin(), lattice.begin.end() - 1);
  for (std::int32_t p = 0; p < lattice.points; ++p)
    for (int r = 0; r < corners; ++r) {
      const auto at = static_cast<std::size_t>(p * corners + r);
      lattice.shares[static_cast<std::size_t>(next[static_cast<std::size_t>(lattice.vertex[at])]++)] = {p, lattice.weight[at]};
    }

  // Direction j: one step back in all coordinates but j, d steps on there. Whose neighbour back is u is u's neighbour on.
  lattice.neighbour.assign(static_cast<std::size_t>(corners) * static_cast<std::size_t>(vertices) * 2, vertices);
  parallel_for(index_t{corners} * vertices, 2048, [&](index_t from, index_t to) {
    std::int32_t key[max_lattice_dim];
    for (index_t at = from; at < to; ++at) {
      const index_t j = at / vertices, v = at % vertices;
      for (int i = 0; i < d; ++i) key[i] = keys[static_cast<std::int32_t>(v)][i] + (i == j ? d : -1);
      const std::int32_t u = keys.find(key);
      if (u < 0) continue;
      lattice.neighbour[static_cast<std::size_t>(2 * at)] = u;
      lattice.neighbour[static_cast<std::size_t>(2 * (j * vertices + u) + 1)] = static_cast<std::int32_t>(v);
    }
  });
  return lattice;
}

namespace detail {

/// Rows of channels on the lattice. Registers go over channels; a row is padded to whole cache lines, whose rest is never looked at.
template <class T>
struct LatticeRows {
  const PermutohedralLattice<T>& lattice;
  index_t channels;
  index_t pitch = (channels + line - 1) / line * line;
  static constexpr index_t line = 64 / static_cast<index_t>(sizeof(T));

  /// Calls f(first register of a row, constant number of registers) until the row is done.
  template <Isa isa, class F>
  SEGNET_INLINE void in_registers(const F& f) const {
    constexpr index_t lanes = Simd<T, isa>::lanes;
    const index_t registers = (channels + lanes - 1) / lanes;
    index_t r = 0;
    for (; r + 4 <= registers; r += 4) f(r * lanes, std::integral_constant<int, 4>{});
    if (registers & 2) f(r * lanes, std::integral_constant<int, 2>{}), r += 2;
    if (registers & 1) f(r * lanes, std::integral_constant<int, 1>{});
  }

  /// rows = S^T diag(scale) x. Long sums are cut, for their rounding.
  void splat(const T* scale, const T* x, T* rows) const {
    const index_t end = index_t{lattice.points} * channels;  // behind x
    parallel_for(lattice.vertices, 64, [&](index_t first, index_t last) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        using S = Simd<T, isa.value>;
        using V = typename S::Vector;
        for (index_t v = first; v < last; ++v)
          in_registers<isa.value>([&](index_t at, auto count) SEGNET_INLINE_LAMBDA {
            V total[count.value] = {};
            const auto begin = static_cast<std::size_t>(v);
            for (std::int32_t k = lattice.begin[begin]; k < lattice.begin[begin + 1];) {
              V sum[count.value] = {};
              for (const std::int32_t stop = std::min(lattice.begin[begin + 1], k + 512); k < stop; ++k) {
                const auto share = lattice.shares[static_cast<std::size_t>(k)];
                const T weight = scale ? share.weight * scale[share.point] : share.weight;
                const index_t from = share.point * channels + at;
                if (from + count.value * S::lanes <= end) {
                  SEGNET_UNROLL for (int g = 0; g < count.value; ++g) sum[g] += weight * S::load(x + from + g * S::lanes);
                } else {  // the last point: a register would reach beyond x
                  T copy[count.value * S::lanes] = {};
                  for (index_t i = from; i < end; ++i) copy[i - from] = x[i];
                  SEGNET_UNROLL for (int g = 0; g < count.value; ++g) sum[g] += weight * S::load(copy + g * S::lanes);
                }
              }
              SEGNET_UNROLL for (int g = 0; g < count.value; ++g) total[g] += sum[g];
            }
            SEGNET_UNROLL for (int g = 0; g < count.value; ++g) S::at(rows + v * pitch + at + g * S::lanes) = total[g];
          });
      });
    });
  }

  /// to = B_direction from. The row behind the last is 0 in both.
  void blur(int direction, const T* from, T* to) const {
    const std::int32_t* neighbour = lattice.neighbour.data() + index_t{2} * direction * lattice.vertices;
    parallel_for(lattice.vertices, 512, [&](index_t first, index_t last) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        using S = Simd<T, isa.value>;
        for (index_t v = first; v < last; ++v) {
          const T *a = from + neighbour[2 * v] * pitch, *b = from + neighbour[2 * v + 1] * pitch;
          for (index_t c = 0; c < channels; c += S::lanes)
            S::at(to + v * pitch + c) = S::load(from + v * pitch + c) + T(0.5) * (S::load(a + c) + S::load(b + c));
        }
      });
    });
  }

  /// y = alpha diag(scale) S rows
  void slice(const T* scale, const T* rows, T* y) const {
    const T alpha = static_cast<T>(lattice.alpha());
    const int corners = lattice.d + 1;
    parallel_for(lattice.points, 1024, [&](index_t first, index_t last) {
      vectorized([&](auto isa) SEGNET_INLINE_LAMBDA {
        using S = Simd<T, isa.value>;
        using V = typename S::Vector;
        for (index_t p = first; p < last; ++p)
          in_registers<isa.value>([&](index_t at, auto count) SEGNET_INLINE_LAMBDA {
            V sum[count.value] = {};
            for (int r = 0; r < corners; ++r) {
              const auto corner = static_cast<std::size_t>(p * corners + r);
              const T* row = rows + lattice.vertex[corner] * pitch + at;
              SEGNET_UNROLL for (int g = 0; g < count.value; ++g) sum[g] += lattice.weight[corner] * S::load(row + g * S::lanes);
            }
            const T gain = scale ? alpha * scale[p] : alpha;
            T* to = y + p * channels + at;
            SEGNET_UNROLL for (int g = 0; g < count.value; ++g) {
              const V value = gain * sum[g];
              if (at + (g + 1) * S::lanes <= channels) S::at(to + g * S::lanes) = value;
              else S::store_partial(to + g * S::lanes, reinterpret_cast<const T*>(&value), channels - at - g * S::lanes);
            }
          });
      });
    });
  }
};

}  // namespace detail

/// y = diag(left) K diag(right) x, or with K^T, for rows x and y [points, channels]; left and right [points], null: ones. Same bits for any
/// number of threads. Scratch memory: two rows for each vertex.
template <class T>
void permutohedral_filter(const PermutohedralLattice<T>& lattice, const T* left, const T* right, bool transposed, ConstView<T> x,
                          View<T> y) {
  if (y.size() == 0) return;
  const detail::LatticeRows<T> on{lattice, y.dim(1)};
  const Tensor<T> a({lattice.vertices + 1, on.pitch}), b(a.shape());
  T *rows = a.data(), *blurred = b.data();
  for (T* row : {rows, blurred}) std::fill_n(row + lattice.vertices * on.pitch, on.pitch, T(0));
  on.splat(right, x.data, rows);
  for (int j = 0; j <= lattice.d; ++j, std::swap(rows, blurred)) on.blur(transposed ? lattice.d - j : j, rows, blurred);
  on.slice(left, rows, y.data);
}

/// The exact matrix k [points, points] of features [points, d]: k_ij = exp(-|f_i - f_j|^2 / 2); 0 on the diagonal unless `self`.
template <class T>
void gaussian_matrix(ConstView<T> features, bool self, View<T> k) {
  const index_t points = features.dim(0), d = features.dim(1);
  parallel_for(points, 8, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i)
      for (index_t j = 0; j < points; ++j) {
        T distance = 0;
        for (index_t f = 0; f < d; ++f) {
          const T difference = features[i * d + f] - features[j * d + f];
          distance += difference * difference;
        }
        k[i * points + j] = i == j && !self ? T(0) : std::exp(-distance / 2);
      }
  });
}

// Compiled once in segnet::compiled.
#define SEGNET_KERNELS_PERMUTOHEDRAL(TEMPLATE, T)                                                                      \
  TEMPLATE PermutohedralLattice<T> permutohedral_lattice(View<const T>);                                               \
  TEMPLATE void permutohedral_filter(const PermutohedralLattice<T>&, const T*, const T*, bool, ConstView<T>, View<T>); \
  TEMPLATE void gaussian_matrix(ConstView<T>, bool, View<T>);
SEGNET_EXTERN(SEGNET_KERNELS_PERMUTOHEDRAL)

}  // namespace segnet::kernels
