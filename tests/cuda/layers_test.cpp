// Operations and layers that are made of others: whatever they do differently on a GPU comes to the same.
#include "cuda/same_on_gpu.hpp"
#include "segnet/autograd/checkpoint.hpp"
#include "segnet/models/hrnet.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/window_scores.hpp"
#include "segnet/nn/activation.hpp"
#include "segnet/nn/conv_norm.hpp"
#include "segnet/nn/linear.hpp"
#include "segnet/ops/conv1d.hpp"
#include "segnet/ops/dense_layer.hpp"
#include "segnet/ops/direct_convolution.hpp"
#include "segnet/ops/dropout.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// A layer of either device and element type, with the parameters of `like`.
template <template <class, class> class Layer, class T, class D>
Layer<T, D> as(const Layer<float, Cpu>& like, Layer<T, D> made) {
  nn::copy_state(nn::state_dict<float>(like), nn::state_dict<Master<T>, D>(made));
  return made;
}

/// make<T, D>() is a layer. In float and double as on the CPU; in bfloat16 near it, with gradients of parameters in float.
template <template <class, class> class Layer, class... Arguments>
void check_layer(const char* name, const Shape& shape, const Arguments&... arguments) {
  INFO(name);
  const auto x = integers<float>(shape, -3, 3), dy = integers<float>(Layer<float, Cpu>(arguments...)(x).shape(), -2, 2);
  const Layer<float, Cpu> like(arguments...);
  for (const auto& entry : nn::state_dict<float>(like))
    Tensor<float>(entry.tensor).copy_from(random_uniform<float>(entry.tensor.shape(), testing::random(), 0.5, 1.5));
  struct Result {
    Tensor<double> y;
    std::vector<Tensor<double>> gradients;
  };
  const auto run = [&]<class T, class D>(T, D) {
    const auto layer = as<Layer, T, D>(like, Layer<T, D>(arguments...));
    const auto in = cast<T>(x.template to<D>()).detach().requires_grad();
    const Tensor<T, D> y = layer(in);
    y.backward(cast<T>(dy.template to<D>()));
    const auto on_cpu = [](const auto& t) { return cast<double>(t.detach()).template to<Cpu>(); };
    Result result{on_cpu(y), {on_cpu(in.grad())}};
    for (const auto& entry : nn::named_parameters<Master<T>, D>(layer)) result.gradients.push_back(on_cpu(entry.tensor.grad()));
    return result;
  };
  const Result expected = run(double{}, Cpu{});
  const auto near = [&](const Result& got, double tolerance) {
    CHECK(relative_difference(got.y, expected.y) <= tolerance);
    REQUIRE(got.gradients.size() == expected.gradients.size());
    for (std::size_t i = 0; i < got.gradients.size(); ++i) CHECK(relative_difference(got.gradients[i], expected.gradients[i]) <= tolerance);
  };
  near(run(double{}, Cuda{}), 1e-12);
  near(run(float{}, Cuda{}), 2e-5);
  near(run(bfloat16{}, Cuda{}), 2e-2);
}

}  // namespace

TEST_CASE_TEMPLATE("convolutions of sequences on the GPU", T, float, double) {
  if (!gpu()) return;
  const auto x = integers<T>({2, 19, 6}, -3, 3), w = integers<T>({4, 3, 3}, -3, 3), b = integers<T>({4}, -3, 3);
  check_same_on_gpu<T>("conv1d", [](const auto& in) { return conv1d(in[0], in[1], in[2], {.stride = 2, .padding = {1, 2}, .groups = 2}); },
                       {x, w, b});
  const auto y = integers<T>({2, 9, 4}, -3, 3), c = integers<T>({6}, -3, 3);
  check_same_on_gpu<T>(
      "conv_transpose1d",
      [](const auto& in) { return conv_transpose1d(in[0], in[1], in[2], {.stride = 2, .padding = 1, .output_padding = 1, .groups = 2}); },
      {y, w, c});
  check_same_on_gpu<T>("conv1d of nothing", [](const auto& in) { return conv1d(in[0], in[1]); }, {Tensor<T>({0, 19, 3}), w});
}

