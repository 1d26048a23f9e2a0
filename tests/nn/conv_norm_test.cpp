#include "segnet/nn/conv_norm.hpp"

#include "segnet/ops/concat.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

void randomize(nn::BatchNorm2d<>& norm) {
  for (index_t c = 0; c < norm.weight.numel(); ++c) {
    norm.weight.data()[c] = static_cast<float>(0.5 + 0.01 * static_cast<double>(c));
    norm.bias.data()[c] = static_cast<float>(0.3 - 0.02 * static_cast<double>(c));
    norm.running_mean.data()[c] = static_cast<float>(-0.2 + 0.03 * static_cast<double>(c));
    norm.running_var.data()[c] = static_cast<float>(0.1 + 0.05 * static_cast<double>(c));
  }
}

Tensor<float> activated(Activation activation, const Tensor<float>& x) {
  return activation == Activation::relu ? relu(x) : activation == Activation::relu6 ? relu6(x) : x;
}

/// conv_norm_act at inference against the operations one after the other, with and without each part.
template <class Conv>
void check_fused(const Conv& conv, const Tensor<float>& x) {
  NoGrad guard;
  constexpr double tolerance = 1e-5;
  const Tensor<float> plain = conv(x);
  nn::BatchNorm2d<> norm(plain.dim(3));
  randomize(norm);
  norm.training = false;
  const auto shortcut = normal<float>(plain.shape());
  for (const auto activation : {Activation::none, Activation::relu, Activation::relu6})
    for (const Tensor<float>& residual : {Tensor<float>{}, shortcut}) {
      const auto add = [&](const Tensor<float>& y) { return residual ? y + residual : y; };
      const auto with_norm = activated(activation, add(norm(plain))), without = activated(activation, add(plain));
      CHECK(max_difference(nn::conv_norm_act(conv, norm, activation, x, residual), with_norm) < tolerance);
      CHECK(max_difference(nn::conv_norm_act(conv, std::optional(norm), activation, x, residual), with_norm) < tolerance);
      CHECK(max_difference(nn::conv_norm_act(conv, std::optional<nn::BatchNorm2d<>>(), activation, x, residual), without) < tolerance);
      CHECK(max_difference(nn::conv_norm_act(conv, activation, x, residual), without) < tolerance);
    }
}

}  // namespace

TEST_CASE("conv_norm_act: at inference the same as its parts, but for rounding") {
  default_generator() = {11};
  const auto x = normal<float>({2, 9, 11, 6});
  check_fused(nn::Conv2d<>(6, 35, 3, {.padding = 1}), x);
  check_fused(nn::Conv2d<>(6, 20, 1, {.stride = 2}, nn::Bias::no), x);
  check_fused(nn::Conv2d<>(6, 6, 3, {.padding = 2, .dilation = 2, .groups = 6}), x);
  check_fused(nn::ConvTranspose2d<>(6, 17, 4, {.stride = 2, .padding = 1}), x);
}

TEST_CASE("conv_norm_act: nothing is stored between its parts at inference") {
  nn::Conv2d<> conv(8, 16, 3, {.padding = 1, .algorithm = ConvAlgorithm::implicit_gemm});
  nn::BatchNorm2d<> norm(16);
  norm.training = false;
  const auto x = normal<float>({1, 64, 64, 8}), residual = normal<float>({1, 64, 64, 16});
  const auto peak = [&](const auto& f) {
    const std::size_t before = memory_stats().in_use;
    reset_peak_memory();
    (void)f();
    return memory_stats().peak - before;
  };
  const auto fused = [&] { return nn::conv_norm_act(conv, norm, Activation::relu, x, residual); };
  const auto result = static_cast<std::size_t>(residual.numel()) * sizeof(float);
  CHECK(no_grad([&] { return peak(fused); }) < result + result / 2);
  CHECK(peak(fused) > 2 * result);  // recorded, its parts are needed
}

