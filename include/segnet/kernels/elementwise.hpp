// y[i] = f(a[i], b[i], ...) with broadcasting: the one loop behind every element-wise operation.
#pragma once

#include <tuple>
#include <utility>

#include "segnet/core/isa.hpp"
#include "segnet/core/parallel.hpp"
#include "segnet/kernels/broadcast.hpp"

namespace segnet::kernels {

namespace detail {
constexpr index_t elementwise_grain = 1 << 15;

/// out[i] = f(in[i]...), i < n
template <class T, class F, class... In>
void map_block(const F& f, index_t n, T* out, const In*... in) {
  vectorized([=, &f]() SEGNET_INLINE_LAMBDA {
    const F g = f;  // a local copy, which the stores below cannot change
    SEGNET_SIMD
    for (index_t i = 0; i < n; ++i) out[i] = g(in[i]...);
  });
}

template <class T, class F, class... In, std::size_t... k>
void map_broadcast(View<T, Cpu> y, const F& f, std::index_sequence<k...>, const View<In, Cpu>&... x) {
  if (y.size() == 0) return;
  const BroadcastIndex index[] = {BroadcastIndex(x.shape, y.shape)...};
  index_t block = elementwise_grain;  // all that a thread takes at once, or what fits into the readers' buffers
  for (const auto& i : index)
    if (!i.identity()) block = BroadcastReader<T>::block;
  for (const auto& i : index)
    if (!i.identity() && i.periodic() && i.period() < block) {
      block -= block % i.period();  // a block of whole periods finds its buffer already filled
      break;
    }
  parallel_for(y.size(), elementwise_grain / block * block, [&](index_t begin, index_t end) {
    std::tuple<BroadcastReader<std::remove_const_t<In>>...> readers{BroadcastReader<std::remove_const_t<In>>(x.data, index[k])...};
    for (index_t i = begin; i < end; i += block) {
      const index_t n = std::min(block, end - i);
      map_block(f, n, y.data + i, std::get<k>(readers).read(i, n)...);
    }
  });
}
}  // namespace detail

/// y[i] = f(x[i]...), all of one shape. f is called on elements and must be inlinable: a functor whose operator() is SEGNET_INLINE.
/// Any element types; y may be one of the x. No memory beyond y.
template <class T, class F, class... In>
void map(View<T, Cpu> y, const F& f, const View<In, Cpu>&... x) {
  parallel_for(y.size(), detail::elementwise_grain,
               [&](index_t begin, index_t end) { detail::map_block(f, end - begin, y.data + begin, x.data + begin...); });
}

template <class T, class F, class... In>
void map(View<T, Cuda> y, const F& f, const View<In, Cuda>&... x);  // cuda/elementwise.cuh

/// The same for x that broadcast to the shape of y.
template <class T, class F, class... In>
void map_broadcast(View<T, Cpu> y, const F& f, const View<In, Cpu>&... x) {
  detail::map_broadcast(y, f, std::index_sequence_for<In...>{}, x...);
}
template <class T, class F, class... In>
void map_broadcast(View<T, Cuda> y, const F& f, const View<In, Cuda>&... x);  // cuda/elementwise.cuh

// For the lists of what is compiled once: f and its derivative.
#define SEGNET_MAP_UNARY(TEMPLATE, T, ...)                                  \
  TEMPLATE void map(View<T, Cpu>, const __VA_ARGS__&, const View<T, Cpu>&); \
  TEMPLATE void map(View<T, Cpu>, const Gradient<__VA_ARGS__>&, const View<T, Cpu>&, const View<T, Cpu>&);
#define SEGNET_MAP_BINARY(TEMPLATE, T, F)                                                                                        \
  TEMPLATE void map_broadcast(View<T, Cpu>, const F&, const View<T, Cpu>&, const View<T, Cpu>&);                                 \
  TEMPLATE void map_broadcast(View<T, Cpu>, const GradientA<F>&, const View<T, Cpu>&, const View<T, Cpu>&, const View<T, Cpu>&); \
  TEMPLATE void map_broadcast(View<T, Cpu>, const GradientB<F>&, const View<T, Cpu>&, const View<T, Cpu>&, const View<T, Cpu>&);

}  // namespace segnet::kernels
