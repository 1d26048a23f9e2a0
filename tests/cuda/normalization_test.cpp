#include "segnet/ops/normalization.hpp"

#include "cuda/same_on_gpu.hpp"

using namespace segnet;
using namespace segnet::testing;

#define ON_GPU float, double

namespace {

template <class T>
constexpr double rounding() {
  return std::is_same_v<T, float> ? 3e-5 : 1e-12;
}

/// Any rank; channels below, at and between packs and tiles of packs; one chunk of rows and many; an empty batch.
std::vector<Shape> norm_shapes() {
  return {{3, 5, 6, 4},
          {2, 3, 4, 16},
          {6, 4},
          {2, 7, 21},
          {2, 40, 50, 1},
          {2, on_gpu(20, 5), 30, 40},
          {1, on_gpu(13, 7), 11, on_gpu(600, 140)},
          {2, on_gpu(9, 5), 11, on_gpu(1032, 261)},
          {2, 2, 3, 2, 6},
          {3, on_gpu(100, 10), 120, 24},
          {1, on_gpu(3000, 300), 1, on_gpu(256, 64)},
          {0, 5, 6, 8}};
}

/// Eighths: bfloat16 holds them exactly.
Tensor<float> eighths(const Shape& shape) {
  auto t = integers<float>(shape, -24, 24);
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] /= 8;
  return t;
}

/// f of bfloat16 images on the GPU, of float ones on the CPU, parameters in float on both.
template <class F>
void check_bfloat16(const std::string& what, const F& f, const std::vector<Tensor<float>>& inputs, double tolerance = 1e-2) {
  check_same_on_gpu<float>(
      what + " of bfloat16",
      [&]<class D>(const std::vector<Tensor<float, D>>& in) {
        if constexpr (std::is_same_v<D, Cpu>) return f(in[0], in);
        else return cast<float>(f(cast<bfloat16>(in[0]), in));
      },
      inputs, tolerance);
}

}  // namespace

TEST_CASE_TEMPLATE("GPU: batch, instance and group norm as on the CPU", T, ON_GPU) {
  if (!gpu()) return;
  for (const Shape& shape : norm_shapes()) {
    const index_t C = shape.back();
    const auto x = normal<T>(shape, 1, 2), w = normal<T>({C}), b = normal<T>({C});
    const auto check = [&](const char* op, const auto& f, const std::vector<Tensor<T>>& inputs) {
      check_same_on_gpu<T>(concat(op, " of ", shape), f, inputs, rounding<T>());
    };
    check("batch_norm", [](const auto& in) { return batch_norm(in[0], in[1], in[2], {}, {}, true); }, {x, w, b});
    check("batch_norm alone", [](const auto& in) { return batch_norm(in[0], {}, {}, {}, {}, true); }, {x});
    // In float a sum's rounding may decide which side of zero a number falls on; large inputs have such numbers.
    if (std::is_same_v<T, double> || x.numel() < 1000)
      check("batch_norm_relu", [](const auto& in) { return batch_norm_relu(in[0], in[1], in[2], {}, {}, true); }, {x, w, b});
    if (shape.rank() == 2) continue;
    if (shape.numel() != shape[0] * C) check("instance_norm", [](const auto& in) { return instance_norm(in[0], in[1], in[2]); }, {x, w, b});
    for (const index_t groups : {index_t{1}, C % 2 ? C : C / 2, C})
      check("group_norm", [&](const auto& in) { return group_norm(in[0], groups, in[1], in[2]); }, {x, w, b});
  }
}

TEST_CASE_TEMPLATE("GPU: batch norm with given statistics, and its ReLU", T, ON_GPU) {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{2, 5, 7, 6}, Shape{2, on_gpu(30, 5), 31, 64}, Shape{1, 3, 2, 1032}}) {
    const index_t C = shape.back();
    const auto x = normal<T>(shape), w = normal<T>({C}), b = normal<T>({C}), mean = normal<T>({C});
    auto var = normal<T>({C});
    for (index_t c = 0; c < C; ++c) var.data()[c] = var.data()[c] * var.data()[c] + T(0.5);
    for (const bool relu : {false, true})
      check_same_on_gpu<T>(
          concat("inference, relu ", relu, ", of ", shape),
          [&]<class D>(const std::vector<Tensor<T, D>>& in) {
            const auto m = mean.template to<D>(), v = var.template to<D>();
            return relu ? batch_norm_relu(in[0], in[1], in[2], m, v, false) : batch_norm(in[0], in[1], in[2], m, v, false);
          },
          {x, w, b}, rounding<T>());
  }
}

TEST_CASE_TEMPLATE("GPU: running statistics", T, ON_GPU) {
  if (!gpu()) return;
  const auto x = normal<T>({3, 20, 21, 40}, 2, 3);
  for (const bool instances : {false, true}) {
    const auto mean = normal<T>({40}), var = full<T>({40}, 2);
    const auto mean_gpu = mean.clone().template to<Cuda>(), var_gpu = var.clone().template to<Cuda>();
    if (instances) {
      (void)instance_norm(x, {}, {}, mean, var, true, 0.3);
      (void)instance_norm(x.template to<Cuda>(), {}, {}, mean_gpu, var_gpu, true, 0.3);
    } else {
      (void)batch_norm(x, {}, {}, mean, var, true, 0.3);
      (void)batch_norm(x.template to<Cuda>(), {}, {}, mean_gpu, var_gpu, true, 0.3);
    }
    CHECK(relative_difference(mean_gpu.template to<Cpu>(), mean) <= rounding<T>());
    CHECK(relative_difference(var_gpu.template to<Cpu>(), var) <= rounding<T>());
  }
}

