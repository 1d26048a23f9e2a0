// gpu_bench [--json FILE] [--filter TEXT]: kernels and a U-Net on the GPU against what the device can do, measured first (copying memory, a
// large matrix product), and against cuDNN in the same program. Tables in Markdown; times are medians between device events.
//
// Convolutions read and write channels last, float with tf32 allowed or bfloat16, batch 16. of_peak: share of the nearer ceiling.
#include <cublas_v2.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "cudnn.hpp"
#include "segnet/kernels/conv2d.hpp"
#include "segnet/models/unet.hpp"
#include "segnet/nn/loss.hpp"
#include "segnet/ops/arithmetic.hpp"
#include "segnet/ops/pooling.hpp"
#include "segnet/ops/resize.hpp"
#include "segnet/ops/softmax.hpp"
#include "segnet/optim/sgd.hpp"
#include "timing.hpp"

namespace {

using namespace segnet;
using gpu_bench::Contender;
using gpu_bench::Row;

std::string filter;
std::vector<Row> rows;
bool chosen(const std::string& name) { return filter.empty() || name.find(filter) != std::string::npos; }

template <class T>
constexpr const char* type_name = std::is_same_v<T, bfloat16> ? "bf16" : "float";

/// Normally distributed numbers, made once and copied: what they are matters little, that they are not zero does.
template <class T>
Tensor<T, Cuda> noise(const Shape& shape) {
  const auto on_host = random_normal<float>({std::min<index_t>(shape.numel(), 1 << 20)}, default_generator());
  Tensor<T, Cuda> t(shape);
  const auto piece = cast<T>(on_host.to<Cuda>());
  for (index_t at = 0; at < t.numel(); at += piece.numel()) {
    const index_t n = std::min(piece.numel(), t.numel() - at);
    t.alias({n}, at).copy_from(piece.alias({n}));
  }
  return t;
}

struct Ceilings {
  double copy = 0;            ///< bytes/s, read and written
  double tf32 = 0, bf16 = 0;  ///< FLOP/s
} ceiling;

void measure_ceilings() {
  Tensor<std::uint8_t, Cuda> a({std::int64_t{2} << 30}), b(a.shape());
  a.fill(1);
  const auto copy = gpu_bench::compare({{"copy", [&](int) { b.copy_from(a); }}});
  ceiling.copy = 2.0 * static_cast<double>(a.numel()) / copy[0];

  cublasHandle_t handle;
  cublasCreate(&handle);
  cublasSetStream(handle, cudaStreamPerThread);
  constexpr int n = 8192;
  const float one = 1, zero = 0;
  const auto product = [&](const void* x, void* y, cudaDataType type, cublasComputeType_t compute) {
    const auto run = [&, x, y](int) {
      cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, x, type, n, x, type, n, &zero, y, type, n, compute,
                   CUBLAS_GEMM_DEFAULT);
    };
    return 2.0 * n * n * n / gpu_bench::compare({{"gemm", run}}, 5)[0];
  };
  {
    const auto x = noise<bfloat16>({n, n});
    const Tensor<bfloat16, Cuda> y({n, n});
    ceiling.bf16 = product(x.data(), y.data(), CUDA_R_16BF, CUBLAS_COMPUTE_32F);
  }
  {
    const auto x = noise<float>({n, n});
    const Tensor<float, Cuda> y({n, n});
    ceiling.tf32 = product(x.data(), y.data(), CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32);
  }
  cublasDestroy(handle);
  std::printf("Copy %.2f TB/s, matrix product %.0f TFLOP/s in bf16 and %.0f in tf32.\n\n", ceiling.copy * 1e-12, ceiling.bf16 * 1e-12,
              ceiling.tf32 * 1e-12);
}