TEST_CASE_TEMPLATE("a transposed convolution as the direct one, on the GPU", T, float, double) {
  if (!gpu()) return;
  check_same_on_gpu<T>("direct_convolution",
                       [](const auto& in) {
                         const auto direct = direct_convolution(in[0], in[1], {.stride = 2, .padding = 1, .output_padding = 1});
                         return conv2d(direct.x, direct.w, {}, direct.options);
                       },
                       {integers<T>({2, 4, 5, 6}, -3, 3), integers<T>({6, 3, 3, 4}, -3, 3)});
}

TEST_CASE_TEMPLATE("dense_layer on the GPU, which joins its maps", T, float, double) {
  if (!gpu()) return;
  const double rounding = std::is_same_v<T, float> ? 5e-5 : 1e-12;
  for (const bool training : {true, false}) {
    const auto mean = normal<T>({11}), var = random_uniform<T>({11}, testing::random(), 0.5, 2);
    std::vector<Tensor<T>> statistics;  // as the CPU, then the GPU, left them
    check_same_on_gpu<T>(
        concat("training ", training),
        [&]<class D>(const std::vector<Tensor<T, D>>& in) {
          FeatureStack<T, D> stack(in[0]);
          stack.push_back(in[1]);
          const auto m = mean.clone().template to<D>(), v = var.clone().template to<D>();
          const auto y = dense_layer(stack, {.weight = in[3], .bias = in[4], .running_mean = m, .running_var = v, .training = training},
                                     in[2], in[5], {.padding = 1});
          statistics.insert(statistics.end(), {m.template to<Cpu>(), v.template to<Cpu>()});
          return y;
        },
        {normal<T>({2, 6, 7, 8}), normal<T>({2, 6, 7, 3}), normal<T>({4, 3, 3, 11}), normal<T>({11}), normal<T>({11}), normal<T>({4})},
        rounding);
    REQUIRE(statistics.size() == 6);
    for (const int of_gpu : {2, 4})
      for (const int i : {0, 1})
        CHECK(relative_difference(statistics[static_cast<std::size_t>(of_gpu + i)], statistics[static_cast<std::size_t>(i)]) <= rounding);
  }
}

TEST_CASE("checkpoint on the GPU drops the same elements again") {
  if (!gpu()) return;
  check_same_on_gpu<double>(
      "checkpoint",
      [](const auto& in) {
        default_generator() = {7};
        const auto part = [](const auto& x, const auto& w) { return dropout(sigmoid(linear(x, w)), 0.4); };
        return checkpoint(part, in[0], in[1]);
      },
      {normal<double>({5, 8}), normal<double>({6, 8})}, 1e-13);
}

TEST_CASE("layers on the GPU: float, double, and bfloat16 with parameters of float") {
  if (!gpu()) return;
  check_layer<nn::Conv2d>("Conv2d", {2, 6, 7, 8}, 8, 16, 3, Conv2dOptions{.padding = 1});
  check_layer<nn::Conv2d>("Conv2d, depth-wise", {2, 6, 7, 8}, 8, 8, 3, Conv2dOptions{.padding = 1, .groups = 8}, nn::Bias::no);
  check_layer<nn::ConvTranspose2d>("ConvTranspose2d", {2, 6, 7, 8}, 8, 4, 2, ConvTranspose2dOptions{.stride = 2});
  check_layer<nn::Linear>("Linear", {5, 8}, 8, 6);
  check_layer<nn::BatchNorm2d>("BatchNorm2d", {2, 6, 7, 8}, 8);
  check_layer<nn::GroupNorm>("GroupNorm", {2, 6, 7, 8}, 2, 8);
  check_layer<nn::LayerNorm>("LayerNorm", {5, 8}, 8);
  check_layer<nn::InstanceNorm2d>("InstanceNorm2d", {2, 6, 7, 8}, 8, true);
  check_layer<nn::PReLU>("PReLU", {5, 8}, 8);
}

