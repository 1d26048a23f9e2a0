// CUB's selection as cuda/indexing.cu uses it.
#pragma once

#include <cuda_runtime.h>

namespace cub {

struct DeviceSelect {
  /// to = what of `from` has its flag set, in order; *selected = how many. Without `space`, only says how many bytes of it are needed.
  template <class From, class To, class Selected>
  static cudaError_t Flagged(void* space, std::size_t& bytes, From from, const bool* flags, To* to, Selected* selected, std::ptrdiff_t n,
                             cudaStream_t) {
    if (!space) {
      bytes = 1;
      return cudaSuccess;
    }
    segnet::emulated::submit([=] {
      Selected found = 0;
      for (std::ptrdiff_t i = 0; i < n; ++i)
        if (flags[i]) to[found++] = from[i];
      *selected = found;
    });
    return cudaSuccess;
  }
};

}  // namespace cub
