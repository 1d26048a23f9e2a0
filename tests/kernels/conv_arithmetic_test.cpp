#include "segnet/kernels/conv_arithmetic.hpp"

#include "support/testing.hpp"

using namespace segnet;

namespace {
/// The text of the ValueError that f throws.
template <class F>
std::string error(const F& f) {
  try {
    (void)f();
  } catch (const ValueError& e) {
    return e.what();
  }
  return "nothing was thrown";
}
}  // namespace

TEST_CASE("conv_size: sizes of well-known layers") {
  CHECK(conv_size(32, {.kernel = 3, .padding = 1}) == 32);
  CHECK(conv_size(32, {.kernel = 3, .stride = 2, .padding = 1}) == 16);
  CHECK(conv_size(33, {.kernel = 3, .stride = 2, .padding = 1}) == 17);
  CHECK(conv_size(224, {.kernel = 7, .stride = 2, .padding = 3}) == 112);  // ResNet's first
  CHECK(conv_size(224, {.kernel = 11, .stride = 4, .padding = 2}) == 55);  // AlexNet's first
  CHECK(conv_size(500, {.kernel = 3, .padding = 100}) == 698);             // FCN's first
  CHECK(conv_size(28, {.kernel = 3, .padding = 2, .dilation = 2}) == 28);
  CHECK(conv_size(28, {.kernel = 3, .dilation = 4}) == 20);
  CHECK(conv_size(5, {.kernel = 2, .padding = {0, 1}}) == 5);
}

TEST_CASE("conv_transpose_size: output padding chooses among the sizes that a convolution maps to the same output") {
  const ConvAxis a{.kernel = 3, .stride = 2, .padding = 1};
  const SizeRange sizes = conv_input_sizes(3, a);
  CHECK(sizes.first == 5);
  CHECK(sizes.last == 6);
  CHECK(conv_transpose_size(3, a, 0) == 5);
  CHECK(conv_transpose_size(3, a, 1) == 6);
  CHECK(conv_input_sizes(1, {.kernel = 1, .stride = 4, .padding = 1}).first == 1);  // 0 and less are no sizes
}

TEST_CASE("conv sizes: the transpose leads back to where the convolution came from, and from nowhere else") {
  for (index_t k = 1; k <= 5; ++k)
    for (index_t s = 1; s <= 4; ++s)
      for (index_t p = 0; p <= 3; ++p)
        for (index_t d = 1; d <= 3; ++d)
          for (index_t in = 1; in <= 64; ++in) {
            const ConvAxis a{k, s, {p, p / 2}, d};
            if (a.padded(in) < a.reach()) continue;
            const index_t out = conv_size(in, a);
            REQUIRE(conv_transpose_size(out, a, a.rest(in)) == in);
            const SizeRange sizes = conv_input_sizes(out, a);
            REQUIRE(sizes.first <= in);
            REQUIRE(in <= sizes.last);
            REQUIRE(conv_size(sizes.first, a) == out);
            REQUIRE(conv_size(sizes.last, a) == out);
            REQUIRE((sizes.first == 1 || sizes.last - sizes.first + 1 == s));
          }
}

TEST_CASE("receptive_field: VGG-16, layer by layer") {
  const ConvAxis conv{.kernel = 3, .padding = 1}, pool{.kernel = 2, .stride = 2};
  std::vector<ConvAxis> layers;
  const auto stage = [&](int convolutions) {
    layers.insert(layers.end(), static_cast<std::size_t>(convolutions), conv);
    layers.push_back(pool);
    return receptive_field(layers);
  };
  const auto sees = [](const ReceptiveField& f, index_t size, index_t jump) { return f.size == size && f.jump == jump; };
  CHECK(sees(stage(2), 6, 2));
  CHECK(sees(stage(2), 16, 4));
  CHECK(sees(stage(3), 44, 8));
  CHECK(sees(stage(3), 100, 16));
  CHECK(sees(stage(3), 212, 32));
  CHECK(sees(receptive_field(receptive_field(layers), {.kernel = 7}), 404, 32));
}

TEST_CASE("receptive_field: a field is exactly the inputs that an output depends on") {
  const std::vector<ConvAxis> layers{
      {.kernel = 3, .stride = 2, .padding = 1}, {.kernel = 2, .padding = {0, 1}}, {.kernel = 3, .dilation = 2}};
  const ReceptiveField field = receptive_field(layers);
  CHECK(field == ReceptiveField{.size = 13, .jump = 2, .first = -1});
  CHECK(field.centre() == 5);
  CHECK(field.centre(3) == 11);
  index_t low = 4, high = 4;  // of output 4, traced back through the layers
  for (std::size_t i = layers.size(); i-- > 0;) {
    low = low * layers[i].stride - layers[i].padding.begin;
    high = high * layers[i].stride - layers[i].padding.begin + layers[i].reach() - 1;
  }
  CHECK(low == field.first + 4 * field.jump);
  CHECK(high == low + field.size - 1);
  ReceptiveField dilated;  // Yu & Koltun, arXiv:1511.07122: 2^(i + 2) - 1 while the parameters only add up
  for (index_t i = 0; i < 3; ++i) {
    dilated = receptive_field(dilated, {.kernel = 3, .dilation = 1 << i});
    CHECK(dilated.size == (1 << (i + 2)) - 1);
  }
}

TEST_CASE("conv sizes: errors name the argument, what was expected and what came") {
  CHECK(error([] { return conv_size(4, {.kernel = 3, .dilation = 4}); }) ==
        "segnet::conv_size: argument 'kernel': expected within the padded input of 4, got one that spans 9");
  CHECK(error([] { return conv_size(0, {}); }) == "segnet::conv_size: argument 'in': expected at least 1, got 0");
  CHECK(error([] { return conv_size(4, {.kernel = 0}); }) == "segnet::conv_size: argument 'kernel': expected at least 1, got 0");
  CHECK(error([] { return conv_size(4, {.kernel = 3, .padding = {1, -1}}); }) ==
        "segnet::conv_size: argument 'padding': expected at least 0, got -1");
  CHECK(error([] { return conv_transpose_size(4, {.kernel = 3, .stride = 2}, 2); }) ==
        "segnet::conv_transpose_size: argument 'output_padding': expected at least 0 and less than max(stride, dilation) = 2, got 2");
  CHECK(error([] { return conv_transpose_size(1, {.kernel = 3, .padding = 2}); }) ==
        "segnet::conv_transpose_size: argument 'padding': expected less than what the kernel adds, got an output of -1");
  CHECK(error([] { return conv_input_sizes(1, {.kernel = 3, .padding = 3}); }) ==
        "segnet::conv_input_sizes: argument 'out': expected at least 5, which an input of 1 gives, got 1");
  CHECK(error([] { return receptive_field(std::vector<ConvAxis>{{.kernel = 3, .stride = 0}}).size; }) ==
        "segnet::receptive_field: argument 'stride': expected at least 1, got 0");
}

TEST_CASE("ConvAxis: as text") {
  CHECK(to_string(ConvAxis{.kernel = 3, .stride = 2, .padding = {0, 1}}) == "kernel 3, stride 2, padding 0:1, dilation 1");
  CHECK(to_string(ConvAxis{.kernel = 3, .padding = 2, .dilation = 2}) == "kernel 3, stride 1, padding 2, dilation 2");
}
