#include "cuda/same_on_gpu.hpp"
#include "segnet/metrics/confusion.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

template <class Prediction, class Target>
void check_counts(const Shape& shape, int classes) {
  INFO(shape, " ", classes, " classes");
  const auto p = integers<Prediction>(shape, 0, classes - 1);
  const auto t = integers<Target>(shape, 0, classes - 1);
  for (index_t i = 0; i < t.numel(); i += 3) t.data()[i] = static_cast<Target>(255);
  ConfusionMatrix expected(classes, 255), got(classes, 255);
  for (int twice = 0; twice < 2; ++twice) {
    expected.add(p, t);
    got.add(p.template to<Cuda>(), t.template to<Cuda>());
  }
  CHECK(equal(got.counts(), expected.counts()));
}

}  // namespace

TEST_CASE("confusion matrix: labels on the GPU are counted as on the CPU") {
  if (!gpu()) return;
  check_counts<std::int32_t, std::int32_t>({3, 101, 97}, 21);
  check_counts<std::uint8_t, std::int64_t>({on_gpu(300000, 30000)}, 2);
  check_counts<std::int64_t, std::uint8_t>({2, 50, 50}, 150);  // more pairs than shared memory holds
  check_counts<std::int32_t, std::uint8_t>({0, 4}, 3);
}

TEST_CASE("confusion matrix: logits on the GPU, ties, and what is not finite") {
  if (!gpu()) return;
  for (const index_t C : {1, 2, 12, 21, 64, 130, 700}) {
    const auto x = integers<float>({500, C}, -3, 3);  // many ties
    for (index_t i = 0; i < x.numel(); i += 7) x.data()[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? -INFINITY : INFINITY;
    const auto t = integers<std::int32_t>({500}, 0, static_cast<int>(C) - 1);
    ConfusionMatrix expected(C), got(C), half(C), twice(C), shifted(C);
    expected.add_logits(x, t);
    got.add_logits(x.to<Cuda>(), t.to<Cuda>());
    half.add_logits(cast<bfloat16>(x.to<Cuda>()), t.to<Cuda>());
    CHECK(equal(got.counts(), expected.counts()));
    twice.add_logits(cast<double>(x).to<Cuda>(), cast<std::int64_t>(t).to<Cuda>());
    const Tensor<float, Cuda> behind({1 + 500 * C});  // memory that no pack begins at
    behind.alias({500, C}, 1).copy_from(x);
    shifted.add_logits(behind.alias({500, C}, 1), t.to<Cuda>());
    for (const auto* other : {&half, &twice, &shifted}) CHECK(equal(other->counts(), expected.counts()));
  }
}

TEST_CASE("confusion matrix on the GPU: nothing is counted when a label is wrong") {
  if (!gpu()) return;
  ConfusionMatrix confusion(3, 255);
  const Tensor<std::int32_t, Cuda> good({4}, {0, 1, 2, 0}), wrong({4}, {0, 255, 7, -1});
  CHECK_THROWS_WITH_AS(confusion.add(good, wrong), doctest::Contains("7 at element 2"), ValueError);
  CHECK_THROWS_WITH_AS(confusion.add(wrong, good), doctest::Contains("255 at element 1"), ValueError);
  CHECK_THROWS_AS(confusion.add(good, zeros<std::int32_t, Cuda>({5})), ShapeError);
  CHECK(confusion.pixels() == 0);
  confusion.add(wrong, full<std::int32_t, Cuda>({4}, 255));
  CHECK(confusion.pixels() == 0);
}
