// The small transforms of Winograd convolution, for any tile size: matrices made from their interpolation points at compile time.
//
// F(m, r) is a correlation of n = m + r - 1 inputs d with r taps g that gives m outputs in n multiplications, not m * r:
//
//   y = A^T [(G g) * (B^T d)]         and in two dimensions, for square tiles:      Y = A^T [(G g G^T) * (B^T d B)] A
//
// Lavin & Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308. The matrices follow from n - 1 points at which
// polynomials are evaluated, and infinity (Toom-Cook). Points that are not {0, +-1, +-2} make the result several times more accurate:
// Barabasz et al., "Error analysis and improving the accuracy of Winograd convolution for deep neural networks", arXiv:1803.10986.
#pragma once

#include <type_traits>

#include "segnet/core/isa.hpp"

namespace segnet::kernels::winograd {

/// Matrices of F(m, r). Points 2k - 1 and 2k are opposite numbers, which halves the work of every transform.
template <int m, int r>
struct Matrices {
  static constexpr int n = m + r - 1;
  double At[m][n] = {}, G[n][r] = {}, Bt[n][n] = {};

  constexpr Matrices() {
    static_assert(n == 4 || n == 6, "F(2, 3) and F(3, 2), F(4, 3) and F(3, 4)");
    // 5/8 and 3/2: all of A and B is exact in float, and the error in sums over normal numbers is a quarter of what 1 and 2 give.
    const double p = n == 4 ? 1 : 0.625, q = 1.5, points[] = {0, p, -p, q, -q};
    for (int j = 0; j < n - 1; ++j) {
      double power = 1, scale = 1, polynomial[n] = {1};  // the product of x - point over all the other points
      for (int other = 0, degree = 0; other < n - 1; ++other) {
        if (other == j) continue;
        scale *= points[j] - points[other];
        multiply(polynomial, ++degree, points[other]);
      }
      for (int i = 0; i < n; ++i) Bt[j][i] = polynomial[i];
      for (int i = 0; i < m || i < r; ++i, power *= points[j]) {
        if (i < m) At[i][j] = power;
        if (i < r) G[j][i] = power / scale;
      }
    }
    Bt[n - 1][0] = 1;
    for (int j = 0; j < n - 1; ++j) multiply(Bt[n - 1], j + 1, points[j]);
    At[m - 1][n - 1] = G[n - 1][r - 1] = 1;
  }

 private:
  /// Times x - point; `degree` is that of the result.
  static constexpr void multiply(double (&polynomial)[n], int degree, double point) {
    for (int i = degree; i > 0; --i) polynomial[i] = polynomial[i - 1] - point * polynomial[i];
    polynomial[0] *= -point;
  }
};

template <int m, int r>
inline constexpr Matrices<m, r> matrices{};

/// The matrix that takes `in` numbers to n positions: B^T for in = n, else G of F(n - in + 1, in).
template <int in, int n>
constexpr const double (&matrix_to_positions())[n][in] {
  if constexpr (in == n) return matrices<n - 2, 3>.Bt;  // it depends on the points alone
  else return matrices<n - in + 1, in>.G;
}

// Vectors are Simd<T, isa>::Vector by name, here and in what calls these: a type that is deduced would lose its alignment.

/// sum += factor * x, where a factor of 0 or 1 costs nothing. `empty`: sum is still to be assigned.
template <class S>
SEGNET_INLINE void add_term(typename S::Vector& sum, bool& empty, double factor, const typename S::Vector& x) {
  if (factor == 0) return;
  const auto c = static_cast<std::remove_cvref_t<decltype(x[0])>>(factor);
  if (empty) sum = factor == 1 ? x : c * x;
  else sum = factor == 1 ? sum + x : sum + c * x;
  empty = false;
}

/// out = matrix * in, for G and B^T: rows of opposite points differ in the signs of odd columns. Sums begin at the highest power, whose
/// factor is often 1; that of odd columns is multiplied in where they meet the even ones, one operation for both.
template <class S, int rows, int columns>
SEGNET_INLINE void evaluate(const double (&matrix)[rows][columns], const typename S::Vector (&in)[columns],
                            typename S::Vector (&out)[rows]) {
  using V = typename S::Vector;
  const auto sum = [&](int row, int last, int step, double scale, V& terms) SEGNET_INLINE_LAMBDA {
    bool empty = true;
    SEGNET_UNROLL for (int i = last; i >= 0; i -= step) add_term<S>(terms, empty, matrix[row][i] / scale, in[i]);
  };
  constexpr int last_odd = (columns - 2) / 2 * 2 + 1, last_even = (columns - 1) / 2 * 2;
  sum(0, columns - 1, 1, 1, out[0]);
  SEGNET_UNROLL for (int j = 1; j < rows - 2; j += 2) {
    V even, odd;
    const int highest = matrix[j][last_odd] != 0 ? last_odd : last_odd - 2;
    const double scale = matrix[j][highest];
    sum(j, last_even, 2, 1, even);
    sum(j, highest, 2, scale, odd);
    const auto factor = static_cast<std::remove_cvref_t<decltype(odd[0])>>(scale);
    out[j] = even + factor * odd;
    out[j + 1] = even - factor * odd;
  }
  sum(rows - 1, columns - 1, 1, 1, out[rows - 1]);
}

/// out = matrix * in, for A^T: columns of opposite points differ in the signs of odd rows.
template <class S, int rows, int columns>
SEGNET_INLINE void interpolate(const double (&matrix)[rows][columns], const typename S::Vector (&in)[columns],
                               typename S::Vector (&out)[rows]) {
  typename S::Vector sum[columns], difference[columns];
  SEGNET_UNROLL for (int j = 1; j < columns - 2; j += 2) {
    sum[j] = in[j] + in[j + 1];
    difference[j] = in[j] - in[j + 1];
  }
  SEGNET_UNROLL for (int i = 0; i < rows; ++i) {
    bool empty = true;
    add_term<S>(out[i], empty, matrix[i][columns - 1], in[columns - 1]);
    add_term<S>(out[i], empty, matrix[i][0], in[0]);
    SEGNET_UNROLL for (int j = 1; j < columns - 2; j += 2) add_term<S>(out[i], empty, matrix[i][j], i % 2 ? difference[j] : sum[j]);
  }
}

/// Applies a transform of `in` to `out` vectors to the columns, then the rows, of what lies at load(i, j); store(i, j, vector) takes
/// the result. S = Simd<T, isa>.
template <class S, int in, int out, class Apply, class Load, class Store>
SEGNET_INLINE void transform_2d(const Apply& apply, const Load& load, const Store& store) {
  using V = typename S::Vector;
  alignas(64) V half[out][in];
  for (int j = 0; j < in; ++j) {
    V column[in], result[out];
    SEGNET_UNROLL for (int i = 0; i < in; ++i) column[i] = S::load(load(i, j));
    apply(column, result);
    SEGNET_UNROLL for (int i = 0; i < out; ++i) half[i][j] = result[i];
  }
  for (int i = 0; i < out; ++i) {
    V result[out];
    apply(half[i], result);
    SEGNET_UNROLL for (int j = 0; j < out; ++j) store(i, j, result[j]);
  }
}

}  // namespace segnet::kernels::winograd