struct Layer {
  const char* name;
  index_t size_h, size_w, C, O, k, stride, padding, dilation, groups;
};
// Those of the convolution benchmark of the CPU, with 16 images, and the heavy ones of U-Net at 360 x 480. Transposed convolutions
// stand as the convolutions that they transpose: their forward pass is grad_input here.
constexpr Layer layers[] = {
    {"3x3 64-64 128", 128, 128, 64, 64, 3, 1, 1, 1, 1},
    {"3x3 256-256 64", 64, 64, 256, 256, 3, 1, 1, 1, 1},
    {"3x3 512-512 32", 32, 32, 512, 512, 3, 1, 1, 1, 1},
    {"3x3 d2 512-512 64", 64, 64, 512, 512, 3, 1, 2, 2, 1},
    {"3x3 d12 256-256 64", 64, 64, 256, 256, 3, 1, 12, 12, 1},
    {"1x1 1024-256 64", 64, 64, 1024, 256, 1, 1, 0, 1, 1},
    {"1x1 64-256 128", 128, 128, 64, 256, 1, 1, 0, 1, 1},
    {"7x7 s2 3-64 256", 256, 256, 3, 64, 7, 2, 3, 1, 1},
    {"3x3 3-64 256", 256, 256, 3, 64, 3, 1, 1, 1, 1},
    {"3x3 s2 128-256 64", 64, 64, 128, 256, 3, 2, 1, 1, 1},
    {"dw 3x3 256 64", 64, 64, 256, 256, 3, 1, 1, 1, 256},
    {"dw 5x5 128 64", 64, 64, 128, 128, 5, 1, 2, 1, 128},
    {"3x3 144-16 128", 128, 128, 144, 16, 3, 1, 1, 1, 1},
    {"3x3 1024-512 30x40", 30, 40, 1024, 512, 3, 1, 1, 1, 1},
    {"t 2x2 s2 512-256 32", 64, 64, 256, 512, 2, 2, 0, 1, 1},
    {"t 4x4 s2 64-64 64", 128, 128, 64, 64, 4, 2, 1, 1, 1},
    {"unet 64-64 360x480", 360, 480, 64, 64, 3, 1, 1, 1, 1},
    {"unet 128-64 360x480", 360, 480, 128, 64, 3, 1, 1, 1, 1},
    {"unet 128-128 180x240", 180, 240, 128, 128, 3, 1, 1, 1, 1},
};

template <class T>
void convolution(const Layer& l) {
  const auto g = kernels::conv2d_geometry("conv2d", {16, l.size_h, l.size_w, l.C}, {l.O, l.k, l.k, l.C / l.groups}, {0},
                                          {.stride = l.stride, .padding = l.padding, .dilation = l.dilation, .groups = l.groups});
  const double bytes = kernels::compulsory_bytes(g, sizeof(T)), flop = kernels::flops(g);
  const int copies = gpu_bench::copies_for(bytes);
  std::vector<Tensor<T, Cuda>> x, w, y;
  for (int i = 0; i < copies; ++i) {
    x.push_back(noise<T>(g.x_shape()));
    w.push_back(noise<T>(g.w_shape()));
    y.push_back(noise<T>(g.y_shape()));
  }
  const auto at = [copies](int i) { return static_cast<std::size_t>(i % copies); };
  for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight}) {
    std::vector<Contender> contenders = {{"segnet", [&](int i) {
                                            const View<T, Cuda> xv = x[at(i)].view(), wv = w[at(i)].view(), yv = y[at(i)].view();
                                            if (pass == ConvPass::forward)
                                              kernels::conv2d(g, xv, wv, View<T, Cuda>{}, yv, ConvAlgorithm::automatic);
                                            else if (pass == ConvPass::grad_input)
                                              kernels::conv2d_grad_input(g, yv, wv, View<T, Cuda>{}, xv, ConvAlgorithm::automatic);
                                            else kernels::conv2d_grad_weight(g, yv, xv, wv, ConvAlgorithm::automatic);
                                          }}};
    std::vector<std::function<void()>> peer;
    for (int i = 0; i < copies; ++i) {
      auto call =
          gpu_bench::cudnn_convolution(g, pass, std::is_same_v<T, bfloat16> ? gpu_bench::Element::bfloat16 : gpu_bench::Element::float32,
                                       x[at(i)].data(), w[at(i)].data(), y[at(i)].data());
      if (!call) break;
      peer.push_back(std::move(call));
      if (i == 0 && bytes > 64e6) break;  // one set is larger than the cache already
    }
    if (!peer.empty()) contenders.push_back({"cudnn", [&](int i) { peer[static_cast<std::size_t>(i) % peer.size()](); }});
    const auto t = gpu_bench::compare(contenders);
    const double limit = std::max(flop / (std::is_same_v<T, bfloat16> ? ceiling.bf16 : ceiling.tf32), bytes / ceiling.copy);
    rows.push_back({l.name,
                    pass == ConvPass::forward      ? "forward"
                    : pass == ConvPass::grad_input ? "grad_input"
                                                   : "grad_weight",
                    type_name<T>, t[0], flop, bytes, limit / t[0], t.size() > 1 ? t[1] : 0});
  }
}

