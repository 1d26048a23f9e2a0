// oneDNN's direct convolution: in the layout that it prefers, converted beforehand, and with channels last as segnet stores images.
#include <dnnl.hpp>
#include <memory>
#include <unordered_map>

#include "conv2d_bench.hpp"

namespace {

using dnnl::memory;

/// One primitive with its memories, and copies in the plain layouts beside them.
struct OneDnn {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  std::unordered_map<int, memory> arguments;

  /// The memory of an argument, holding what `data` holds in the plain layout.
  void bind(int argument, const memory::desc& desc, const memory::desc& plain, float* data) {
    memory from(plain, engine, data), to(desc, engine);
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
    arguments[argument] = to;
  }
  void fetch(int argument, const memory::desc& plain, float* data) {
    memory from = arguments.at(argument), to(plain, engine, data);
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  }
};

ConvRunner make(const segnet::kernels::ConvGeometry& g, ConvPass pass, const ConvArrays& a, bool channels_last) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  const memory::dims x_dims{g.N, g.C, g.H, g.W}, y_dims{g.N, g.O, g.OH, g.OW};
  memory::dims w_dims{g.O, g.C, g.kh, g.kw};
  if (g.groups > 1) w_dims = {g.groups, g.group_outputs(), g.group_inputs(), g.kh, g.kw};
  const memory::desc x(x_dims, f32, tag::nhwc), y(y_dims, f32, tag::nhwc), w(w_dims, f32, g.groups > 1 ? tag::gohwi : tag::ohwi);
  const auto image_tag = channels_last ? tag::nhwc : tag::any;
  const memory::desc any_x(x_dims, f32, image_tag), any_y(y_dims, f32, image_tag), any_w(w_dims, f32, tag::any);
  const memory::dims stride{g.stride.h, g.stride.w}, dilation{g.dilation.h - 1, g.dilation.w - 1}, before{g.padding.h, g.padding.w};
  const memory::dims behind{(g.OH - 1) * g.stride.h + (g.kh - 1) * g.dilation.h + 1 - g.H - g.padding.h,
                            (g.OW - 1) * g.stride.w + (g.kw - 1) * g.dilation.w + 1 - g.W - g.padding.w};
  const auto direct = dnnl::algorithm::convolution_direct;

  const auto s = std::make_shared<OneDnn>();
  const dnnl::convolution_forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, direct, any_x, any_w, any_y, stride, dilation, before, behind}, s->engine);
  int result = 0;
  memory::desc plain;
  float* data = nullptr;
  if (pass == ConvPass::forward) {
    s->bind(DNNL_ARG_SRC, forward.src_desc(), x, a.x);
    s->bind(DNNL_ARG_WEIGHTS, forward.weights_desc(), w, a.w);
    s->bind(result = DNNL_ARG_DST, forward.dst_desc(), plain = y, data = a.y);
    s->primitive = dnnl::convolution_forward(forward);
  } else if (pass == ConvPass::grad_input) {
    const dnnl::convolution_backward_data::primitive_desc desc({direct, any_x, any_w, any_y, stride, dilation, before, behind}, s->engine,
                                                               forward);
    s->bind(DNNL_ARG_DIFF_DST, desc.diff_dst_desc(), y, a.y);
    s->bind(DNNL_ARG_WEIGHTS, desc.weights_desc(), w, a.w);
    s->bind(result = DNNL_ARG_DIFF_SRC, desc.diff_src_desc(), plain = x, data = a.x);
    s->primitive = dnnl::convolution_backward_data(desc);
  } else {
    const dnnl::convolution_backward_weights::primitive_desc desc({direct, any_x, any_w, any_y, stride, dilation, before, behind},
                                                                  s->engine, forward);
    s->bind(DNNL_ARG_DIFF_DST, desc.diff_dst_desc(), y, a.y);
    s->bind(DNNL_ARG_SRC, desc.src_desc(), x, a.x);
    s->bind(result = DNNL_ARG_DIFF_WEIGHTS, desc.diff_weights_desc(), plain = w, data = a.w);
    s->primitive = dnnl::convolution_backward_weights(desc);
  }
  return {[s] {
            s->primitive.execute(s->stream, s->arguments);
            s->stream.wait();
          },
          [s, result, plain, data] { s->fetch(result, plain, data); }};
}

const bool added =
    (conv_contenders().push_back({"onednn", [](auto& g, ConvPass pass, auto& a) { return make(g, pass, a, false); }}),
     conv_contenders().push_back({"onednn_nhwc", [](auto& g, ConvPass pass, auto& a) { return make(g, pass, a, true); }}), true);

}  // namespace
