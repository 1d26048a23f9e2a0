#include <thread>

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE("without a GPU: the reason is said, not a crash") {
  if (cuda::available()) {
    CHECK(cuda::why_unavailable().empty());
    MESSAGE("on " << cuda::device_info().name);
    return;
  }
  CHECK_FALSE(cuda::why_unavailable().empty());
  CHECK_THROWS_AS((Tensor<float, Cuda>({2})), DeviceError);
  CHECK_THROWS_AS((Tensor<float>({2}, {1, 2}).to<Cuda>()), DeviceError);
}

TEST_CASE("tensors move to the GPU and back, bit for bit") {
  if (!gpu()) return;
  const auto x = normal<float>({3, 5, 7});
  CHECK(equal(x.to<Cuda>().to<Cpu>(), x));
  CHECK(x.to<Cuda>().clone().to_vector() == x.to_vector());
  CHECK(full<double, Cuda>({4}, 2.5).to_vector() == std::vector<double>(4, 2.5));
  CHECK(arange<std::int32_t, Cuda>(5).to_vector() == std::vector<std::int32_t>{0, 1, 2, 3, 4});
  CHECK(full<float, Cuda>({}, 3).item() == 3);
  CHECK(Tensor<float>({0, 3}).to<Cuda>().to<Cpu>().shape() == Shape{0, 3});
  CHECK(Tensor<std::uint8_t, Cuda>({3}, {1, 2, 255}).to_vector() == std::vector<std::uint8_t>{1, 2, 255});
}

TEST_CASE("gradients flow between devices") {
  if (!gpu()) return;
  const auto x = integers<float>({8}, -3, 3).requires_grad();
  x.to<Cuda>().backward(full<float, Cuda>({8}, 2));
  CHECK(equal(x.grad(), full<float>({8}, 2)));
}

TEST_CASE("memory on the GPU: statistics and cap") {
  if (!gpu()) return;
  const auto before = memory_stats<Cuda>();
  {
    const Tensor<float, Cuda> t({1 << 20});
    CHECK(memory_stats<Cuda>().in_use == before.in_use + (std::size_t{4} << 20));
    set_memory_limit<Cuda>(memory_stats<Cuda>().in_use + 1000);
    CHECK_THROWS_AS((Tensor<float, Cuda>({1 << 20})), DeviceError);
    set_memory_limit<Cuda>(0);
  }
  CHECK(memory_stats<Cuda>().in_use == before.in_use);
  CHECK(memory_stats<Cuda>().peak >= before.in_use + (std::size_t{4} << 20));
}

TEST_CASE("threads have streams of their own") {
  if (!gpu()) return;
  std::vector<std::thread> threads;
  std::vector<int> right(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t, &right] {
      bool ok = true;
      for (int i = 0; i < 50; ++i) {
        const auto x = full<float, Cuda>({1 << 16}, static_cast<float>(t));
        ok &= x.clone().to_vector() == std::vector<float>(1 << 16, static_cast<float>(t));
      }
      right[static_cast<std::size_t>(t)] = ok;
    });
  for (auto& thread : threads) thread.join();
  CHECK(right == std::vector<int>(4, 1));
}

TEST_CASE("bfloat16 rounds to nearest even and keeps what is special") {
  CHECK(static_cast<float>(bfloat16(1.0f)) == 1.0f);
  CHECK(static_cast<float>(bfloat16(1.00390625f)) == 1.0f);       // halfway: to even
  CHECK(static_cast<float>(bfloat16(1.01171875f)) == 1.015625f);  // halfway: to even, up
  CHECK(static_cast<float>(bfloat16(3.4e38f)) == INFINITY);
  CHECK(std::isnan(static_cast<float>(bfloat16(NAN))));
  CHECK(static_cast<float>(bfloat16(-0.0f)) == 0.0f);
  CHECK(std::signbit(static_cast<float>(bfloat16(-0.0f))));
}
