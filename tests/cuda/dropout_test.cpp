#include "segnet/ops/dropout.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

TEST_CASE_TEMPLATE("cuda: dropout drops what the CPU drops", T, float, double) {
  if (!gpu()) return;
  for (const double p : {0.0, 0.3, 0.5, 1.0})
    for (const Shape& shape : {Shape{1}, Shape{2, 5, 7, 3}, Shape{64, on_gpu(1003, 103)}, Shape{0, 4}, Shape{2, 6, 6, 16}}) {
      check_same_on_gpu<T>("dropout",
                           [p](const auto& x) {
                             Generator g{9, 2};
                             return dropout(x[0], p, true, g);
                           },
                           {normal<T>(shape)});
      if (shape.rank() < 2) continue;
      check_same_on_gpu<T>("dropout2d",
                           [p](const auto& x) {
                             Generator g{9, 2};
                             return dropout2d(x[0], p, true, g);
                           },
                           {normal<T>(shape)});
    }
}

TEST_CASE("cuda: dropout of bfloat16, and of elements that no pack can be aligned to") {
  if (!gpu()) return;
  const auto x = integers<float>({2, 50, 24}, 1, 9);
  const auto halves = [](const auto& t) {
    Generator g{4};
    return dropout2d(dropout(t, 0.5, true, g), 0.5, true, g);
  };
  CHECK(equal(cast<float>(halves(cast<bfloat16>(x.to<Cuda>()))).to<Cpu>(), halves(x)));
  check_same_on_gpu<float>("unaligned", [&](const auto& in) { return unaligned(halves(unaligned(in[0]))); }, {x});
}
