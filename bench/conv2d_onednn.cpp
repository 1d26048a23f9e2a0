// oneDNN's convolutions and deconvolutions: direct and Winograd in the layouts that oneDNN prefers, everything converted beforehand,
// and from and to plain layouts, where what has to be converted is converted in each call.
#include <dnnl.hpp>
#include <memory>
#include <unordered_map>

#include "conv2d_bench.hpp"

namespace {

using dnnl::memory;
using segnet::index_t;
using segnet::kernels::ConvGeometry;

enum class Layout {
  own,   ///< what oneDNN prefers
  nhwc,  ///< segnet's: images channels last, weights [O, kh, kw, C/groups]
  nchw   ///< PyTorch's: images channels first, weights [O, C/groups, kh, kw]
};

/// An array as this program has it, as the user of oneDNN has it, and as the primitive takes it.
struct Argument {
  int id = 0;
  memory ours, user, inside;
};

/// A primitive with its arguments: two inputs and one output.
struct Call {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::primitive primitive;
  Argument inputs[2], output;
  std::unordered_map<int, memory> arguments;

  void convert(memory& from, memory& to) {
    if (from.get_data_handle() != to.get_data_handle()) dnnl::reorder(from, to).execute(stream, from, to);
  }
  void run() {
    for (Argument& a : inputs) convert(a.user, a.inside);
    primitive.execute(stream, arguments);
    convert(output.inside, output.user);
    stream.wait();
  }
  void fetch() {
    convert(output.user, output.ours);
    stream.wait();
  }
};

struct Descriptions {
  memory::desc x, w, y;
};

memory::dims image_strides(index_t C, index_t H, index_t W, bool channels_last) {
  return channels_last ? memory::dims{H * W * C, 1, W * C, C} : memory::dims{C * H * W, H * W, W, 1};
}

/// The arrays in a plain layout, their sizes named as oneDNN names them. A deconvolution takes its weights the other way round: the
/// channels of its output, which is x, come first.
Descriptions plain(const ConvProblem& p, bool channels_last) {
  const ConvGeometry& g = p.g;
  const auto f32 = memory::data_type::f32;
  const index_t O = g.group_outputs(), C = g.group_inputs(), taps = g.taps();
  memory::dims sizes{O, C, g.kh, g.kw};
  memory::dims strides = channels_last ? memory::dims{taps * C, 1, g.kw * C, C} : memory::dims{taps * C, taps, g.kw, 1};
  if (p.transposed) std::swap(sizes[0], sizes[1]), std::swap(strides[0], strides[1]);
  if (g.groups > 1) {
    sizes.insert(sizes.begin(), g.groups);
    strides.insert(strides.begin(), O * taps * C);
  }
  return {memory::desc({g.N, g.C, g.H, g.W}, f32, image_strides(g.C, g.H, g.W, channels_last)), memory::desc(sizes, f32, strides),
          memory::desc({g.N, g.O, g.OH, g.OW}, f32, image_strides(g.O, g.OH, g.OW, channels_last))};
}

memory::desc any(const memory::desc& d) { return {d.dims(), d.data_type(), memory::format_tag::any}; }

template <class Forward, class BackwardData, class BackwardWeights>
ConvRunner make(const ConvProblem& p, const ConvArrays& arrays, dnnl::algorithm algorithm, bool winograd, Layout layout) {
  const ConvGeometry& g = p.g;
  const Descriptions ours = plain(p, true), user = plain(p, layout == Layout::nhwc);
  const bool as_it_is = layout == Layout::nhwc && !winograd;  // Winograd takes no images channels last
  const memory::desc x = as_it_is ? ours.x : any(ours.x), y = as_it_is ? ours.y : any(ours.y), w = any(ours.w);
  const memory::dims stride{g.stride.h, g.stride.w}, dilation{g.dilation.h - 1, g.dilation.w - 1}, before{g.padding.h, g.padding.w};
  const memory::dims behind{(g.OH - 1) * g.stride.h + (g.kh - 1) * g.dilation.h + 1 - g.H - g.padding.h,
                            (g.OW - 1) * g.stride.w + (g.kw - 1) * g.dilation.w + 1 - g.W - g.padding.w};
  const memory::desc &source = p.transposed ? y : x, &result = p.transposed ? x : y;

  const auto call = std::make_shared<Call>();
  const auto bind = [&](Argument& argument, int id, const memory::desc& inside, bool is_x, bool is_w) {
    const auto of = [&](const Descriptions& d) { return is_w ? d.w : is_x ? d.x : d.y; };
    argument.id = id;
    argument.ours = memory(of(ours), call->engine, is_w ? arrays.w : is_x ? arrays.x : arrays.y);
    argument.inside = memory(inside, call->engine);
    if (layout == Layout::own) argument.user = argument.inside;
    else if (layout == Layout::nhwc) argument.user = argument.ours;
    else argument.user = memory(of(user), call->engine);
    if (layout == Layout::nhwc && inside == of(ours)) argument.inside = argument.ours;
    call->convert(argument.ours, argument.user);
    call->arguments[id] = argument.inside;
  };
  const typename Forward::primitive_desc forward(
      {dnnl::prop_kind::forward_training, algorithm, source, w, result, stride, dilation, before, behind}, call->engine);
  if (p.pass == ConvPass::forward) {
    bind(call->inputs[0], DNNL_ARG_SRC, forward.src_desc(), !p.transposed, false);
    bind(call->inputs[1], DNNL_ARG_WEIGHTS, forward.weights_desc(), false, true);
    bind(call->output, DNNL_ARG_DST, forward.dst_desc(), p.transposed, false);
    call->primitive = Forward(forward);
  } else if (p.pass == ConvPass::grad_input) {
    const typename BackwardData::primitive_desc desc({algorithm, source, w, result, stride, dilation, before, behind}, call->engine,
                                                     forward);
    bind(call->inputs[0], DNNL_ARG_DIFF_DST, desc.diff_dst_desc(), p.transposed, false);
    bind(call->inputs[1], DNNL_ARG_WEIGHTS, desc.weights_desc(), false, true);
    bind(call->output, DNNL_ARG_DIFF_SRC, desc.diff_src_desc(), !p.transposed, false);
    call->primitive = BackwardData(desc);
  } else {
    const typename BackwardWeights::primitive_desc desc({algorithm, source, w, result, stride, dilation, before, behind}, call->engine,
                                                        forward);
    bind(call->inputs[0], DNNL_ARG_SRC, desc.src_desc(), !p.transposed, false);
    bind(call->inputs[1], DNNL_ARG_DIFF_DST, desc.diff_dst_desc(), p.transposed, false);
    bind(call->output, DNNL_ARG_DIFF_WEIGHTS, desc.diff_weights_desc(), false, true);
    call->primitive = BackwardWeights(desc);
  }
  call->stream.wait();
  return {[call] { call->run(); }, [call] { call->fetch(); }};
}

ConvContender contender(const char* name, bool winograd, Layout layout) {
  return {name, [=](const ConvProblem& p, const ConvArrays& arrays) -> ConvRunner {
            using namespace dnnl;
            try {
              if (p.transposed)
                return make<deconvolution_forward, deconvolution_backward_data, deconvolution_backward_weights>(
                    p, arrays, winograd ? algorithm::deconvolution_winograd : algorithm::deconvolution_direct, winograd, layout);
              return make<convolution_forward, convolution_backward_data, convolution_backward_weights>(
                  p, arrays, winograd ? algorithm::convolution_winograd : algorithm::convolution_direct, winograd, layout);
            } catch (const dnnl::error& e) {
              if (e.status == dnnl_unimplemented) return {};
              throw;
            }
          }};
}

const bool added = [] {
  conv_peers().push_back(contender("onednn_direct", false, Layout::own));
  conv_peers().push_back(contender("onednn_winograd", true, Layout::own));
  conv_peers().push_back(contender("onednn_direct_nhwc", false, Layout::nhwc));
  conv_peers().push_back(contender("onednn_direct_nchw", false, Layout::nchw));
  conv_peers().push_back(contender("onednn_winograd_nhwc", true, Layout::nhwc));
  return true;
}();

}  // namespace
