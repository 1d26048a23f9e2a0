// The sums behind the Dice loss, per image and class, and its gradient.
#pragma once

#include "loss_sum.cuh"
#include "segnet/kernels/dice_loss.hpp"

namespace segnet {

namespace cuda {

using kernels::DiceSums;
using kernels::DiceTerms;

constexpr index_t dice_chunk = 1024;  ///< pixels per partial sum

/// Block (image, chunk): partial [images, chunks, C]. Threads form rows of `lanes` channels; each row takes every (256 / lanes)-th pixel.
template <class T, class Target>
__global__ void __launch_bounds__(256)
    dice_sums_kernel(const T* p, Target target, index_t pixels, index_t chunks, index_t C, int lanes, bool squared, DiceSums* partial) {
  __shared__ double shared[3][256];
  const int tid = static_cast<int>(threadIdx.x), lane = tid % lanes, row = tid / lanes, rows = 256 / lanes;
  const index_t image = blockIdx.x / chunks, chunk = blockIdx.x - image * chunks, first = image * pixels;
  const index_t begin = first + chunk * dice_chunk, end = begin + dice_chunk < first + pixels ? begin + dice_chunk : first + pixels;
  for (index_t c0 = 0; c0 < C; c0 += lanes) {
    const index_t c = c0 + lane;
    double overlap = 0, prediction = 0, sum = 0;
    if (c < C) {
#pragma unroll 4
      for (index_t i = begin + row; i < end; i += rows) {
        if (target.ignored(i)) continue;
        const double a = static_cast<double>(static_cast<Master<T>>(p[i * C + c]));
        const double t = static_cast<double>(static_cast<Master<T>>(target(i, c)));
        overlap += a * t;
        prediction += squared ? a * a : a;
        sum += squared ? t * t : t;
      }
    }
    __syncthreads();  // the channels before have been added up
    shared[0][tid] = overlap;
    shared[1][tid] = prediction;
    shared[2][tid] = sum;
    __syncthreads();
    if (row == 0 && c < C) {
      for (int r = 1; r < rows; ++r) {
        overlap += shared[0][r * lanes + lane];
        prediction += shared[1][r * lanes + lane];
        sum += shared[2][r * lanes + lane];
      }
      partial[blockIdx.x * C + c] = {overlap, prediction, sum};
    }
  }
}

/// Block (image, c): joins the chunks in order.
template <class Sums>
__global__ void __launch_bounds__(128) join_dice_sums_kernel(const Sums* partial, index_t chunks, index_t C, Sums* total) {
  const index_t image = blockIdx.x / C, c = blockIdx.x - image * C;
  Sums sum;
  for (index_t k = threadIdx.x; k < chunks; k += 128) {
    const Sums& from = partial[(image * chunks + k) * C + c];
    sum.overlap += from.overlap;
    sum.prediction += from.prediction;
    sum.target += from.target;
  }
  sum.overlap = block_reduce(sum.overlap, 0.0, Plus{});
  sum.prediction = block_reduce(sum.prediction, 0.0, Plus{});
  sum.target = block_reduce(sum.target, 0.0, Plus{});
  if (threadIdx.x == 0) total[blockIdx.x] = sum;
}

template <class A>
struct DiceLoss {
  const DiceSums* sums;
  double smooth;
  A* loss;
  __device__ void operator()(index_t k, LossSum& sum) const {
    const double value = DiceTerms(sums[k], smooth).loss();
    if (loss) loss[k] = static_cast<A>(value);
    sum.loss += value;
    sum.weight += 1;
  }
};

template <class A>
struct DiceCoefficients {
  const DiceSums* sums;
  double smooth;
  kernels::Upstream<A> upstream;
  A* coefficients;  // [images * C, 2]: what target and prediction are multiplied by
  SEGNET_HOST_DEVICE void operator()(index_t k) const {
    const DiceTerms terms(sums[k], smooth);
    const A g = upstream(k);
    coefficients[2 * k] = static_cast<A>(terms.by_target()) * g;
    coefficients[2 * k + 1] = static_cast<A>(terms.by_prediction()) * g;
  }
};
template <class T, class Target, class Index>
struct DiceGrad {
  const T* p;
  Target target;
  const Master<T>* coefficients;
  Divider<Index> pixels, C;
  bool squared;
  T* dp;
  SEGNET_HOST_DEVICE void operator()(index_t i) const {
    using A = Master<T>;
    Index pixel = static_cast<Index>(i);
    const auto c = C.split(pixel);
    if (target.ignored(pixel)) {
      dp[i] = static_cast<T>(A(0));
      return;
    }
    const A* by = coefficients + 2 * (static_cast<index_t>(pixels.quotient(pixel)) * C.divisor + c);
    const A t = target(pixel, c), x = p[i];
    dp[i] = static_cast<T>(by[0] * t + by[1] * (squared ? A(2) * x : A(1)));
  }
};

}  // namespace cuda

namespace kernels {

template <class T, class Target>
void dice_sums(View<const T, Cuda> p, const Target& target, index_t images, index_t pixels, index_t C, bool squared,
               View<DiceSums, Cuda> total) {
  int lanes = 1;
  while (lanes < C && lanes < 256) lanes *= 2;
  const index_t chunks = (pixels + cuda::dice_chunk - 1) / cuda::dice_chunk;
  const cuda::Scratch<DiceSums> partial(images * chunks * C);
  if (C > 0)
    cuda::launch(cuda::dice_sums_kernel<T, Target>, static_cast<unsigned>(images * chunks), 256, 0, p.data, target, pixels, chunks, C,
                 lanes, squared, partial.data());
  cuda::launch(cuda::join_dice_sums_kernel<DiceSums>, static_cast<unsigned>(images * C), 128, 0, partial.data(), chunks, C, total.data);
}

template <class T>
void dice_loss(View<const DiceSums, Cuda> sums, double smooth, View<T, Cuda> loss, View<LossSum, Cuda> sum) {
  cuda::sum_losses(sums.size(), cuda::DiceLoss<T>{sums.data, smooth, loss.data}, sum.data);
}

template <class T, class Target>
void dice_grad(View<const T, Cuda> p, const Target& target, View<const DiceSums, Cuda> sums, double smooth,
               const Upstream<Master<T>>& upstream, index_t pixels, index_t C, bool squared, View<T, Cuda> dp) {
  if (dp.size() == 0) return;
  const cuda::Scratch<Master<T>> coefficients(2 * sums.size());
  cuda::for_each(sums.size(), cuda::DiceCoefficients<Master<T>>{sums.data, smooth, upstream, coefficients.data()});
  const auto run = [&]<class Index>(Index) {
    cuda::for_each(dp.size(), cuda::DiceGrad<T, Target, Index>{p.data, target, coefficients.data(), cuda::Divider<Index>(pixels),
                                                               cuda::Divider<Index>(C), squared, dp.data});
  };
  if (dp.size() < index_t{1} << 31) run(std::uint32_t{});
  else run(index_t{});
}

}  // namespace kernels

}  // namespace segnet
