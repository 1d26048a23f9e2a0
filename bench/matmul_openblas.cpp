// OpenBLAS, one product after the other; it takes OpenMP's number of threads where it is built with OpenMP.
#include <cblas.h>

#include "matmul_bench.hpp"

namespace {

const bool added =
    (matmul_contenders().push_back({"openblas",
                                    [](const MatmulCase& c, const float* a, const float* b, float* y) -> std::function<void()> {
                                      const auto m = static_cast<int>(c.m), n = static_cast<int>(c.n), k = static_cast<int>(c.k);
                                      return [=] {
                                        for (long i = 0; i < c.count; ++i)
                                          cblas_sgemm(CblasRowMajor, c.transpose_a ? CblasTrans : CblasNoTrans,
                                                      c.transpose_b ? CblasTrans : CblasNoTrans, m, n, k, 1, a + i * c.m * c.k,
                                                      c.transpose_a ? m : k, b + i * c.k * c.n, c.transpose_b ? k : n, 0, y + i * c.m * c.n,
                                                      n);
                                      };
                                    }}),
     true);

}  // namespace
