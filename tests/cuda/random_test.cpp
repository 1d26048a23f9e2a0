#include "segnet/core/random.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/nn/init.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("cuda: random numbers are those of the CPU", T, float, double) {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{33, 1001}, Shape{0}}) {
    Generator a{5, 3}, b{5, 3};
    CHECK(equal(random_uniform<T, Cuda>(shape, a, -0.3, 1.7).template to<Cpu>(), random_uniform<T>(shape, b, -0.3, 1.7)));
    const auto normal_gpu = random_normal<T, Cuda>(shape, a, 0.1, 2).template to<Cpu>(), normal_cpu = random_normal<T>(shape, b, 0.1, 2);
    CHECK(max_difference(normal_gpu, normal_cpu) <= (std::is_same_v<T, float> ? 1e-6 : 1e-14));
    CHECK(a.offset == b.offset);
  }
}

TEST_CASE("cuda: random numbers in bfloat16 are those of double, rounded") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{7}, Shape{33, 101}, Shape{0}}) {
    Generator a{5, 3}, b{5, 3};
    CHECK(equal(random_uniform<bfloat16, Cuda>(shape, a, -0.3, 1.7).to<Cpu>(), random_uniform<bfloat16>(shape, b, -0.3, 1.7)));
    const auto normal_gpu = random_normal<bfloat16, Cuda>(shape, a, 0.1, 2).to<Cpu>(),
               normal_cpu = random_normal<bfloat16>(shape, b, 0.1, 2);
    CHECK(relative_difference(normal_gpu, normal_cpu) <= 1. / 128);
  }
}

TEST_CASE("cuda: initialisers") {
  if (!gpu()) return;
  const auto same = [](const auto& initialise, double tolerance) {
    Generator a{1}, b{1};
    Tensor<float> x({8, 3, 3, 8});
    Tensor<float, Cuda> y({8, 3, 3, 8});
    initialise(x, a);
    initialise(y, b);
    CHECK(max_difference(y.to<Cpu>(), x) <= tolerance);
  };
  same([](const auto& w, Generator& g) { nn::init::kaiming_uniform(w, g); }, 0);
  same([](const auto& w, Generator& g) { nn::init::kaiming_normal(w, g); }, 1e-6);
  same([](const auto& w, Generator& g) { nn::init::xavier_uniform(w, g); }, 0);
  same([](const auto& w, Generator& g) { nn::init::xavier_normal(w, g); }, 1e-6);
  same([](const auto& w, Generator&) { nn::init::bilinear(w); }, 0);
}
