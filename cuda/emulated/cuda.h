// What cuda/ uses of the CUDA driver: maps of tensors, which tell TMA what to copy. They hold what the encoding function was told.
#pragma once

#include <cuda_runtime.h>

using cuuint32_t = std::uint32_t;
using cuuint64_t = std::uint64_t;

enum CUresult { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_NOT_SUPPORTED = 801 };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 = 9, CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 = 11 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_INTERLEAVE_16B, CU_TENSOR_MAP_INTERLEAVE_32B };
enum CUtensorMapSwizzle { CU_TENSOR_MAP_SWIZZLE_NONE = 0, CU_TENSOR_MAP_SWIZZLE_128B = 3 };
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_256B = 3 };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };

struct alignas(128) CUtensorMap {
  CUtensorMapDataType type;
  unsigned rank;
  const std::byte* data;
  std::int64_t size[5];             ///< elements, fastest first
  std::int64_t stride[5];           ///< bytes from one to the next
  bool im2col;                      ///< else boxes
  unsigned box[5];                  ///< elements of a box; im2col: channels and pixels of a copy
  int lower[2], upper[2], step[2];  ///< im2col, width and height: corners relative to the first and last pixel, and from place to place
};

/// CUDA_ERROR_INVALID_VALUE for what the driver refuses; CUDA_ERROR_NOT_SUPPORTED for what only the emulation does not know: anything but
/// boxes of whole rows of 128 bytes, swizzled, and im2col of rank 4.
CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* size,
                                const cuuint64_t* stride, const cuuint32_t* box, const cuuint32_t* step, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);
CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* size,
                                 const cuuint64_t* stride, const int* lower, const int* upper, cuuint32_t channels, cuuint32_t pixels,
                                 const cuuint32_t* step, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                 CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);

// How programs that do not link to the driver find them.
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess, cudaDriverEntryPointSymbolNotFound };
enum { cudaEnableDefault };
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned version, unsigned long long flags,
                                             cudaDriverEntryPointQueryResult* found);
