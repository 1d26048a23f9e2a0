// What cuda/ uses of cuBLAS, with its names and meanings: matrices are column-major.
#pragma once

#include <cuda_runtime.h>

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_64F = 70, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cudaDataType_t { CUDA_R_32F = 0, CUDA_R_64F = 1, CUDA_R_16BF = 14 };
using cublasHandle_t = struct EmulatedCublas*;

const char* cublasGetStatusString(cublasStatus_t code);
cublasStatus_t cublasCreate(cublasHandle_t* handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream);
cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void* memory, std::size_t bytes);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);

/// c[i] = alpha op(a[i]) op(b[i]) + beta c[i] for 0 <= i < batch, op(a[i]) being m x k. Where beta is 0, c is not read.
cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, std::int64_t m,
                                             std::int64_t n, std::int64_t k, const void* alpha, const void* a, cudaDataType_t a_type,
                                             std::int64_t a_stride, long long a_step, const void* b, cudaDataType_t b_type,
                                             std::int64_t b_stride, long long b_step, const void* beta, void* c, cudaDataType_t c_type,
                                             std::int64_t c_stride, long long c_step, std::int64_t batch, cublasComputeType_t compute,
                                             cublasGemmAlgo_t algorithm);
