#include "cuda/same_on_gpu.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/nn/conv.hpp"
#include "segnet/ops/repeat.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE("recorded work is done when it is replayed, on what is in memory then") {
  if (!gpu()) return;
  auto x = full<float, Cuda>({1000}, 1), y = full<float, Cuda>({1000}, 0);
  const auto f = [&] {
    const auto copy = x.clone();  // memory that is taken and given back
    y.copy_from(copy.clone());
  };
  f();
  y.fill(0);
  const auto in_use = memory_stats<Cuda>().in_use;
  const cuda::Graph graph(f);
  CHECK(y.to_vector() == std::vector<float>(1000, 0));
  for (const float value : {2.0f, 3.0f}) {
    x.fill(value);
    graph.replay();
    CHECK(y.to_vector() == std::vector<float>(1000, value));
  }
  CHECK(memory_stats<Cuda>().in_use == in_use);
}

TEST_CASE("borders that mirror an image, flips and repetitions are recorded; what was recorded needs the host's lists no more") {
  if (!gpu()) return;
  const auto f = [](const auto& x) { return repeat_interleave(flip(pad(x, {0, 0, 3, 4, 2, 5}, PadMode::reflect), {1, 2}), 2, 2); };
  for (const index_t width : {9, 700}) {  // lists of one part and of several
    const auto x = integers<float>({1, 8, width, 3}, -9, 9);
    const auto on_device = zeros<float>(x.shape()).to<Cuda>();
    const Tensor<float, Cuda> y(f(x).shape());
    y.clone().copy_from(f(on_device));
    Tensor<float, Cuda> result = y;
    const cuda::Graph graph([&] { result.copy_from(f(on_device)); });
    Tensor<float, Cuda> input = on_device;
    input.copy_from(x);
    graph.replay();
    CHECK(equal(result.to<Cpu>(), f(x)));
  }
}

TEST_CASE("what waits for the GPU is not recorded, and nothing is broken by trying") {
  if (!gpu()) return;
  const auto x = full<float, Cuda>({1}, 5);
  CHECK_THROWS_AS(cuda::Graph([&] { (void)x.clone().item(); }), NotImplemented);
  CHECK_THROWS_AS(cuda::Graph([&] { (void)full<float>({3}, 1).to<Cuda>(); }), NotImplemented);
  CHECK_THROWS_AS(cuda::Graph([&] { cuda::synchronize(); }), NotImplemented);
  CHECK_THROWS_AS(cuda::Graph([&] { throw ValueError("a", "b", "c", "d"); }), ValueError);
  CHECK(x.clone().item() == 5);
}

TEST_CASE("a replayed network computes what the network does, for every shape") {
  if (!gpu()) return;
  const nn::Conv2d<float, Cuda> conv(3, 8, 3, {.padding = 1});
  const models::Replayed<nn::Conv2d<float, Cuda>, float> replayed(conv);
  std::vector<std::pair<Tensor<float, Cuda>, Tensor<float>>> kept;
  for (int pass = 0; pass < 4; ++pass)
    for (const Shape& shape : {Shape{1, 16, 16, 3}, Shape{2, 9, 7, 3}}) {
      const auto x = normal<float>(shape).to<Cuda>();
      NoGrad guard;
      kept.emplace_back(replayed(x), conv(x).to<Cpu>());
    }
  for (const auto& [got, expected] : kept) CHECK(equal(got.to<Cpu>(), expected));
}

TEST_CASE("a network that cannot be recorded is called as it is") {
  if (!gpu()) return;
  const auto waits = [](const Tensor<float, Cuda>& x) { return x.to<Cpu>().to<Cuda>(); };
  const models::Replayed<decltype(waits), float> replayed(waits);
  for (int pass = 0; pass < 4; ++pass) {
    const auto x = normal<float>({5});
    CHECK(equal(replayed(x.to<Cuda>()).to<Cpu>(), x));
  }
}
