#include "segnet/nn/attention.hpp"
#include "segnet/ops/reduction.hpp"

#include "golden/golden.hpp"

namespace segnet::golden {

void add_attention(Registry& registry) {
  registry.add("attention", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const auto q = join_heads(c.input("query")), k = join_heads(c.input("key")), v = join_heads(c.input("value"));
    const AttentionOptions options{c.integer("H"), c.number("scale", 0)};
    Tensor<T, D> mask;
    if (c.has_attribute("mask") && c.text("mask") == "additive") mask = c.input("attn_mask");
    else if (c.has_attribute("mask")) mask = additive_mask<T>(c.template integer_input<bool>("attn_mask"));
    c.check("attn", attention_weights(q, k, options, mask));
    c.output("y", split_heads(scaled_dot_product_attention(q, k, v, options, mask), options.heads));
    c.check_gradients();
  });

  registry.add("multi_head_attention", [](auto& c) {
    using T = typename std::remove_reference_t<decltype(c)>::value_type;
    using D = typename std::remove_reference_t<decltype(c)>::device;
    const index_t heads = c.integer("H"), E = c.integer("E"), L = c.integer("L"), N = c.integer("N");
    const auto batch_first = [&](const Tensor<T, D>& x) { return c.flag("batch_first") ? x : transpose(x, 0, 1); };
    nn::MultiheadAttention<T, D> layer(E, {.heads = heads});
    const auto set = [&](Tensor<T, D>& parameter, const char* name) { parameter = c.optional_input(name); };
    set(layer.in_proj_weight, "in_proj_weight");
    set(layer.in_proj_bias, "in_proj_bias");
    set(layer.out_proj.weight, "out_proj_weight");
    set(layer.out_proj.bias, "out_proj_bias");
    const auto query = batch_first(c.input("query"));
    const auto key = c.flag("self") ? query : batch_first(c.input("key")), value = c.flag("self") ? query : batch_first(c.input("value"));
    Tensor<T, D> mask = c.optional_input("attn_mask");
    if (mask.rank() == 3) mask = reshape(mask, {N, heads, L, mask.dim(2)});
    Tensor<bool, D> padding;
    if (c.flag("key_padding")) padding = c.template integer_input<bool>("key_padding_mask");
    const auto weights = layer.weights(query, key, mask, padding);
    c.check("attn_weights", c.flag("average_weights") ? mean(weights, {1}) : weights);
    c.output("y", batch_first(layer(query, key, value, mask, padding)));
    c.check_gradients();
  });
}

}  // namespace segnet::golden
