// Elements of one type as another.
#pragma once

#include "segnet/autograd/graph.hpp"
#include "segnet/kernels/arithmetic.hpp"
#include "segnet/kernels/elementwise.hpp"

namespace segnet {

/// The elements as another type, as static_cast does. Gradients flow between float, double and bfloat16.
template <class U, class T, class D>
[[nodiscard]] Tensor<U, D> cast(const Tensor<T, D>& x) {
  if constexpr (std::is_same_v<U, T>) return x;
  else {
    if (!x) return {};
    const Tensor<U, D> y(x.shape());
    kernels::map(y.view(), kernels::Cast<U>{}, x.view());
    if constexpr (is_real<T> && is_real<U>)
      return record("cast", y, {x}, [](const Tensor<U, D>& dy, Gradients<U, D>& grad) {
        const Tensor<T, D> dx(dy.shape());
        kernels::map(dx.view(), kernels::Cast<T>{}, dy.view());
        grad.set_other(0, dx);
      });
    else return y;
  }
}

}  // namespace segnet