TEST_CASE_TEMPLATE("conv_norm_act on the GPU, layer by layer, as the CPU's one kernel", T, float, double) {
  if (!gpu()) return;
  const auto run = [&]<class D>(D, const Tensor<T>& x, const Tensor<T>& residual) {
    default_generator() = {3};
    const nn::Conv2d<T, D> conv(5, 8, 3, {.padding = 1});
    nn::BatchNorm2d<T, D> norm(8);
    Generator g{4};
    fill_uniform<T, D>(norm.running_mean, g, -1, 1);
    fill_uniform<T, D>(norm.running_var, g, 0.5, 2);
    norm.training = false;
    NoGrad guard;
    std::vector<Tensor<T>> all;
    for (const Activation activation : {Activation::none, Activation::relu, Activation::relu6}) {
      all.push_back(nn::conv_norm_act(conv, norm, activation, x.template to<D>()).template to<Cpu>());
      all.push_back(nn::conv_norm_act(conv, norm, activation, x.template to<D>(), residual.template to<D>()).template to<Cpu>());
      all.push_back(nn::conv_norm_act(conv, activation, x.template to<D>()).template to<Cpu>());
    }
    return all;
  };
  const auto x = normal<T>({2, 6, 7, 5}), residual = normal<T>({2, 6, 7, 8});
  const auto expected = run(Cpu{}, x, residual), got = run(Cuda{}, x, residual);
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(relative_difference(got[i], expected[i]) <= (std::is_same_v<T, float> ? 2e-6 : 1e-13));
}

TEST_CASE("HRNet with OCR on the GPU: in training, the result and the gradient to the image") {
  if (!gpu()) return;
  check_same_on_gpu<double>(
      "HRNet",
      []<class D>(const std::vector<Tensor<double, D>>& in) {
        default_generator() = {5};
        models::HrNetOptions o{.classes = 3, .width = 4, .modules = {1, 1, 1}, .blocks = 1, .layer1_blocks = 1, .layer1_width = 4};
        o.ocr = {.channels = 8, .keys = 4};
        const auto [out, aux] = models::HrNet<double, D>(o).with_aux(in[0]);
        return out + aux;
      },
      {normal<double>({2, 16, 24, 3})}, 1e-9);
}

TEST_CASE("inference on the GPU: tiles, mirror images, scales and windows") {
  if (!gpu()) return;
  const nn::Conv2d<float, Cpu> on_cpu(3, 4, 3, {.padding = 1});
  const auto on_cuda = as<nn::Conv2d, float, Cuda>(on_cpu, nn::Conv2d<float, Cuda>(3, 4, 3, {.padding = 1}));
  const auto half = as<nn::Conv2d, bfloat16, Cuda>(on_cpu, nn::Conv2d<bfloat16, Cuda>(3, 4, 3, {.padding = 1}));
  const auto x = integers<float>({1, 21, 30, 3}, -3, 3);
  const auto half_x = cast<bfloat16>(x.to<Cuda>());
  using models::predict_probabilities, models::InferenceOptions, models::window_scores, models::Window, models::WindowOptions;
  for (const InferenceOptions& o : {InferenceOptions{}, InferenceOptions{.tile = 12, .overlap = 4}, InferenceOptions{.flip = true},
                                    InferenceOptions{.tile = 16, .overlap = 8, .flip = true, .scales = {0.75, 1, 1.5}}}) {
    const auto expected = predict_probabilities(on_cpu, x, o);
    CHECK(relative_difference(predict_probabilities(on_cuda, x.to<Cuda>(), o).to<Cpu>(), expected) <= 2e-6);
    CHECK(relative_difference(predict_probabilities(half, half_x, o).to<Cpu>(), expected) <= 5e-2);
  }
  const std::vector<Window> windows{{.top = 0, .left = 0, .height = 12, .width = 20}, {.top = 5, .left = 8, .height = 16, .width = 22}};
  const WindowOptions o{.side = 16, .min_side = 8};
  const auto expected = window_scores(on_cpu, x, windows, o);
  CHECK(relative_difference(window_scores(on_cuda, x.to<Cuda>(), windows, o).to<Cpu>(), expected) <= 2e-6);
  CHECK(relative_difference(window_scores(half, half_x, windows, o).to<Cpu>(), expected) <= 5e-2);
}
