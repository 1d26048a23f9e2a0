// Losses of one prediction against one target each, in packs of 16 bytes.
#pragma once

#include "loss_sum.cuh"
#include "segnet/kernels/pointwise_loss.hpp"

namespace segnet {

namespace cuda {

/// One number for all elements.
template <class A>
struct SameWeight {
  const A* value;
  __device__ A operator()(index_t) const { return *value; }
};
/// A tensor that broadcasts to [0, n); Index as in Divider.
template <class A, class Index>
struct BroadcastWeight {
  const A* data;
  int rank;
  Divider<Index> size[Shape::max_rank];
  index_t stride[Shape::max_rank];
  BroadcastWeight(const A* elements, const kernels::BroadcastIndex& index) : data(elements), rank(index.rank) {
    for (int d = 0; d < rank; ++d) {
      size[d] = Divider<Index>(std::max<index_t>(index.size[d], 1));
      stride[d] = index.stride[d];
    }
  }
  __device__ A operator()(index_t i) const {
    Index rest = static_cast<Index>(i);
    index_t at = 0;
#pragma unroll
    for (int d = 0; d < Shape::max_rank; ++d)
      if (d < rank) at += static_cast<index_t>(size[d].split(rest)) * stride[d];
    return data[at];
  }
};

/// x and t of up to a pack's length from element `first` on, of n in all.
template <class T>
struct LossPack {
  static constexpr int size = Pack<T>::size;
  Pack<T> x, t;
  int count;
  __device__ LossPack(const T* xs, const T* ts, index_t first, index_t n, bool packs) {
    count = first + size <= n ? size : static_cast<int>(n - first);
    if (packs && count == size) {
      x = Pack<T>::load(xs + first);
      t = Pack<T>::load(ts + first);
    } else {
#pragma unroll
      for (int j = 0; j < size; ++j) x.values[j] = xs[first + (j < count ? j : 0)], t.values[j] = ts[first + (j < count ? j : 0)];
    }
  }
};

template <class T, class Formula, class Weight>
struct PointwiseLoss {
  using A = Master<T>;
  Formula formula;
  const T *x, *t;
  Weight weight, positive;
  A* y;  ///< null: the sum alone
  index_t n;
  bool packs;
  __device__ void operator()(index_t pack, LossSum& total) const {
    const index_t first = pack * Pack<T>::size;
    const LossPack<T> in(x, t, first, n, packs);
    A sum = 0;
#pragma unroll
    for (int j = 0; j < LossPack<T>::size; ++j) {
      if (j >= in.count) break;
      const A value = formula.value(static_cast<A>(in.x.values[j]), static_cast<A>(in.t.values[j]), weight(first + j), positive(first + j));
      if (y) y[first + j] = value;
      sum += value;
    }
    total.loss += static_cast<double>(sum);
    total.weight += in.count;
  }
};

template <bool to_target, class T, class Formula, class Weight>
struct PointwiseLossGrad {
  using A = Master<T>;
  Formula formula;
  const T *x, *t;
  Weight weight, positive;
  kernels::Upstream<A> upstream;
  T* dx;
  index_t n;
  bool packs;
  __device__ void operator()(index_t pack) const {
    const index_t first = pack * Pack<T>::size;
    const LossPack<T> in(x, t, first, n, packs);
    Pack<T> out;
#pragma unroll
    for (int j = 0; j < LossPack<T>::size; ++j) {
      if (j >= in.count) break;
      const A slope = kernels::detail::loss_slope<to_target>(formula, static_cast<A>(in.x.values[j]), static_cast<A>(in.t.values[j]),
                                                             weight(first + j), positive(first + j));
      out.values[j] = static_cast<T>(upstream(first + j) * slope);
    }
    if (packs && in.count == LossPack<T>::size) {
      out.store(dx + first);
    } else {
#pragma unroll
      for (int j = 0; j < LossPack<T>::size; ++j)
        if (j < in.count) dx[first + j] = out.values[j];
    }
  }
};

template <class Formula>
inline constexpr bool has_weights = false;
template <class A>
inline constexpr bool has_weights<kernels::BinaryCrossEntropy<A>> = true;

/// f(weight, positive) with functions of the element's number.
template <class Formula, class A, class F>
void with_weights(View<const A, Cuda> weight, View<const A, Cuda> positive, const Shape& shape, const F& f) {
  if constexpr (has_weights<Formula>) {
    if (weight.size() != 1 || positive.size() != 1) {
      const kernels::BroadcastIndex w(weight.shape, shape), p(positive.shape, shape);
      using Short = BroadcastWeight<A, std::uint32_t>;
      using Long = BroadcastWeight<A, index_t>;
      if (shape.numel() < index_t{1} << 31) f(Short(weight.data, w), Short(positive.data, p));
      else f(Long(weight.data, w), Long(positive.data, p));
      return;
    }
  }
  f(SameWeight<A>{weight.data}, SameWeight<A>{positive.data});
}

}  // namespace cuda

namespace kernels {

template <class T, class Formula>
void pointwise_loss(const Formula& formula, View<const T, Cuda> x, View<const T, Cuda> t, View<const Master<T>, Cuda> weight,
                    View<const Master<T>, Cuda> positive, View<Master<T>, Cuda> y, View<LossSum, Cuda> total_loss) {
  const index_t n = x.size(), packs = (n + cuda::Pack<T>::size - 1) / cuda::Pack<T>::size;
  const bool aligned = cuda::aligned16(x.data) && cuda::aligned16(t.data);
  cuda::with_weights<Formula, Master<T>>(weight, positive, x.shape, [&]<class Weight>(const Weight& w, const Weight& p) {
    cuda::sum_losses(packs, cuda::PointwiseLoss<T, Formula, Weight>{formula, x.data, t.data, w, p, y.data, n, aligned}, total_loss.data);
  });
}
template <bool to_target, class T, class Formula>
void pointwise_loss_grad(const Formula& formula, View<const T, Cuda> x, View<const T, Cuda> t, View<const Master<T>, Cuda> weight,
                         View<const Master<T>, Cuda> positive, const Upstream<Master<T>>& upstream, View<T, Cuda> dx) {
  const index_t n = x.size(), packs = (n + cuda::Pack<T>::size - 1) / cuda::Pack<T>::size;
  const bool aligned = cuda::aligned16(x.data) && cuda::aligned16(t.data) && cuda::aligned16(dx.data);
  cuda::with_weights<Formula, Master<T>>(weight, positive, x.shape, [&]<class Weight>(const Weight& w, const Weight& p) {
    cuda::for_each(packs,
                   cuda::PointwiseLossGrad<to_target, T, Formula, Weight>{formula, x.data, t.data, w, p, upstream, dx.data, n, aligned});
  });
}

}  // namespace kernels

}  // namespace segnet
