// The large kernels of float and double, compiled once instead of in every file that calls them.
//
// Each header of such kernels ends with a list of them, SEGNET_KERNELS_NAME(TEMPLATE, T). Programs that link to segnet::compiled, the
// library of what is listed, define SEGNET_COMPILED=1 (CMake does): the lists become `extern template` declarations. Everyone else has
// the headers alone, and the lists are nothing.
#pragma once

#if defined(SEGNET_COMPILED)
#define SEGNET_EXTERN(KERNELS)    \
  KERNELS(extern template, float) \
  KERNELS(extern template, double)
#else
#define SEGNET_EXTERN(KERNELS)
#endif
