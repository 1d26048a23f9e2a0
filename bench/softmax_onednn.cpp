// oneDNN's softmax over the last dimension of a plain row-major matrix.
#include <dnnl.hpp>
#include <memory>

#include "softmax_bench.hpp"

namespace {

const bool added =
    (softmax_contenders().push_back({"onednn",
                                     [](const float* x, float* y, long rows, long channels) -> std::function<void()> {
                                       struct State {
                                         dnnl::engine engine{dnnl::engine::kind::cpu, 0};
                                         dnnl::stream stream{engine};
                                         dnnl::memory from, to;
                                         dnnl::softmax_forward softmax;
                                       };
                                       const auto state = std::make_shared<State>();
                                       const dnnl::memory::desc matrix({rows, channels}, dnnl::memory::data_type::f32,
                                                                       dnnl::memory::format_tag::ab);
                                       state->from = dnnl::memory(matrix, state->engine, const_cast<float*>(x));
                                       state->to = dnnl::memory(matrix, state->engine, y);
                                       const dnnl::softmax_forward::desc desc(dnnl::prop_kind::forward_inference, matrix, 1);
                                       state->softmax = dnnl::softmax_forward(dnnl::softmax_forward::primitive_desc(desc, state->engine));
                                       return [state] {
                                         state->softmax.execute(state->stream, {{DNNL_ARG_SRC, state->from}, {DNNL_ARG_DST, state->to}});
                                         state->stream.wait();
                                       };
                                     }}),
     true);

}  // namespace