/// A memory-bound operation: what it must read and write, and how it is called.
template <class T>
void moving(const std::string& name, const std::string& pass, double elements, const std::function<void(int)>& run) {
  if (!chosen(name)) return;
  const double bytes = elements * sizeof(T);
  const double t = gpu_bench::compare({{"segnet", run}})[0];
  rows.push_back({name, pass, type_name<T>, t, 0, bytes, bytes / ceiling.copy / t, 0});
}

/// Forward and backward of y = f(x), x of that shape; `forward`, `backward` count tensors of x's size that have to be moved.
template <class T, class F>
void operation(const std::string& name, const Shape& shape, double forward, double backward, const F& f) {
  if (!chosen(name)) return;
  const int copies = gpu_bench::copies_for(static_cast<double>(shape.numel()) * sizeof(T));
  std::vector<Tensor<T, Cuda>> x, y;
  for (int i = 0; i < copies; ++i) x.push_back(noise<T>(shape));
  const auto at = [copies](int i) { return static_cast<std::size_t>(i % copies); };
  const double n = static_cast<double>(shape.numel());
  {
    NoGrad guard;
    moving<T>(name, "forward", forward * n, [&](int i) { f(x[at(i)]); });
  }
  for (auto& t : x) {
    t.requires_grad();
    y.push_back(f(t));
  }
  const auto dy = noise<T>(y[0].shape());
  if (backward > 0)  // else dy itself is passed on
    moving<T>(name, "backward", backward * n, [&](int i) {
      x[at(i)].zero_grad();
      y[at(i)].backward(dy, /*keep_graph=*/true);
    });
}

template <class T>
void memory_bound() {
  using P = Master<T>;
  const Shape large{16, 360, 480, 64};
  operation<T>("relu", large, 2, 3, [](const auto& x) { return relu(x); });
  {
    const auto other = noise<T>(large);
    operation<T>("add", large, 3, 0, [&](const auto& x) { return x + other; });
  }
  {
    const auto weight = ones<P, Cuda>({64}), bias = zeros<P, Cuda>({64}), mean = zeros<P, Cuda>({64}), var = ones<P, Cuda>({64});
    // Statistics have to be known before anything is normalised: x is read twice.
    operation<T>("batch_norm_relu", large, 3, 5, [&](const auto& x) { return batch_norm_relu(x, weight, bias, mean, var, true); });
  }
  operation<T>("max_pool2d 2x2", large, 1.25, 1.25 + 0.25 * 4 / sizeof(T),  // the indices are four bytes each
               [](const auto& x) { return max_pool2d(x, {.kernel = 2}).output; });
  operation<T>("resize bilinear x2", {16, 180, 240, 64}, 5, 5, [](const auto& x) {
    return interpolate(x, {.size = Extent2(360, 480), .mode = InterpolateMode::bilinear, .align_corners = false});
  });
  operation<T>("concat", large, 4, 2, [](const auto& x) { return concat({x, x.detach()}, -1); });
  operation<T>("softmax 21", {16, 360, 480, 21}, 2, 3, [](const auto& x) { return softmax(x, -1); });
  {
    const auto weight = ones<P, Cuda>({256}), bias = zeros<P, Cuda>({256});
    operation<T>("layer_norm 256", {16, 180, 240, 256}, 2, 3, [&](const auto& x) { return layer_norm(x, {256}, weight, bias); });
  }
  if constexpr (std::is_same_v<T, float>) {
    Tensor<std::int32_t> labels({16, 360, 480});
    for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % 12);
    const auto target = labels.to<Cuda>();
    operation<T>("cross_entropy 12", {16, 360, 480, 12}, 1 + 1.0 / 12, 2 + 1.0 / 12,
                 [&](const auto& x) { return cross_entropy(x, target); });
  }
}

