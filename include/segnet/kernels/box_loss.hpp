// Losses of pairs of boxes. Each formula is written once, over any type of number: with plain ones it gives the loss, with dual numbers
// the loss and its eight derivatives.
#pragma once

#include <cmath>

#include "segnet/core/view.hpp"
#include "segnet/kernels/loss_sum.hpp"

namespace segnet {

/// 1 minus a measure of overlap; see BoxOverlap for the formulas.
enum class BoxLoss { giou, diou, ciou };

namespace kernels {

/// A number and its derivatives by the 8 coordinates of a pair of boxes.
template <class T>
struct Dual {
  T value;
  T d[8] = {};
  SEGNET_HOST_DEVICE Dual(T v = 0) : value(v) {}  // NOLINT: constants are numbers too
  /// f(a) with derivative `slope` there, and f(a, b) alike.
  SEGNET_HOST_DEVICE static Dual of(T v, const Dual& a, T slope) {
    Dual y(v);
    for (int i = 0; i < 8; ++i) y.d[i] = slope * a.d[i];
    return y;
  }
  SEGNET_HOST_DEVICE static Dual of(T v, const Dual& a, T da, const Dual& b, T db) {
    Dual y(v);
    for (int i = 0; i < 8; ++i) y.d[i] = da * a.d[i] + db * b.d[i];
    return y;
  }
  friend SEGNET_HOST_DEVICE Dual operator+(const Dual& a, const Dual& b) { return of(a.value + b.value, a, T(1), b, T(1)); }
  friend SEGNET_HOST_DEVICE Dual operator-(const Dual& a, const Dual& b) { return of(a.value - b.value, a, T(1), b, T(-1)); }
  friend SEGNET_HOST_DEVICE Dual operator*(const Dual& a, const Dual& b) { return of(a.value * b.value, a, b.value, b, a.value); }
  friend SEGNET_HOST_DEVICE Dual operator/(const Dual& a, const Dual& b) {
    const T q = a.value / b.value;
    return of(q, a, 1 / b.value, b, -q / b.value);
  }
};

namespace box {

// Of equal numbers, each gets half of the gradient of the larger or smaller one, as in PyTorch.
template <class T>
SEGNET_HOST_DEVICE Dual<T> either(bool first, const Dual<T>& a, const Dual<T>& b) {
  if (a.value == b.value) return Dual<T>::of(a.value, a, T(0.5), b, T(0.5));
  return first ? a : b;
}
template <class T>
SEGNET_HOST_DEVICE Dual<T> larger(const Dual<T>& a, const Dual<T>& b) {
  return either(a.value > b.value, a, b);
}
template <class T>
SEGNET_HOST_DEVICE Dual<T> smaller(const Dual<T>& a, const Dual<T>& b) {
  return either(a.value < b.value, a, b);
}
SEGNET_HOST_DEVICE inline float larger(float a, float b) { return a > b ? a : b; }
SEGNET_HOST_DEVICE inline double larger(double a, double b) { return a > b ? a : b; }
SEGNET_HOST_DEVICE inline float smaller(float a, float b) { return a < b ? a : b; }
SEGNET_HOST_DEVICE inline double smaller(double a, double b) { return a < b ? a : b; }

template <class T>
SEGNET_HOST_DEVICE Dual<T> arc_tangent(const Dual<T>& a) {
  return Dual<T>::of(std::atan(a.value), a, 1 / (1 + a.value * a.value));
}
SEGNET_HOST_DEVICE inline float arc_tangent(float a) { return std::atan(a); }
SEGNET_HOST_DEVICE inline double arc_tangent(double a) { return std::atan(a); }

template <class T>
SEGNET_HOST_DEVICE T plain(const Dual<T>& a) {
  return a.value;
}
SEGNET_HOST_DEVICE inline float plain(float a) { return a; }
SEGNET_HOST_DEVICE inline double plain(double a) { return a; }

/// N: T or Dual<T>. a and b: x1, y1, x2, y2. No denominator is 0: each has 1e-7 more.
template <class T, class N>
SEGNET_HOST_DEVICE N loss(BoxLoss kind, const N* a, const N* b) {
  const N eps = T(1e-7);
  const N area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
  const N iw = smaller(a[2], b[2]) - larger(a[0], b[0]), ih = smaller(a[3], b[3]) - larger(a[1], b[1]);
  const N i = plain(iw) > 0 && plain(ih) > 0 ? iw * ih : N(T(0));
  const N u = area_a + area_b - i, iou = i / (u + eps);
  const N w = larger(a[2], b[2]) - smaller(a[0], b[0]), h = larger(a[3], b[3]) - smaller(a[1], b[1]);
  if (kind == BoxLoss::giou) return N(T(1)) - (iou - (w * h - u) / (w * h + eps));
  const N dx = (a[0] + a[2] - b[0] - b[2]) / N(T(2)), dy = (a[1] + a[3] - b[1] - b[3]) / N(T(2));
  const N diou = N(T(1)) - iou + (dx * dx + dy * dy) / (w * w + h * h + eps);
  if (kind == BoxLoss::diou) return diou;
  const N angle = arc_tangent((b[2] - b[0]) / (b[3] - b[1])) - arc_tangent((a[2] - a[0]) / (a[3] - a[1]));
  const N v = N(T(4 / (3.14159265358979323846 * 3.14159265358979323846))) * angle * angle;
  const T weight = plain(v) / (1 - plain(iou) + plain(v) + plain(eps));  // a constant in the gradient
  return diou + N(weight) * v;
}

}  // namespace box

/// y[i] (unless null) and their sum: the losses of the pairs a[i], b[i] of [n, 4].
template <class T>
struct BoxLossValue {
  BoxLoss kind;
  const T *a, *b;
  T* y;
  SEGNET_HOST_DEVICE void operator()(index_t i, LossSum& total) const {
    const T value = box::loss<T, T>(kind, a + 4 * i, b + 4 * i);
    if (y) y[i] = value;
    total.loss += static_cast<double>(value);
    total.weight += 1;
  }
};
/// Gradients of both, each unless null.
template <class T>
struct BoxLossGrad {
  BoxLoss kind;
  const T *a, *b;
  Upstream<T> upstream;
  T *da, *db;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    Dual<T> pair[8];
    for (int k = 0; k < 8; ++k) {
      pair[k].value = k < 4 ? a[4 * i + k] : b[4 * i + k - 4];
      pair[k].d[k] = 1;
    }
    const Dual<T> y = box::loss<T, Dual<T>>(kind, pair, pair + 4);
    const T g = upstream(i);
    for (int k = 0; k < 4; ++k) {
      if (da) da[4 * i + k] = g * y.d[k];
      if (db) db[4 * i + k] = g * y.d[k + 4];
    }
  }
};

template <class T>
void box_loss(const BoxLossValue<T>& f, index_t n, View<LossSum, Cpu> total) {
  total[0] = sum_losses(n, 4096, [&](index_t begin, index_t end, LossSum& sum) {
    for (index_t i = begin; i < end; ++i) f(i, sum);
  });
}
template <class T>
void box_loss_grad(const BoxLossGrad<T>& f, index_t n, Cpu) {
  parallel_for(n, 1024, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) f(i);
  });
}
// The same on the GPU: cuda/box_loss.cuh.
template <class T>
void box_loss(const BoxLossValue<T>& f, index_t n, View<LossSum, Cuda> total);
template <class T>
void box_loss_grad(const BoxLossGrad<T>& f, index_t n, Cuda);

}  // namespace kernels
}  // namespace segnet