TEST_CASE("conv_norm_act: the layers as they are where gradients are wanted, statistics are the batch's, or somebody watches") {
  nn::Conv2d<> conv(3, 5, 3, {.padding = 1});
  nn::BatchNorm2d<> norm(5);
  randomize(norm);
  const auto x = normal<float>({2, 7, 6, 3}), residual = normal<float>({2, 7, 6, 5});
  const auto parts = [&] { return relu(norm(conv(x)) + residual); };
  const auto whole = [&] { return nn::conv_norm_act(conv, norm, Activation::relu, x, residual); };

  norm.training = false;
  CHECK(equal(whole(), parts()));
  CHECK(whole().tracked());
  const auto dy = normal<float>(residual.shape());
  parts().backward(dy);
  const auto expected = conv.weight.grad();
  nn::zero_grad(conv);
  whole().backward(dy);
  CHECK(equal(conv.weight.grad(), expected));

  NoGrad guard;
  std::string seen;
  const nn::Observer observer = [&](const nn::LayerCall& call) { seen += std::string(call.type) + " "; };
  {
    nn::ObserveLayers watching(observer);
    CHECK(equal(whole(), parts()));
    (void)nn::conv_norm_act(conv, norm, Activation::relu, x);
  }
  CHECK(seen == "Conv2d BatchNorm2d Conv2d BatchNorm2d Conv2d BatchNorm2d+ReLU ");
  norm.training = true;
  auto other = norm;
  other.running_mean = nn::Buffer<float>(norm.running_mean.clone());
  CHECK(equal(whole(), relu(other(conv(x)) + residual)));
  CHECK(equal(norm.running_mean, other.running_mean));
}

TEST_CASE(
    "in training the results of norms and concatenations are not kept for the convolutions that read them, and gradients are the same") {
  const index_t C = 20;  // overlapping blocks of channels would be seen
  const auto x = normal<float>({2, 16, 16, C}), z = normal<float>({2, 16, 16, 3}), w = normal<float>({2, 3, 3, C + 3});
  const auto weight = normal<float>({C}, 1, 0.1), bias = normal<float>({C});
  const auto dy = normal<float>({2, 14, 14, 2});
  const std::vector<Tensor<float>> inputs = {x, z, w, weight, bias};
  const auto gradients = [&] {
    std::vector<Tensor<float>> all;
    for (const auto& input : inputs) {
      all.push_back(input.grad());
      input.zero_grad();
    }
    return all;
  };
  for (const auto& input : inputs) input.requires_grad();
  const auto normed = [&] { return batch_norm_relu(x, weight, bias, {}, {}, true); };

  const std::size_t before = memory_stats().in_use;
  const auto y = conv2d(concat({normed(), z}, -1), w);
  CHECK(memory_stats().in_use - before < static_cast<std::size_t>(x.numel()) * sizeof(float) / 2);
  y.backward(dy);
  const auto computed_again = gradients();

  const auto a = normed(), a_leaf = a.detach().requires_grad();  // piece by piece, everything kept
  const auto c = concat({a_leaf, z}, -1), c_leaf = c.detach().requires_grad();
  const auto y_kept = conv2d(c_leaf, w);
  y_kept.backward(dy);
  c.backward(c_leaf.grad());
  a.backward(a_leaf.grad());
  CHECK(equal(y_kept, y));
  const auto kept = gradients();
  for (std::size_t i = 0; i < inputs.size(); ++i) CHECK(equal(computed_again[i], kept[i]));
}

TEST_CASE("conv2d_epilogue: what it refuses") {
  const auto x = normal<float>({1, 4, 4, 2}), w = normal<float>({3, 3, 3, 2});
  CHECK_THROWS_WITH_AS((void)conv2d_epilogue<float>(x, w, {normal<float>({2}), {}}), doctest::Contains("scale"), ShapeError);
  CHECK_THROWS_WITH_AS((void)conv2d_epilogue<float>(x, w, {{}, normal<float>({1})}), doctest::Contains("shift"), ShapeError);
  CHECK_THROWS_WITH_AS((void)conv2d_epilogue<float>(x, w, {}, Activation::none, normal<float>({1, 1, 1, 3})),
                       doctest::Contains("[1, 2, 2, 3]"), ShapeError);
  const auto wanted = w.detach().requires_grad();
  CHECK_THROWS_WITH_AS((void)conv2d_epilogue<float>(x, wanted, {}), doctest::Contains("has no gradients"), Error);
  const auto ones3 = ones<float>({3});
  CHECK_THROWS_AS((void)fold_batch_norm<float>({}, ones3, {}, {}, {}, 0), ShapeError);
  CHECK_THROWS_WITH_AS((void)fold_batch_norm<float>({}, ones3, ones3, ones<float>({2}), {}, 0), doctest::Contains("weight"), ShapeError);
}
