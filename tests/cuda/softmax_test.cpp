#include "segnet/ops/softmax.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

struct Case {
  Shape shape;
  int dim;
};
/// All three ways through memory: tiles with 2, 8 and 32 threads per row, a block per row, columns.
std::vector<Case> cases() {
  return {{{7}, 0},
          {{5, 1}, 1},
          {{1000, 2}, 1},
          {{3, 37, 41, 12}, 3},
          {{2, 33, 65, 21}, -1},
          {{300, 64}, 1},
          {{77, 100}, 1},
          {{4100, 19}, 1},
          {{9, 512}, 1},
          {{5, 1500}, 1},
          {{2, 5001}, 1},
          {{3, 5, 33}, 1},
          {{21, 1000}, 0},
          {{2, 4, 7, 9}, 2},
          {{0, 5}, 1},
          {{4, 0}, 1},
          {{on_gpu(200000, 5000), 3}, 1},
          {{17, 8}, 1}};
}

}  // namespace

TEST_CASE("softmax and log_softmax on the GPU: any dimension, short and long rows") {
  if (!gpu()) return;
  for (const auto& [shape, dim] : cases()) {
    const auto both = [&, d = dim]<class T>(T, double tolerance) {
      const auto x = normal<T>(shape, 0, 3);
      check_same_on_gpu<T>("softmax " + to_string(shape), [d](const auto& in) { return softmax(in[0], d); }, {x}, tolerance);
      check_same_on_gpu<T>("log_softmax " + to_string(shape), [d](const auto& in) { return log_softmax(in[0], d); }, {x}, tolerance);
    };
    both(float{}, 2e-5);
    both(double{}, 1e-12);
  }
}

TEST_CASE("softmax on the GPU: what is not finite, and memory that does not begin at a multiple of 16") {
  if (!gpu()) return;
  const float inf = INFINITY;
  const Tensor<float> x({5, 3}, {1, inf, 2, -inf, -inf, -inf, NAN, 1, 2, -inf, 0, 1, 1000, 999, -1000});
  CHECK(max_difference(softmax(x.to<Cuda>()).to<Cpu>(), softmax(x)) < 1e-6);
  for (const Shape& shape : {Shape{60, 12}, Shape{5, 1500}, Shape{9, 16, 3}}) {
    check_same_on_gpu<float>("softmax", [](const auto& in) { return unaligned(softmax(unaligned(in[0]))); }, {normal<float>(shape)}, 2e-5);
    check_same_on_gpu<float>(
        "log_softmax", [](const auto& in) { return unaligned(log_softmax(unaligned(in[0]), 1)); }, {normal<float>(shape)}, 2e-5);
  }
}

TEST_CASE("softmax on the GPU: bfloat16 is computed in float") {
  if (!gpu()) return;
  for (const auto& [shape, dim] : cases()) {
    const int d = dim;
    const auto x = cast<bfloat16>(normal<float>(shape, 0, 2).to<Cuda>()), dy = cast<bfloat16>(normal<float>(shape).to<Cuda>());
    const auto run = [&](const auto& logits, const auto& gradient, const auto& f) {
      logits.requires_grad();
      const auto y = f(logits);
      y.backward(gradient);
      return std::pair{cast<float>(y.detach()).template to<Cpu>(), cast<float>(logits.grad()).template to<Cpu>()};
    };
    const auto check = [&](const auto& f) {
      const auto [y, dx] = run(x.detach(), dy, f);
      const auto [expected_y, expected_dx] = run(cast<float>(x), cast<float>(dy), f);
      CHECK(relative_difference(y, expected_y) < 1e-2);
      CHECK(relative_difference(dx, expected_dx) < 4e-2);
    };
    INFO(shape);
    check([d](const auto& t) { return softmax(t, d); });
    check([d](const auto& t) { return log_softmax(t, d); });
  }
}
