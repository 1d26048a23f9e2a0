#include "cublas.cuh"

#include <algorithm>
#include <atomic>

namespace segnet::cuda {

namespace {

std::atomic<bool> tf32{false};

/// A handle and its memory. NVIDIA recommends 32 MiB for Hopper, and less for what came before.
struct Handle {
  static constexpr std::size_t workspace_size = std::size_t{32} << 20;
  cublasHandle_t handle = nullptr;
  void* workspace = nullptr;

  Handle() {
    SEGNET_CUBLAS_CHECK(cublasCreate(&handle));
    SEGNET_CUBLAS_CHECK(cublasSetStream(handle, stream()));  // before the memory, which it would forget
    SEGNET_CUDA_CHECK(cudaMalloc(&workspace, workspace_size));
    SEGNET_CUBLAS_CHECK(cublasSetWorkspace(handle, workspace, workspace_size));
    SEGNET_CUBLAS_CHECK(
        cublasSetMathMode(handle, static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH | CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
  }
  ~Handle() {  // at the end of the thread; when the process ends, CUDA may be gone already, and then both calls only say so
    cublasDestroy(handle);
    cudaFree(workspace);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

template <class T>
constexpr cudaDataType_t data_type = std::is_same_v<T, double>  ? CUDA_R_64F
                                     : std::is_same_v<T, float> ? CUDA_R_32F
                                                                : CUDA_R_16BF;

/// c = 0 where a product has no terms: cuBLAS does not say what it does then.
template <class T>
struct ZeroMatrices {
  T* c;
  index_t n, size, stride, step;
  SEGNET_HOST_DEVICE void operator()(index_t i) const { c[i / size * step + i % size / n * stride + i % n] = T(0); }
};

}  // namespace

void allow_tf32(bool allow) { tf32 = allow; }
bool tf32_allowed() { return tf32; }

void check(cublasStatus_t code, const char* call, const char* file, int line) {
  if (code == CUBLAS_STATUS_SUCCESS) return;
  std::string name = file;
  if (const auto slash = name.rfind('/'); slash != std::string::npos) name = name.substr(slash + 1);
  throw DeviceError(Cuda::name, concat(device_info().name, ": ", cublasGetStatusString(code), " in ", call, " (", name, ":", line, ")"));
}

cublasHandle_t cublas_handle() {
  thread_local Handle handle;
  return handle.handle;
}

template <class T, class To>
void gemm(index_t m, index_t n, index_t k, const Matrices<T>& a, const Matrices<T>& b, To* c, index_t c_stride, bool add, index_t batch,
          index_t c_step) {
  if (m == 0 || n == 0 || batch == 0) return;
  if (k == 0) {
    if (!add) for_each(batch * m * n, ZeroMatrices<To>{c, n, m * n, c_stride, c_step});
    return;
  }
  using Scalar = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const cublasComputeType_t compute = std::is_same_v<T, double>                    ? CUBLAS_COMPUTE_64F
                                      : std::is_same_v<T, float> && tf32_allowed() ? CUBLAS_COMPUTE_32F_FAST_TF32
                                                                                   : CUBLAS_COMPUTE_32F;
  const Scalar one = 1, more = add ? 1 : 0;
  const auto operation = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
  constexpr index_t most = 1 << 15;  // matrices at once: a grid's limit, which not every version of cuBLAS knows
  for (index_t i = 0; i < batch; i += most)
    // cuBLAS counts columns first and so sees the transpose of every matrix: c^T = b^T a^T.
    SEGNET_CUBLAS_CHECK(cublasGemmStridedBatchedEx_64(cublas_handle(), operation(b.transposed), operation(a.transposed), n, m, k, &one,
                                                      b.data + i * b.step, data_type<T>, b.stride, b.step, a.data + i * a.step,
                                                      data_type<T>, a.stride, a.step, &more, c + i * c_step, data_type<To>, c_stride,
                                                      c_step, std::min(most, batch - i), compute, CUBLAS_GEMM_DEFAULT));
}

#define SEGNET_INSTANTIATE(T, To) \
  template void gemm(index_t, index_t, index_t, const Matrices<T>&, const Matrices<T>&, To*, index_t, bool, index_t, index_t);
SEGNET_INSTANTIATE(float, float)
SEGNET_INSTANTIATE(double, double)
SEGNET_INSTANTIATE(bfloat16, bfloat16)
SEGNET_INSTANTIATE(bfloat16, float)

}  // namespace segnet::cuda
