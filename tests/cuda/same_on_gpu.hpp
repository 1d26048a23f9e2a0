// GPU kernels are held against the CPU's, which the other tests prove: the same function of the same inputs on both devices, forward and
// every gradient. With integer-valued inputs a linear operation must give equal bits, in whatever order it adds.
#pragma once

#include "segnet/ops/cast.hpp"
#include "segnet/ops/concat.hpp"
#include "support/testing.hpp"

namespace segnet::testing {

/// False, with one clear line, where there is no GPU: `if (!gpu()) return;`
inline bool gpu() {
  if (cuda::available()) return true;
  MESSAGE("skipped: " << cuda::why_unavailable());
  return false;
}

/// Of two sizes of a test the one for this GPU: emulated ones are slow.
inline index_t on_gpu(index_t real, index_t emulated) { return cuda::device_info().name == "emulated GPU" ? emulated : real; }

/// x in memory that no pack of elements begins at. Gradients flow through, and come to what computed x in such memory, too.
template <class T, class D>
Tensor<T, D> unaligned(const Tensor<T, D>& x) {
  return reshape(narrow(concat({zeros<T, D>({1}), flatten(x)}, 0), 0, 1, x.numel()), x.shape());
}

/// Largest |a - b| over the largest |b| (of at least `floor`); infinite when the shapes differ or exactly one is NaN.
template <class T, class U>
double relative_difference(const Tensor<T, Cpu>& a, const Tensor<U, Cpu>& b, double floor = 1e-30) {
  double largest = floor;
  const U* const p = b.data();
  for (index_t i = 0, n = b.numel(); i < n; ++i)
    if (const double v = std::abs(static_cast<double>(p[i])); std::isfinite(v)) largest = std::max(largest, v);
  return max_difference(a, b) / largest;
}

/// y = f(x) behind a pointer, so that what goes on around it is compiled once for each type.
template <class T, class D>
class Called {
 public:
  using Inputs = std::vector<Tensor<T, D>>;
  template <class F>
  Called(const F& f) : f_(&f), call_([](const void* p, const Inputs& x) -> Tensor<T, D> { return (*static_cast<const F*>(p))(x); }) {}
  Tensor<T, D> operator()(const Inputs& x) const { return call_(f_, x); }

 private:
  const void* f_;
  Tensor<T, D> (*call_)(const void*, const Inputs&);
};

/// Runs y = f(inputs) and backward from a random dy on the CPU and on the GPU, and compares y and every gradient: equal bits for
/// tolerance 0, else relative_difference of at most that. Fresh GPU memory is filled with NaN meanwhile, and the GPU runs twice: both
/// runs must give the same bits.
template <class T>
void check_same_results(const std::string& what, const Called<T, Cpu>& on_cpu, const Called<T, Cuda>& on_cuda,
                        const std::vector<Tensor<T>>& inputs, double tolerance) {
  INFO(what);
  struct Result {
    Tensor<T> y;
    std::vector<Tensor<T>> gradients;
  };
  Tensor<T> dy;
  const auto run = [&]<class D>(const Called<T, D>& f) {
    std::vector<Tensor<T, D>> x;
    for (const auto& input : inputs) {
      x.push_back(input.clone().template to<D>().detach());
      if (x.back() && x.back().numel() > 0) x.back().requires_grad();
    }
    const Tensor<T, D> y = f(x);
    if (!dy) dy = integers<T>(y.shape(), -3, 3);
    if (y.tracked()) y.backward(dy.template to<D>());
    Result result{y.detach().template to<Cpu>(), {}};
    for (const auto& leaf : x) result.gradients.push_back(leaf.grad() ? leaf.grad().template to<Cpu>() : Tensor<T>{});
    return result;
  };
  const Result expected = run(on_cpu);
  poison_fresh_memory<Cuda>(true);
  const Result got = run(on_cuda), again = run(on_cuda);
  poison_fresh_memory<Cuda>(false);
  CHECK(relative_difference(got.y, expected.y) <= tolerance);
  CHECK(equal(again.y, got.y));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input ", i);
    REQUIRE(static_cast<bool>(got.gradients[i]) == static_cast<bool>(expected.gradients[i]));
    if (!got.gradients[i]) continue;
    CHECK(relative_difference(got.gradients[i], expected.gradients[i]) <= tolerance);
    CHECK(equal(again.gradients[i], got.gradients[i]));
  }
}
/// f takes a const std::vector<Tensor<T, D>>& for either D and returns a Tensor<T, D>; what else it needs it moves itself
/// (`labels.to<D>()`).
template <class T, class F>
void check_same_on_gpu(const std::string& what, const F& f, const std::vector<Tensor<T>>& inputs, double tolerance = 0) {
  check_same_results<T>(what, f, f, inputs, tolerance);
}

/// The same for bfloat16, held against float on the CPU. The inputs and dy must be bfloat16's own numbers (small integers are). What is
/// computed in float and rounded once is within 1/256.
inline void check_bfloat16_results(const std::string& what, const Called<float, Cpu>& on_cpu, const Called<bfloat16, Cuda>& on_cuda,
                                   const std::vector<Tensor<float>>& inputs, double tolerance) {
  INFO(what);
  const auto leaves_of = [&](auto convert) {
    std::vector<decltype(convert(inputs[0]))> leaves;
    for (const auto& input : inputs) {
      leaves.push_back(convert(input).detach());
      if (leaves.back() && leaves.back().numel() > 0) leaves.back().requires_grad();
    }
    return leaves;
  };
  const auto expected = leaves_of([](const Tensor<float>& t) { return t.clone(); });
  const Tensor<float> y = on_cpu(expected), dy = integers<float>(y.shape(), -3, 3);
  if (y.tracked()) y.backward(dy);
  poison_fresh_memory<Cuda>(true);
  const auto got = leaves_of([](const Tensor<float>& t) { return t ? cast<bfloat16>(t.to<Cuda>()) : Tensor<bfloat16, Cuda>{}; });
  const Tensor<bfloat16, Cuda> z = on_cuda(got);
  if (z.tracked()) z.backward(cast<bfloat16>(dy.to<Cuda>()));
  poison_fresh_memory<Cuda>(false);
  CHECK(relative_difference(z.detach().to<Cpu>(), y) <= tolerance);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input ", i);
    REQUIRE(static_cast<bool>(got[i].grad()) == static_cast<bool>(expected[i].grad()));
    if (got[i].grad()) CHECK(relative_difference(got[i].grad().to<Cpu>(), expected[i].grad()) <= tolerance);
  }
}
/// f takes vectors of Tensor<float, Cpu> and of Tensor<bfloat16, Cuda>.
template <class F>
void check_bfloat16_on_gpu(const std::string& what, const F& f, const std::vector<Tensor<float>>& inputs, double tolerance = 1. / 256) {
  check_bfloat16_results(what, f, f, inputs, tolerance);
}

}  // namespace segnet::testing
