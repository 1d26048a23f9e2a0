// A tensor's elements as an Eigen matrix or array, without a copy. Optional: needs Eigen, and nothing else here includes it.
#pragma once

#include <Eigen/Core>

#include "segnet/core/tensor.hpp"

namespace segnet {

template <class T>
using EigenMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// [..., C] as a matrix of C columns: pixels by channels. Valid as long as the tensor is.
template <class T>
[[nodiscard]] Eigen::Map<EigenMatrix<T>> as_matrix(const Tensor<T, Cpu>& x) {
  const index_t columns = x.rank() ? x.dim(-1) : 1;
  return {x.data(), columns ? x.numel() / columns : 0, columns};
}
/// All elements as one column.
template <class T>
[[nodiscard]] Eigen::Map<Eigen::Array<T, Eigen::Dynamic, 1>> as_array(const Tensor<T, Cpu>& x) {
  return {x.data(), x.numel()};
}

}  // namespace segnet
