// LibTorch's convolutions, on tensors of its usual layout (torch) and channels last (torch_nhwc), one pass at a time.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <memory>

#include "conv2d_bench.hpp"
#include "segnet/core/parallel.hpp"

namespace {

struct Call {
  at::Tensor x, w, y;  // as PyTorch names sizes: [N, C, H, W], [O, C/groups, kh, kw], [N, O, OH, OW]
  at::Tensor result;
};

ConvRunner make(const ConvProblem& p, const ConvArrays& arrays, at::MemoryFormat format) {
  const auto& g = p.g;
  at::set_num_threads(segnet::num_threads());
  const auto view = [](float* data, const segnet::Shape& s) { return at::from_blob(data, {s[0], s[1], s[2], s[3]}).permute({0, 3, 1, 2}); };
  const auto call = std::make_shared<Call>();
  call->x = view(arrays.x, g.x_shape()).clone(format);
  call->w = view(arrays.w, g.w_shape()).clone(format);
  call->y = view(arrays.y, g.y_shape()).clone(format);
  const std::vector<std::int64_t> stride{g.stride.h, g.stride.w}, padding{g.padding.h, g.padding.w}, dilation{g.dilation.h, g.dilation.w};
  const std::int64_t groups = g.groups;
  const bool transposed = p.transposed;

  std::function<void()> run;
  at::Tensor to;
  if (p.pass == ConvPass::forward) {
    to = transposed ? view(arrays.x, g.x_shape()) : view(arrays.y, g.y_shape());
    run = [=] {
      const at::NoGradGuard guard;
      call->result = transposed ? at::conv_transpose2d(call->y, call->w, {}, stride, padding, 0, groups, dilation)
                                : at::conv2d(call->x, call->w, {}, stride, padding, dilation, groups);
    };
  } else {
    const bool to_input = p.pass == ConvPass::grad_input;
    to = !to_input ? view(arrays.w, g.w_shape()) : transposed ? view(arrays.y, g.y_shape()) : view(arrays.x, g.x_shape());
    run = [=] {
      const at::NoGradGuard guard;
      const auto gradients =
          at::convolution_backward(transposed ? call->x : call->y, transposed ? call->y : call->x, call->w, at::OptionalIntArrayRef{},
                                   stride, padding, dilation, transposed, {0, 0}, groups, {to_input, !to_input, false});
      call->result = to_input ? std::get<0>(gradients) : std::get<1>(gradients);
    };
  }
  return {run, [=] { to.copy_(call->result); }};
}

const bool added = [] {
  conv_peers().push_back({"torch", [](const ConvProblem& p, const ConvArrays& a) { return make(p, a, at::MemoryFormat::Contiguous); }});
  conv_peers().push_back(
      {"torch_nhwc", [](const ConvProblem& p, const ConvArrays& a) { return make(p, a, at::MemoryFormat::ChannelsLast); }});
  return true;
}();

}  // namespace
