// LibTorch's grid_sampler, on its usual layout. What it computes is copied out by the first call alone.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "grid_sample_bench.hpp"
#include "segnet/core/parallel.hpp"

namespace {

at::Tensor images(const float* data, const GridSampleProblem& p) {
  return at::from_blob(const_cast<float*>(data), {p.N, p.side, p.side, p.C}).permute({0, 3, 1, 2}).contiguous();
}
at::Tensor points(const float* data, const GridSampleProblem& p) {
  return at::from_blob(const_cast<float*>(data), {p.N, p.side, p.side, 2});
}
void copy_out(const at::Tensor& from, float* to, const GridSampleProblem& p) {
  at::from_blob(to, {p.N, p.side, p.side, p.C}).copy_(from.permute({0, 2, 3, 1}));
}

const bool added = (grid_sample_contenders().push_back({"torch",
                                                        [](const GridSampleProblem& p) {
                                                          at::set_num_threads(segnet::num_threads());
                                                          return [=, x = images(p.x, p), grid = points(p.grid, p), first = true]() mutable {
                                                            const at::NoGradGuard guard;
                                                            const auto y = at::grid_sampler(x, grid, 0, 0, false);
                                                            if (first) copy_out(y, p.y, p);
                                                            first = false;
                                                          };
                                                        },
                                                        [](const GridSampleProblem& p) {
                                                          return [=, x = images(p.x, p), grid = points(p.grid, p), first = true]() mutable {
                                                            const at::NoGradGuard guard;
                                                            const auto [dx, dgrid] =
                                                                at::grid_sampler_2d_backward(x, x, grid, 0, 0, false, {true, true});
                                                            if (first) copy_out(dx, p.dx, p), points(p.dgrid, p).copy_(dgrid);
                                                            first = false;
                                                          };
                                                        }}),
                    true);

}  // namespace