/// A training step and an inference of the U-Net of bench/gpu/unet_torch.py: 64 wide, 16 images of 352 x 480.
template <class T>
void network() {
  const std::string name = "unet 64 wide, 16 x 352 x 480";
  if (!chosen(name)) return;
  default_generator() = {1};
  models::UNet<T, Cuda> net({.classes = 11, .base = 64, .batch_norm = true});
  optim::Sgd<Master<T>, Cuda> sgd(nn::parameters<Master<T>, Cuda>(net), {.lr = 1e-3, .momentum = 0.9});
  const auto x = noise<T>({16, 352, 480, 3});
  Tensor<std::int32_t> labels({16, 352, 480});
  for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % 11);
  const auto target = labels.to<Cuda>();
  reset_peak_memory<Cuda>();
  const auto step = [&](int) {
    sgd.zero_grad();
    cross_entropy(net(x), target).backward();
    sgd.step();
  };
  const double train = gpu_bench::compare({{"train", step}}, 9)[0];
  const double peak = static_cast<double>(memory_stats<Cuda>().peak);
  nn::eval(net);
  NoGrad guard;
  const double infer = gpu_bench::compare({{"infer", [&](int) { static_cast<void>(net(x)); }}}, 9)[0];
  rows.push_back({name, "training step", type_name<T>, train, 0, 0, 0, 0});
  rows.push_back({name, "inference", type_name<T>, infer, 0, 0, 0, 0});
  std::printf("%s, %s: training step %.2f ms, inference %.2f ms, peak memory %.2f GiB\n", name.c_str(), type_name<T>, train * 1e3,
              infer * 1e3, peak / (1 << 30));
}

void print_table() {
  std::printf("\n| kernel | pass | type | ms | TFLOP/s | TB/s | %% of peak | cuDNN ms | ratio |\n");
  std::printf("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
  double log_sum = 0;
  int peers = 0;
  for (const Row& r : rows) {
    std::printf("| %s | %s | %s | %.4f | %s | %.2f | %.0f |", r.name.c_str(), r.pass.c_str(), r.type.c_str(), r.seconds * 1e3,
                r.flop > 0 ? concat(r.flop / r.seconds * 1e-12).c_str() : "", r.bytes / r.seconds * 1e-12, 100 * r.of_peak);
    if (r.peer_seconds > 0) {
      std::printf(" %.4f | %.2f |\n", r.peer_seconds * 1e3, r.peer_seconds / r.seconds);
      log_sum += std::log(r.peer_seconds / r.seconds);
      ++peers;
    } else std::printf(" | |\n");
  }
  if (peers)
    std::printf("\nGeometric mean of the ratios to cuDNN %s: %.2f (%d cases)\n", gpu_bench::cudnn_version(), std::exp(log_sum / peers),
                peers);
}

void write_json(const std::string& path) {
  std::ofstream out(path);
  out << "{\"device\": \"" << cuda::device_info().name << "\", \"cudnn\": \"" << gpu_bench::cudnn_version()
      << "\", \"copy\": " << ceiling.copy << ", \"bf16\": " << ceiling.bf16 << ", \"tf32\": " << ceiling.tf32 << ", \"rows\": [";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    out << (i ? ",\n" : "\n") << "{\"kernel\": \"" << r.name << "\", \"pass\": \"" << r.pass << "\", \"type\": \"" << r.type
        << "\", \"seconds\": " << r.seconds << ", \"flop\": " << r.flop << ", \"bytes\": " << r.bytes << ", \"of_peak\": " << r.of_peak
        << ", \"peer_seconds\": " << r.peer_seconds << "}";
  }
  out << "\n]}\n";
}

}  // namespace

int main(int argc, char** argv) {
  std::string json;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--json")) json = argv[i + 1];
    else if (!std::strcmp(argv[i], "--filter")) filter = argv[i + 1];
  }
  try {
    std::printf("%s\n", cuda::device_info().name.c_str());
    cuda::allow_tf32(true);
    measure_ceilings();
    network<bfloat16>();
    network<float>();
    for (const Layer& l : layers)
      if (chosen(l.name)) {
        convolution<bfloat16>(l);
        convolution<float>(l);
      }
    memory_bound<bfloat16>();
    memory_bound<float>();
    print_table();
    if (!json.empty()) write_json(json);
  } catch (const Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
}
