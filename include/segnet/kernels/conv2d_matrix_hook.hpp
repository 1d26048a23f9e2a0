// Where conv2d finds ConvAlgorithm::matrix, without including Eigen: kernels/conv2d_matrix.hpp fills this in.
#pragma once

#include "segnet/core/view.hpp"
#include "segnet/kernels/conv2d_geometry.hpp"

namespace segnet::kernels::matrix {

template <class T>
struct Passes {
  void (*conv2d)(const ConvGeometry& g, View<const T> x, View<const T> w, View<const T> b, View<T> y) = nullptr;
  void (*conv2d_grad_input)(const ConvGeometry& g, View<const T> dy, View<const T> w, View<const T> b, View<T> dx) = nullptr;
  void (*conv2d_grad_weight)(const ConvGeometry& g, View<const T> dy, View<const T> x, View<T> dw) = nullptr;
};

template <class T>
inline Passes<T> registered;

/// @throws NotImplemented  where no file of the program includes kernels/conv2d_matrix.hpp, or it has no T
template <class T>
[[nodiscard]] const Passes<T>& passes() {
  if (!registered<T>.conv2d)
    throw NotImplemented("conv2d",
                         "ConvAlgorithm::matrix without #include \"segnet/kernels/conv2d_matrix.hpp\" (float and double; needs Eigen)");
  return registered<T>;
}

}  // namespace segnet::kernels::matrix
