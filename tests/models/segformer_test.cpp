#include "segnet/models/segformer.hpp"

#include "models/learns.hpp"
#include "segnet/models/inference.hpp"
#include "segnet/models/lawin.hpp"
#include "segnet/nn/summary.hpp"
#include "support/testing.hpp"

using namespace segnet;
using namespace segnet::testing;
using namespace segnet::models;

namespace {

constexpr MixTransformerOptions small{.channels = {4, 8, 20, 32}, .depths = {1, 1, 1, 1}, .drop_path = 0};

}  // namespace

TEST_CASE("SegFormer: parameters and multiply-adds as published, attention's among them") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  struct Counts {
    index_t encoder, network;
    double encoder_macs, attention_macs, network_macs;  // 10^9, of 512 x 512
  };
  const Counts expected[] = {{3'319'392, 3'752'694, 2.163, 1.040, 8.39},     {13'151'424, 13'715'798, 8.353, 2.080, 15.88},
                             {24'196'288, 27'461'974, 16.343, 3.892, 62.34}, {44'072'128, 47'337'814, 30.955, 5.906, 78.96},
                             {60'842'688, 64'108'374, 44.976, 8.489, 95.57}, {81'443'008, 84'708'694, 59.274, 10.133, 0}};
  for (int size = 0; size < 6; ++size) {
    INFO("B", size);
    const Counts& counts = expected[size];
    SegFormer<> net(SegFormerOptions::b(size));
    CHECK(nn::num_parameters(net.backbone) == counts.encoder);
    CHECK(nn::num_parameters(net) == counts.network);
    // Counted for 128 x 128, which has a 16th of the pixels, and a 256th of the pairs of them.
    double attention = 0, encoder = 0, head = 0;
    for (const auto& row : nn::summarize(net, {1, 128, 128, 3}).rows)
      (row.type == "Attention"            ? attention
       : row.name.starts_with("backbone") ? encoder
                                          : head) += static_cast<double>(row.multiply_adds) * 1e-9;
    CHECK(256 * attention == doctest::Approx(counts.attention_macs).epsilon(1e-3));
    CHECK(16 * encoder == doctest::Approx(counts.encoder_macs).epsilon(1e-3));
    if (size < 5) CHECK(256 * attention + 16 * (encoder + head) == doctest::Approx(counts.network_macs).epsilon(1e-3));
    else CHECK(625 * attention + 25 * (encoder + head) == doctest::Approx(183.3).epsilon(1e-3));  // of 640 x 640
  }
}

