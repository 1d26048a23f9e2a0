#include <thread>

#include "cuda/same_on_gpu.hpp"
#include "segnet/kernels/divider.hpp"

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

TEST_CASE("numbers below 2^31 are divided by multiplication, exactly") {
  constexpr index_t end = index_t{1} << 31;
  std::vector<index_t> divisors{3, 5, 6, 7, 10, 21, 641, 1000, 65537, 6'700'417};
  for (index_t power = 1; power < end; power *= 2)
    for (const index_t d : {power - 1, power, power + 1})
      if (d > 0) divisors.push_back(d);
  divisors.push_back(end - 1);
  for (int i = 0; i < 200; ++i) divisors.push_back(1 + testing::random().below(end - 1));
  const auto split_rightly = [](index_t d, index_t n) {
    auto rest = static_cast<std::uint32_t>(n);
    const index_t remainder = kernels::Divider<std::uint32_t>(d).split(rest);
    return rest == n / d && remainder == n % d;
  };
  for (const index_t d : divisors) {
    INFO("by ", d);
    std::vector<index_t> numbers{0, 1, d - 1, d, end - 1};
    for (int i = 0; i < 50; ++i) {
      const index_t multiple = testing::random().below(end / d) * d;
      numbers.insert(numbers.end(), {testing::random().below(end), multiple, std::max<index_t>(multiple, 1) - 1});
    }
    CHECK(std::all_of(numbers.begin(), numbers.end(), [&](index_t n) { return split_rightly(d, n); }));
  }
  index_t n = end * 5 + 3;
  CHECK(kernels::Divider<index_t>(end).split(n) == 3);
  CHECK(n == 5);
}

TEST_CASE_TEMPLATE("constants and ranges on the GPU, of every type", T, float, double, bfloat16, std::int32_t, std::int64_t, std::uint8_t) {
  if (!gpu()) return;
  CHECK(equal(full<T, Cuda>({3, 11}, static_cast<T>(7)).template to<Cpu>(), full<T>({3, 11}, static_cast<T>(7))));
  CHECK(equal(arange<T, Cuda>(101).template to<Cpu>(), arange<T>(101)));
  CHECK(full<bool, Cuda>({1}, true).item());
  CHECK(full<T, Cuda>({0, 3}, T(1)).numel() == 0);
  const auto behind_first = zeros<T, Cuda>({18});  // memory that no pack begins at
  behind_first.alias({16}, 1).fill(static_cast<T>(1));
  CHECK(static_cast<float>(behind_first.alias({}, 0).item()) == 0);
  CHECK(static_cast<float>(behind_first.alias({}, 1).item()) == 1);
  CHECK(static_cast<float>(behind_first.alias({}, 16).item()) == 1);
  CHECK(static_cast<float>(behind_first.alias({}, 17).item()) == 0);
}