TEST_CASE("GPU: batch norm keeps float's digits when the mean is a thousand deviations away, or the first pixels are far off") {
  if (!gpu()) return;
  for (const bool outlier : {false, true}) {
    auto x = normal<float>({2, 50, 60, 12}, outlier ? 0 : 1000);
    if (outlier)
      for (index_t i = 0; i < 12; ++i) x.data()[i] = 500;
    check_same_on_gpu<float>(
        concat("outlier ", outlier), [](const auto& in) { return batch_norm(in[0], {}, {}, {}, {}, true); }, {x}, 1e-4);
  }
}

TEST_CASE("GPU: norms of memory that is not a multiple of 16 bytes away") {
  if (!gpu()) return;
  const auto same = [](const char* what, const auto& norm, const Shape& shape) {
    check_same_on_gpu<float>(
        what, [&](const auto& in) { return unaligned(norm(unaligned(in[0]), in)); },
        {normal<float>(shape), normal<float>({8}), normal<float>({8})}, 3e-5);
  };
  same("batch_norm", [](const auto& x, const auto& in) { return batch_norm(x, in[1], in[2], {}, {}, true); }, {3, 5, 8});
  same("instance_norm", [](const auto& x, const auto& in) { return instance_norm(x, in[1], in[2]); }, {3, 5, 8});
  same("group_norm", [](const auto& x, const auto& in) { return group_norm(x, 2, in[1], in[2]); }, {3, 5, 8});
  same("layer_norm", [](const auto& x, const auto& in) { return layer_norm(x, {8}, in[1], in[2]); }, {15, 8});
  same("layer_norm of long rows", [](const auto& x, const auto&) { return layer_norm(x, {1032}); }, {3, 1032});
  same("local_response_norm", [](const auto& x, const auto&) { return local_response_norm(x, 5, 0.1); }, {15, 8});
}

TEST_CASE_TEMPLATE("GPU: layer norm as on the CPU", T, ON_GPU) {
  if (!gpu()) return;
  struct Case {
    Shape x;
    int trailing;
  };
  for (const auto& [shape, trailing] :
       {Case{{7, 13}, 1}, Case{{5, 4, 16}, 1}, Case{{33, 5, 64}, 1}, Case{{3, 100}, 1}, Case{{1, 256}, 1}, Case{{on_gpu(9, 3), 1032}, 1},
        Case{{3, 40, 72}, 2}, Case{{2, 9001}, 1}, Case{{on_gpu(4000, 100), 24}, 1}, Case{{0, 8}, 1}}) {
    const Shape inner(shape.end() - trailing, shape.end());
    const auto x = normal<T>(shape, 1, 2), w = normal<T>(inner), b = normal<T>(inner);
    check_same_on_gpu<T>(
        concat("layer_norm of ", shape), [&](const auto& in) { return layer_norm(in[0], inner, in[1], in[2]); }, {x, w, b}, rounding<T>());
    check_same_on_gpu<T>(
        concat("layer_norm alone of ", shape), [&](const auto& in) { return layer_norm(in[0], inner); }, {x}, rounding<T>());
  }
}

TEST_CASE_TEMPLATE("GPU: local response norm as on the CPU", T, ON_GPU) {
  if (!gpu()) return;
  struct Case {
    Shape x;
    index_t size;
    double alpha, beta, k;
  };
  for (const Case& c : {Case{{2, 5, 6, 3}, 5, 1e-4, 0.75, 1}, Case{{1, 4, 3, 32}, 5, 1e-1, 0.5, 2}, Case{{10, 7}, 1, 1, 1, 1},
                        Case{{300, 21}, 8, 1, 0.75, 1}, Case{{0, 4}, 5, 1, 1, 1}})
    check_same_on_gpu<T>(
        concat("local_response_norm of ", c.x, " size ", c.size),
        [&](const auto& in) { return local_response_norm(in[0], c.size, c.alpha, c.beta, c.k); }, {normal<T>(c.x)}, rounding<T>());
}

TEST_CASE("GPU: norms of bfloat16, with float parameters") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{2, 9, 11, 64}, Shape{3, 5, 6, 7}}) {
    const index_t C = shape.back();
    const auto x = eighths(shape), w = normal<float>({C}), b = normal<float>({C});
    const auto mean = normal<float>({C}), var = full<float>({C}, 1.5f);
    check_bfloat16("batch_norm", [](const auto& t, const auto& in) { return batch_norm(t, in[1], in[2], {}, {}, true); }, {x, w, b});
    check_bfloat16("batch_norm_relu",
                   [&]<class T, class D>(const Tensor<T, D>& t, const std::vector<Tensor<float, D>>& in) {
                     return batch_norm_relu(t, in[1], in[2], mean.to<D>(), var.to<D>(), false);
                   },
                   {x, w, b});
    check_bfloat16("group_norm", [&](const auto& t, const auto& in) { return group_norm(t, C == 64 ? 8 : 1, in[1], in[2]); }, {x, w, b});
    check_bfloat16("instance_norm", [](const auto& t, const auto&) { return instance_norm(t); }, {x});
    check_bfloat16("layer_norm", [&](const auto& t, const auto& in) { return layer_norm(t, {C}, in[1], in[2]); }, {x, w, b});
    check_bfloat16("local_response_norm", [](const auto& t, const auto&) { return local_response_norm(t, 5, 0.1); }, {x});
  }
}
