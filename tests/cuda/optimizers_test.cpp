#include "cuda/same_on_gpu.hpp"
#include "segnet/optim/adam.hpp"
#include "segnet/optim/clip.hpp"
#include "segnet/optim/ema.hpp"
#include "segnet/optim/rmsprop.hpp"
#include "segnet/optim/sgd.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Odd sizes, one of more than a block's chunk, and more tensors than fit one table.
std::vector<Shape> shapes() {
  std::vector<Shape> all{{64, 3, 3, 5}, {1}, {}, {0}, {4097}, {3, 7}, {20000}};
  for (int i = 0; i < 150; ++i) all.push_back({i % 9 + 1});
  return all;
}
template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 2e-5 : 1e-12;

template <class T, class D>
std::vector<Tensor<T, D>> on(const std::vector<Tensor<T>>& tensors) {
  std::vector<Tensor<T, D>> all;
  for (const auto& t : tensors) {
    const Tensor<T, D> room({t.numel() + 1});  // every third parameter begins where no pack does
    Tensor<T, D> parameter = room.alias(t.shape(), all.size() % 3 == 2);
    parameter.copy_from(t);
    all.push_back(parameter.requires_grad());
  }
  return all;
}

/// Five steps on both devices; parameter 1 has no gradient in the first, so that numbers of steps differ.
template <template <class, class> class Optimizer, class T, class Options>
void check_optimizer(const char* name, const Options& options) {
  INFO(name);
  std::vector<Tensor<T>> start;
  for (const Shape& shape : shapes()) start.push_back(normal<T>(shape));
  std::vector<std::vector<Tensor<T>>> gradients(5);
  for (auto& step : gradients)
    for (const Shape& shape : shapes()) step.push_back(normal<T>(shape));
  const auto run = [&]<class D>(D) {
    const auto parameters = on<T, D>(start);
    Optimizer<T, D> optimizer(parameters, options);
    for (std::size_t t = 0; t < gradients.size(); ++t) {
      for (std::size_t i = 0; i < parameters.size(); ++i)
        if (t > 0 || i != 1) parameters[i].set_grad(gradients[t][i].template to<D>());
      optimizer.step();
      optimizer.zero_grad();
      if (t == 2) {  // the state goes through host memory and back
        optim::OptimizerState<T, D> state = optimizer.state();
        for (auto& [key, tensor] : state.tensors) tensor = tensor.template to<Cpu>().template to<D>();
        optimizer.load_state(state);
      }
    }
    std::vector<Tensor<T>> result;
    for (const auto& p : parameters) result.push_back(p.detach().template to<Cpu>());
    return result;
  };
  const auto expected = run(Cpu{});
  poison_fresh_memory<Cuda>(true);
  const auto got = run(Cuda{}), again = run(Cuda{});
  poison_fresh_memory<Cuda>(false);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("parameter ", i);
    CHECK(relative_difference(got[i], expected[i], 1) <= tolerance<T>);
    CHECK(equal(again[i], got[i]));
  }
}

template <class T>
void check_all() {
  using namespace segnet::optim;
  check_optimizer<Sgd, T>("Sgd", SgdOptions{.lr = 0.1, .weight_decay = 0.01});
  check_optimizer<Sgd, T>("Sgd, momentum", SgdOptions{.lr = 0.1, .momentum = 0.9, .dampening = 0.1, .weight_decay = 0.01});
  check_optimizer<Sgd, T>("Sgd, nesterov", SgdOptions{.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01, .nesterov = true});
  for (const bool amsgrad : {false, true}) {
    check_optimizer<Adam, T>("Adam", AdamOptions{.lr = 0.01, .eps = 1e-3, .weight_decay = 0.01, .amsgrad = amsgrad});
    check_optimizer<AdamW, T>("AdamW", AdamWOptions{.lr = 0.01, .eps = 1e-3, .amsgrad = amsgrad});
  }
  // With eps = 0.1, cancellation in the variance of the centred kind cannot grow beyond the tolerance.
  for (const bool centered : {false, true})
    for (const double momentum : {0.0, 0.9})
      check_optimizer<Rmsprop, T>("Rmsprop",
                                  RmspropOptions{.lr = 0.01, .eps = 0.1, .weight_decay = 0.01, .momentum = momentum, .centered = centered});
}

}  // namespace

TEST_CASE("optimisers on the GPU: all parameters at once, as on the CPU") {
  if (!gpu()) return;
  check_all<float>();
  check_all<double>();
}

TEST_CASE("clipping on the GPU") {
  if (!gpu()) return;
  std::vector<Tensor<float>> gradients;
  for (const Shape& shape : shapes()) gradients.push_back(normal<float>(shape));
  const auto a = on<float, Cpu>(gradients);
  const auto b = on<float, Cuda>(gradients);
  const auto reset = [&] {
    for (std::size_t i = 0; i < a.size(); ++i) a[i].set_grad(gradients[i].clone()), b[i].set_grad(gradients[i].to<Cuda>());
  };
  const auto check_gradients_equal = [&](double most) {
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(relative_difference(b[i].grad().to<Cpu>(), a[i].grad()) <= most);
  };
  reset();
  const double norm = optim::grad_norm(a);
  CHECK(std::abs(optim::grad_norm(b) - norm) < 1e-9 * norm);
  CHECK(optim::grad_norm(b) == optim::grad_norm(b));
  const auto shared = b[0].grad();  // seen by somebody else: must not change
  CHECK(std::abs(optim::clip_grad_norm(b, 3) - optim::clip_grad_norm(a, 3)) < 1e-9 * norm);
  check_gradients_equal(1e-6);
  CHECK(equal(shared.to<Cpu>(), gradients[0]));
  optim::clip_grad_norm(b, 1e9);
  check_gradients_equal(1e-6);  // as they were
  reset();
  optim::clip_grad_value(a, 0.5);
  optim::clip_grad_value(b, 0.5);
  check_gradients_equal(0);
  b[0].set_grad(full<float, Cuda>(b[0].shape(), NAN));
  CHECK(std::isnan(optim::clip_grad_norm(b, 1)));
  CHECK(equal(b[4].grad().to<Cpu>(), a[4].grad()));  // left alone
  CHECK(optim::grad_norm(std::vector<Tensor<float, Cuda>>{}) == 0);
}

TEST_CASE("moving averages on the GPU") {
  if (!gpu()) return;
  std::vector<Tensor<float>> weights;
  for (const Shape& shape : shapes()) weights.push_back(normal<float>(shape));
  const auto a = on<float, Cpu>(weights);
  const auto b = on<float, Cuda>(weights);
  optim::Ema<float> on_cpu{optim::ParameterList<float>(a)};
  optim::Ema<float, Cuda> on_gpu{optim::ParameterList<float, Cuda>(b)};
  for (int t = 0; t < 3; ++t) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      const auto more = normal<float>(a[i].shape());
      Tensor<float> on_a = a[i].detach();
      Tensor<float, Cuda> on_b = b[i].detach();
      on_a.copy_from(more);
      on_b.copy_from(more);
    }
    on_cpu.update();
    on_gpu.update();
  }
  const auto last = b[0].detach().to<Cpu>();
  {
    const auto scope_a = on_cpu.swapped();
    const auto scope_b = on_gpu.swapped();
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(relative_difference(b[i].detach().to<Cpu>(), a[i].detach(), 1) <= 1e-6);
  }
  CHECK(equal(b[0].detach().to<Cpu>(), last));
  const auto state = on_gpu.state();
  on_gpu.load_state(state);
  CHECK(on_gpu.state().steps[0].second == 3);
}