TEST_CASE("Lawin: parameters as published, of attention by ratio too") {
  const nn::ShapesOnly no_arithmetic;
  poison_fresh_memory(false);
  const index_t expected[] = {4'150'630, 14'107'078, 29'613'446, 49'489'286, 66'259'846, 86'860'166};
  for (int size = 0; size < 6; ++size) {
    INFO("B", size);
    CHECK(nn::num_parameters(Lawin<>(LawinOptions::b(size))) == expected[size]);
  }
  CHECK(nn::num_parameters(Lawin<>({.backbone = MixTransformerOptions::b(2), .embed = 768})) == 30'253'190);
  CHECK(nn::num_parameters(LargeWindowAttention<>(512, 8)) == 792'320);
  CHECK(nn::num_parameters(LargeWindowAttention<>(512, 4)) == 592'640);
  CHECK(nn::num_parameters(LargeWindowAttention<>(512, 2)) == 542'720);
}

TEST_CASE("SegFormer and Lawin: the authors' names and shapes") {
  const nn::ShapesOnly no_arithmetic;
  const auto all = state_dict_names(SegFormer<>({.backbone = small}));
  CHECK(all.size() == 4 * 4 + 4 * (16 + 2) + 3 * 4 + 8 + 5 + 2);
  for (const char* name : {"backbone.patch_embed1.proj.weight", "backbone.patch_embed4.norm.bias", "backbone.block1.0.norm1.weight",
                           "backbone.block2.0.attn.q.bias", "backbone.block2.0.attn.kv.weight", "backbone.block3.0.attn.sr.weight",
                           "backbone.block3.0.attn.norm.bias", "backbone.block4.0.attn.proj.weight",
                           "backbone.block4.0.mlp.dwconv.dwconv.weight", "backbone.norm4.weight", "decode_head.linear_c1.proj.weight",
                           "decode_head.linear_fuse.conv.weight", "decode_head.linear_fuse.bn.running_var", "decode_head.linear_pred.bias"})
    CHECK(all.count(name));
  CHECK(!all.count("backbone.block4.0.attn.sr.weight"));
  const auto lawin = state_dict_names(Lawin<>({.backbone = small, .channels = 128}));
  for (const char* name : {"decode_head.lawin_8.g.conv.bias", "decode_head.lawin_4.conv_out.bn.running_mean",
                           "decode_head.lawin_8.position_mixing.63.weight", "decode_head.lawin_2.position_mixing.3.bias",
                           "decode_head.ds_8.norm.weight", "decode_head.image_pool.1.conv.weight", "decode_head.short_path.bn.weight",
                           "decode_head.cat.conv.weight", "decode_head.low_level_fuse.bn.bias", "decode_head.conv_seg.weight"})
    CHECK(lawin.count(name));
  CHECK(!lawin.count("decode_head.lawin_2.position_mixing.4.bias"));
}

TEST_CASE("SegFormer and Lawin: logits have the size of the image, and do not depend on its batch") {
  default_generator() = testing::random().split(1);
  SegFormer<> segformer({.classes = 5, .backbone = small, .embed = 6});
  nn::eval(segformer);
  NoGrad guard;
  const auto x = normal<float>({2, 45, 70, 3});
  const auto maps = segformer.backbone(x);
  CHECK(maps[0].shape() == Shape{2, 12, 18, 4});
  CHECK(maps[3].shape() == Shape{2, 2, 3, 32});
  const auto y = segformer(x);
  CHECK(y.shape() == Shape{2, 45, 70, 5});
  const auto second = x.alias({1, 45, 70, 3}, 45 * 70 * 3);
  CHECK(max_difference(segformer(second), y.alias({1, 45, 70, 5}, 45 * 70 * 5)) < 1e-5);

  AnySize<Lawin<>> lawin{Lawin<>({.classes = 5, .backbone = small, .embed = 8, .channels = 128, .low_channels = 4})};
  nn::eval(lawin);
  CHECK(lawin(x).shape() == Shape{2, 45, 70, 5});
  CHECK_THROWS_WITH_AS((void)lawin.network(x), "segnet::cut_windows: argument 'x': expected [N, 8 i, 8 j, C], got [2, 6, 9, 128]",
                       ShapeError);
}

TEST_CASE("Lawin: windows are cut and joined; contexts are what the definition says") {
  const auto x = random_uniform<double>({2, 16, 24, 3}, testing::random());
  const auto windows = cut_windows(x);
  REQUIRE(windows.shape() == Shape{12, 8, 8, 3});
  CHECK(windows.at(4, 2, 3, 1) == x.at(0, 10, 11, 1));  // of the second row of three, the second
  CHECK(equal(join_windows(windows, x.shape()), x));
  for (const index_t ratio : {2, 4, 8}) {
    INFO("ratio ", ratio);
    PooledContext<double> context(3, ratio);
    const auto cells = zeros<double>({12, 8, 8, 3});
    for (index_t i = 0; i < cells.numel(); ++i) {
      const index_t c = i % 3, column = i / 3 % 8, row = i / 24 % 8, w = i / 192, n = w / 6, outside = (ratio - 1) * 4;
      double largest = -1, sum = 0;
      for (index_t a = 0; a < ratio; ++a)
        for (index_t b = 0; b < ratio; ++b) {
          const index_t h = w % 6 / 3 * 8 - outside + row * ratio + a, v = w % 3 * 8 - outside + column * ratio + b;
          const double value = h < 0 || h >= 16 || v < 0 || v >= 24 ? 0 : x.at(n, h, v, c);
          largest = std::max(largest, value);
          sum += value;
        }
      cells.data()[i] = (largest + sum / static_cast<double>(ratio * ratio)) / 2;
    }
    CHECK(max_difference(context(x), context.norm(cells)) < 1e-12);
  }
}

TEST_CASE("Lawin: a head mixes the positions of its own channels") {
  LargeWindowAttention<double> attention(8, 2);
  nn::eval(attention);
  for (auto& layer : attention.position_mixing) layer.weight.fill(0), layer.bias.fill(0);
  const auto query = normal<double>({2, 8, 8, 8}), context = normal<double>({2, 8, 8, 8});
  const auto plain = attention(query, context).detach();
  // The last of four heads, channels 6 and 7, doubles position 5 of the context and adds 3 to position 7.
  attention.position_mixing[3].weight.at(5, 5) = 1;
  attention.position_mixing[3].bias.at(7) = 3;
  const auto changed = context.clone();
  for (const index_t n : {0, 1})
    for (const index_t c : {6, 7}) changed.at(n, 0, 5, c) *= 2, changed.at(n, 0, 7, c) += 3;
  const auto mixed = attention(query, context).detach();
  attention.position_mixing[3].weight.fill(0), attention.position_mixing[3].bias.fill(0);
  CHECK(max_difference(mixed, attention(query, changed).detach()) < 1e-12);
  CHECK(max_difference(mixed, plain) > 1e-6);
}

TEST_CASE("MixTransformer: blocks are dropped more often the deeper they are, in training alone") {
  const nn::ShapesOnly no_arithmetic;
  MixTransformerOptions o = small;
  o.depths = {2, 1, 1, 1};
  o.drop_path = 0.2;
  const MixTransformer<> net(o);
  CHECK(net.stages[0].blocks[0].drop_path.p == 0);
  CHECK(net.stages[0].blocks[1].drop_path.p == doctest::Approx(0.05));
  CHECK(net.stages[3].blocks[0].drop_path.p == doctest::Approx(0.2));
  CHECK_THROWS_WITH_AS((void)MixTransformerOptions::b(6), doctest::Contains("expected 0 to 5, got 6"), ValueError);
  CHECK_THROWS_WITH_AS(LargeWindowAttention<>(64, 8), doctest::Contains("a multiple of 2 ratio^2 = 128, got 64"), ValueError);
}

TEST_CASE("SegFormer and Lawin learn a batch") {
  default_generator() = testing::random().split(1);
  SegFormer<> segformer({.classes = 3, .backbone = small, .embed = 8});
  learns(segformer, {2, 33, 46, 3}, 3, 33, 46);
  Lawin<> lawin({.classes = 3, .backbone = small, .embed = 8, .channels = 128, .low_channels = 4});
  learns(lawin, {2, 64, 64, 3}, 3, 64, 64);
}
