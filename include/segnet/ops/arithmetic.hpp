// Arithmetic of two tensors, or of a tensor and a number, with NumPy broadcasting.
//
// Shapes are aligned at the last dimension; a size of 1, or a missing dimension, repeats. So [N, H, W, C] meets [C] channel by
// channel, and [N, 1, 1, C] image by image. Gradients are summed over what was repeated, in a fixed order. The backward pass keeps
// an operand only where the other one's gradient reads it: nothing for sums and differences.
#pragma once

#include "segnet/kernels/arithmetic.hpp"
#include "segnet/kernels/indexing.hpp"
#include "segnet/ops/cast.hpp"
#include "segnet/ops/elementwise.hpp"

namespace segnet {

#define SEGNET_BINARY(name, functor)                                                              \
  template <class T, class D>                                                                     \
  [[nodiscard]] Tensor<T, D> name(const Tensor<T, D>& a, const Tensor<T, D>& b) {                 \
    return detail::apply_binary(#name, kernels::functor{}, a, b);                                 \
  }                                                                                               \
  template <class T, class D>                                                                     \
  [[nodiscard]] Tensor<T, D> name(const Tensor<T, D>& a, Master<T> b) {                           \
    return detail::apply_unary(#name, kernels::WithRight<kernels::functor, Master<T>>{{}, b}, a); \
  }                                                                                               \
  template <class T, class D>                                                                     \
  [[nodiscard]] Tensor<T, D> name(Master<T> a, const Tensor<T, D>& b) {                           \
    return detail::apply_unary(#name, kernels::WithLeft<kernels::functor, Master<T>>{{}, a}, b);  \
  }

/// a + b, a - b, a * b, a / b, element by element; each operand a tensor or a number. Also written with the operators.
/// @throws ShapeError: the shapes do not broadcast
SEGNET_BINARY(add, Add)
SEGNET_BINARY(sub, Subtract)
SEGNET_BINARY(mul, Multiply)
SEGNET_BINARY(div, Divide)

/// The larger (smaller) of both, NaN where either is. Where they are equal, each operand gets half of the gradient.
/// @throws ShapeError: the shapes do not broadcast
SEGNET_BINARY(maximum, Maximum)
SEGNET_BINARY(minimum, Minimum)

/// a to the power b. The gradient to b is 0 where a = 0 and b >= 0, and NaN where a < 0.
/// @throws ShapeError: the shapes do not broadcast
SEGNET_BINARY(pow, Power)

/// The angle of the point (x = b, y = a) from the first axis, in (-pi, pi]. Its gradient at the origin is 0.
/// @throws ShapeError: the shapes do not broadcast
SEGNET_BINARY(atan2, Atan2)

#undef SEGNET_BINARY

#define SEGNET_OPERATOR(symbol, name)                                                        \
  template <class T, class D>                                                                \
  [[nodiscard]] Tensor<T, D> operator symbol(const Tensor<T, D>& a, const Tensor<T, D>& b) { \
    return name(a, b);                                                                       \
  }                                                                                          \
  template <class T, class D>                                                                \
  [[nodiscard]] Tensor<T, D> operator symbol(const Tensor<T, D>& a, Master<T> b) {           \
    return name(a, b);                                                                       \
  }                                                                                          \
  template <class T, class D>                                                                \
  [[nodiscard]] Tensor<T, D> operator symbol(Master<T> a, const Tensor<T, D>& b) {           \
    return name(a, b);                                                                       \
  }
SEGNET_OPERATOR(+, add)
SEGNET_OPERATOR(-, sub)
SEGNET_OPERATOR(*, mul)
SEGNET_OPERATOR(/, div)
#undef SEGNET_OPERATOR

/// -x
template <class T, class D>
[[nodiscard]] Tensor<T, D> neg(const Tensor<T, D>& x) {
  return detail::apply_unary("neg", kernels::Negate{}, x);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> operator-(const Tensor<T, D>& x) {
  return neg(x);
}

namespace detail {
template <class F, class T, class D>
[[nodiscard]] Tensor<bool, D> compare(const char* name, const F& f, const Tensor<T, D>& a, const Tensor<T, D>& b) {
  const Tensor<bool, D> y(kernels::broadcast_shape(name, a.shape(), b.shape()));
  kernels::map_broadcast(y.view(), f, a.view(), b.view());
  return y;
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> number(Master<T> value) {
  return full<T, D>({}, static_cast<T>(value));
}
}  // namespace detail

/// a == b, a < b, a <= b, a > b, a >= b as a tensor of bool; b may be a number. Broadcasting; false where either is NaN.
/// (Functions, because `==` on tensors would look like a question about handles.)
/// @throws ShapeError: the shapes do not broadcast
template <class T, class D>
[[nodiscard]] Tensor<bool, D> equal_to(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  return detail::compare("equal_to", kernels::Equal{}, a, b);
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> equal_to(const Tensor<T, D>& a, Master<T> b) {
  return equal_to(a, detail::number<T, D>(b));
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> less(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  return detail::compare("less", kernels::Less{}, a, b);
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> less(const Tensor<T, D>& a, Master<T> b) {
  return less(a, detail::number<T, D>(b));
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> less_equal(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  return detail::compare("less_equal", kernels::LessEqual{}, a, b);
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> less_equal(const Tensor<T, D>& a, Master<T> b) {
  return less_equal(a, detail::number<T, D>(b));
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> greater(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  return detail::compare("greater", kernels::Less{}, b, a);
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> greater(const Tensor<T, D>& a, Master<T> b) {
  return greater(a, detail::number<T, D>(b));
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> greater_equal(const Tensor<T, D>& a, const Tensor<T, D>& b) {
  return detail::compare("greater_equal", kernels::LessEqual{}, b, a);
}
template <class T, class D>
[[nodiscard]] Tensor<bool, D> greater_equal(const Tensor<T, D>& a, Master<T> b) {
  return greater_equal(a, detail::number<T, D>(b));
}

/// mask ? a : b, element by element; all three broadcast. Each gradient goes where its operand was taken.
/// @throws ShapeError: the shapes do not broadcast
template <class T, class D>
[[nodiscard]] Tensor<T, D> where(const Tensor<bool, D>& mask, const Tensor<T, D>& a, const Tensor<T, D>& b) {
  const Shape operands = kernels::broadcast_shape("where", a.shape(), b.shape());
  const Tensor<T, D> y(kernels::broadcast_shape("where", mask.shape(), operands));
  kernels::map_broadcast(y.view(), kernels::Where{}, mask.view(), a.view(), b.view());
  if constexpr (is_real<T>)
    return record("where", y, {a, b}, [mask, shapes = std::pair(a.shape(), b.shape())](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      for (const bool inverse : {false, true}) {
        if (!grad.wanted(inverse)) continue;
        const Tensor<T, D> part(dy.shape());
        kernels::map_broadcast(part.view(), kernels::KeepWhere<Master<T>>{0, inverse}, mask.view(), dy.view());
        grad.set(inverse, sum_to(part, inverse ? shapes.second : shapes.first));
      }
    });
  else return y;
}

/// x with `value` wherever mask holds, which broadcasts to x's shape.
/// @throws ShapeError: mask does not broadcast to x's shape
template <class T, class D>
[[nodiscard]] Tensor<T, D> masked_fill(const Tensor<T, D>& x, const Tensor<bool, D>& mask, Master<T> value) {
  if (kernels::broadcast_shape("masked_fill", x.shape(), mask.shape()) != x.shape())
    throw ShapeError("masked_fill", "mask", concat("a shape that broadcasts to ", x.shape()), mask.shape());
  const Tensor<T, D> y(x.shape());
  kernels::map_broadcast(y.view(), kernels::KeepWhere<Master<T>>{value, true}, mask.view(), x.view());
  if constexpr (is_real<T>)
    return record("masked_fill", y, {x}, [mask](const Tensor<T, D>& dy, Gradients<T, D>& grad) {
      kernels::map_broadcast(grad[0].view(), kernels::KeepWhere<Master<T>>{0, true}, mask.view(), dy.view());
    });
  else return y;
}

namespace detail {
/// x with 0 in the upper triangle from diagonal k on, or in the rest.
template <class T, class D>
[[nodiscard]] Tensor<T, D> without_triangle(const char* op, const Tensor<T, D>& x, index_t k, bool upper) {
  if (x.rank() < 2) throw ShapeError(op, "x", "[..., H, W]", x.shape());
  const Tensor<bool, D> mask({x.dim(-2), x.dim(-1)});
  kernels::triangle(k, mask.view());
  return upper ? masked_fill(x, mask, 0) : where(mask, x, full<T, D>({}, T(0)));
}
}  // namespace detail

/// The lower (upper) triangle of the last two dimensions, up to diagonal k (from it on); 0 elsewhere. @throws ShapeError: rank < 2
template <class T, class D>
[[nodiscard]] Tensor<T, D> tril(const Tensor<T, D>& x, index_t k = 0) {
  return detail::without_triangle("tril", x, k + 1, true);
}
template <class T, class D>
[[nodiscard]] Tensor<T, D> triu(const Tensor<T, D>& x, index_t k = 0) {
  return detail::without_triangle("triu", x, k, false);
}

}  // namespace segnet
