#include "segnet/models/intern_image.hpp"

#include <set>

#include "models/learns.hpp"
#include "segnet/nn/any_module.hpp"
#include "segnet/nn/summary.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::models;

namespace {

struct Published {
  const char* size;
  index_t backbone, head, aux;
};

/// A network as deep as its four levels must be, whose blocks are those of `like`.
InternImageOptions small(const char* like) {
  InternImageOptions o = InternImageOptions::named(like);
  o.channels = 8;
  o.depths = {1, 1, 2, 1};
  o.groups = {1, 2, 2, 4};
  o.drop_path = 0;
  if (!o.post_norms.empty()) o.post_norms = {1};
  return o;
}
InternImageUPerNet<> small_network(const char* like) {
  InternImageUPerNet<> net({.classes = 4, .backbone = small(like), .channels = 8});
  net.decode_head.dropout.p = 0;
  return net;
}

}  // namespace

TEST_CASE("InternImage and UPerNet: parameters as counted from the authors' code") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  for (const Published& p : {Published{"T", 28'769'520, 29'678'742, 628'886},
                             {"S", 48'502'560, 30'588'054, 776'342},
                             {"B", 94'909'920, 32'406'678, 1'071'254},
                             {"L", 218'952'370, 35'134'614, 1'513'622},
                             {"XL", 328'971'228, 36'953'238, 1'808'534},
                             {"H", 1'073'122'480, 44'227'734, 2'988'182}}) {
    INFO(p.size);
    const InternImageUPerNet<> net({.backbone = InternImageOptions::named(p.size)});
    CHECK(nn::num_parameters(net.backbone) == p.backbone);
    CHECK(nn::num_parameters(net.decode_head) == p.head);
    CHECK(nn::num_parameters(net) == p.backbone + p.head + p.aux);
  }
  CHECK_THROWS_WITH_AS((void)InternImageOptions::named("XS"), doctest::Contains("'size': expected T, S, B, L, XL or H, got XS"),
                       ValueError);
  poison_fresh_memory(true);
}

TEST_CASE("InternImage-T and UPerNet: shapes and multiply-adds") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  InternImageUPerNet<> net({.aux = false});
  index_t core = 0, backbone = 0;
  for (const auto& row : nn::summarize(net, {1, 128, 128, 3}).rows) {
    if (row.type == "DCNv3") core += row.multiply_adds;
    if (row.name.starts_with("backbone.")) backbone += row.multiply_adds;
  }
  // At 512 x 512, and so 16 times here: 0.52 10^9 of the core, 25.5 10^9 with the norms and biases that are not counted here.
  CHECK(16e-9 * static_cast<double>(core) == doctest::Approx(0.5191).epsilon(1e-3));
  CHECK(16e-9 * static_cast<double>(backbone) == doctest::Approx(25.42).epsilon(2e-3));
  const auto maps = net.backbone(Tensor<float>({1, 96, 70, 3}));
  CHECK(maps[0].shape() == Shape{1, 24, 18, 64});
  CHECK(maps[1].shape() == Shape{1, 12, 9, 128});
  CHECK(maps[2].shape() == Shape{1, 6, 5, 256});
  CHECK(maps[3].shape() == Shape{1, 3, 3, 512});
  poison_fresh_memory(true);
}

TEST_CASE("InternImage and UPerNet: names of the authors' files") {
  const nn::ShapesOnly no_arithmetic;
  const auto check = [](const char* like, std::initializer_list<const char*> expected, std::initializer_list<const char*> absent) {
    std::set<std::string> names;
    for (const auto& entry : nn::state_dict(small_network(like))) names.insert(entry.name);
    for (const char* name : expected) {
      INFO(like, " ", name);
      CHECK(names.count(name) == 1);
    }
    for (const char* name : absent) {
      INFO(like, " ", name);
      CHECK(names.count(name) == 0);
    }
  };
  check("T",
        {"backbone.patch_embed.conv1.bias", "backbone.patch_embed.norm2.1.weight", "backbone.levels.2.blocks.1.gamma1",
         "backbone.levels.0.norm.0.weight", "backbone.levels.3.norm.0.bias", "backbone.levels.1.downsample.conv.weight",
         "backbone.levels.1.downsample.norm.1.weight", "backbone.levels.3.blocks.0.dcn.dw_conv.1.1.weight", "decode_head.conv_seg.bias",
         "decode_head.psp_modules.3.1.bn.running_var", "auxiliary_head.convs.0.conv.weight", "auxiliary_head.convs.0.bn.weight",
         "auxiliary_head.conv_seg.weight"},
        {"backbone.levels.1.downsample.conv.bias", "backbone.levels.3.downsample.conv.weight", "decode_head.bottleneck.conv.bias"});
  check("L", {"backbone.levels.0.blocks.0.gamma2"}, {"backbone.levels.0.norm.0.weight", "backbone.levels.3.norm.0.weight"});
  check("H",
        {"backbone.levels.0.blocks.0.res_post_norm1.0.weight", "backbone.levels.2.post_norms.0.0.bias", "backbone.levels.2.norm.0.weight",
         "backbone.levels.2.blocks.0.dcn.center_feature_scale_proj_weight"},
        {"backbone.levels.0.blocks.0.gamma1", "backbone.levels.1.post_norms.0.0.bias"});
}

TEST_CASE("InternImage and UPerNet learn, with norms in each of their places") {
  default_generator() = testing::random().split(1);
  for (const char* like : {"T", "L", "H"}) {
    INFO(like);
    InternImageUPerNet<> net = small_network(like);
    const auto x = normal<float>({2, 70, 33, 3});  // no multiples of 32
    Tensor<std::int32_t> labels({2, 70, 33});
    for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % 33 / 9);
    learns(net, [&] {
      const auto [out, aux] = net.with_aux(x);
      return cross_entropy(out, labels) + cross_entropy(aux, labels) * 0.4f;
    });
  }
}

TEST_CASE("InternImage: a branch that is dropped leaves the residual alone") {
  default_generator() = testing::random().split(1);
  InternImageOptions o = small("T");
  o.drop_path = 1;  // of the last block
  InternImage<> net(o);
  const auto x = normal<float>({1, 4, 4, 64});
  const auto& last = net.levels[3].blocks[0];
  CHECK(equal(last(x), x));
  nn::eval(net);
  CHECK(!equal(last(x), x));
}
