// The two names that everything else is written with: the index type, and the mark of a function that runs on both devices.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SEGNET_HOST_DEVICE __host__ __device__
#else
#define SEGNET_HOST_DEVICE
#endif

#define SEGNET_VERSION "0.1.0"

namespace segnet {

/// Sizes and offsets. 64-bit: a 256 x 256 column buffer of 1024 channels already overflows 32 bits.
using index_t = std::int64_t;

}  // namespace segnet
