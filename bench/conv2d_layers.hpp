// Layers of the convolution benchmark: how they are written, and the table of those that are measured.
#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "segnet/kernels/conv2d_geometry.hpp"

struct ConvLayer {
  std::string name;  ///< "3x3 d2 512->512 64x64": kernel, what is not usual, channels, size of the input
  segnet::kernels::ConvGeometry g;
  bool transposed = false;
};

namespace layer_text {

constexpr const char* syntax = "\"N,H,W,C -> K, k=3 s=1 p=1 d=2 g=1\"; sizes also as 3x5; \"transposed\" at the end for such a layer";

[[noreturn]] inline void bad(std::string_view text, std::string_view what) {
  throw segnet::ValueError("conv2d_bench", "--layer", syntax, segnet::concat("\"", text, "\" (", what, ")"));
}

inline segnet::index_t number(std::string_view text, std::string_view token) {
  segnet::index_t value = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (error != std::errc() || end != token.data() + token.size()) bad(text, segnet::concat("'", token, "' is no whole number"));
  return value;
}

/// "3" or "3x5"
inline segnet::Extent2 extent(std::string_view text, std::string_view token) {
  const std::size_t cross = token.find('x');
  if (cross == std::string_view::npos) return number(text, token);
  return {number(text, token.substr(0, cross)), number(text, token.substr(cross + 1))};
}

inline std::string name_of(const segnet::kernels::ConvGeometry& g, bool transposed) {
  using segnet::concat;
  using segnet::Extent2;
  const bool depthwise = g.groups > 1 && g.groups == g.C && g.groups == g.O;
  const auto brief = [](Extent2 e) { return e.h == e.w ? concat(e.h) : concat(e.h, "x", e.w); };
  std::string name = concat(transposed ? "transposed " : depthwise ? "depth-wise " : "", g.kh, "x", g.kw);
  if (g.stride != Extent2(1)) name += concat(" s", brief(g.stride));
  if (g.dilation != Extent2(1)) name += concat(" d", brief(g.dilation));
  const Extent2 usual(g.dilation.h * ((g.kh - 1) / 2), g.dilation.w * ((g.kw - 1) / 2));
  if (g.padding != usual) name += concat(" p", brief(g.padding));
  if (g.groups > 1 && !depthwise) name += concat(" g", g.groups);
  if (depthwise) name += concat(" ", g.C);
  else name += transposed ? concat(" ", g.O, "->", g.C) : concat(" ", g.C, "->", g.O);
  name += transposed ? concat(" ", g.OH, "x", g.OW) : concat(" ", g.H, "x", g.W);
  return g.N == 1 ? name : concat(name, " batch ", g.N);
}

}  // namespace layer_text

/// A layer as written on the command line: input size, output channels, then kernel, stride, padding, dilation and groups, of which
/// only the kernel must be given.
/// @throws ValueError, ShapeError: not such a text, or no such convolution
inline ConvLayer parse_layer(std::string_view text) {
  using namespace segnet;
  std::vector<std::string_view> tokens;  // between spaces and commas; "->" is one
  for (std::size_t begin = 0; (begin = text.find_first_not_of(" ,", begin)) != std::string_view::npos;) {
    std::size_t end = std::min(text.find_first_of(" ,", begin), text.size());
    const std::size_t arrow = text.find("->", begin);
    if (arrow == begin) end = begin + 2;
    else end = std::min(end, arrow);
    tokens.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  if (tokens.size() < 6 || tokens[4] != "->") layer_text::bad(text, "it does not begin like N,H,W,C -> K");
  Shape x;
  {
    index_t size[4];
    for (std::size_t i = 0; i < 4; ++i) size[i] = layer_text::number(text, tokens[i]);
    if (*std::min_element(size, size + 4) < 1) layer_text::bad(text, "sizes are at least 1");
    x = {size[0], size[1], size[2], size[3]};
  }
  const index_t outputs = layer_text::number(text, tokens[5]);
  Extent2 kernel = 0, stride = 1, padding = 0, dilation = 1;
  index_t groups = 1;
  bool transposed = false;
  for (std::size_t i = 6; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    if (token == "transposed") {
      transposed = true;
      continue;
    }
    if (token.size() < 3 || token[1] != '=') layer_text::bad(text, concat("'", token, "' is not understood"));
    const Extent2 value = layer_text::extent(text, token.substr(2));
    switch (token[0]) {
      case 'k':
        kernel = value;
        break;
      case 's':
        stride = value;
        break;
      case 'p':
        padding = value;
        break;
      case 'd':
        dilation = value;
        break;
      case 'g':
        groups = value.h;
        break;
      default:
        layer_text::bad(text, concat("'", token, "' is not understood"));
    }
  }
  if (kernel.h < 1 || kernel.w < 1) layer_text::bad(text, "k= is missing");
  if (outputs < 1 || groups < 1 || outputs % groups || x[3] % groups)
    layer_text::bad(text, concat("g=", groups, " does not divide ", x[3], " and ", outputs, " channels"));
  ConvLayer layer{.name = {}, .g = {}, .transposed = transposed};
  if (transposed)
    layer.g = kernels::conv_transpose2d_geometry("conv2d_bench", x, {x[3], kernel.h, kernel.w, outputs / groups}, {0},
                                                 {.stride = stride, .padding = padding, .dilation = dilation, .groups = groups});
  else
    layer.g = kernels::conv2d_geometry("conv2d_bench", x, {outputs, kernel.h, kernel.w, x[3] / groups}, {0},
                                       {.stride = stride, .padding = padding, .dilation = dilation, .groups = groups});
  layer.name = layer_text::name_of(layer.g, transposed);
  return layer;
}

/// Layers of segmentation networks: VGG and U-Net, ResNet, DeepLab, MobileNet, DenseNet, FCN; the last fits no vector.
constexpr const char* conv_layers[] = {
    "1,128,128,64 -> 64, k=3 p=1",
    "1,64,64,256 -> 256, k=3 p=1",
    "1,32,32,512 -> 512, k=3 p=1",
    "1,64,64,512 -> 512, k=3 p=2 d=2",
    "1,64,64,256 -> 256, k=3 p=12 d=12",
    "1,64,64,1024 -> 256, k=1",
    "1,128,128,64 -> 256, k=1",
    "1,256,256,3 -> 64, k=7 s=2 p=3",
    "1,256,256,3 -> 64, k=3 p=1",
    "1,64,64,128 -> 256, k=3 s=2 p=1",
    "1,64,64,256 -> 256, k=3 p=1 g=256",
    "1,64,64,128 -> 128, k=5 p=2 g=128",
    "1,128,128,144 -> 16, k=3 p=1",
    "1,30,40,1024 -> 512, k=3 p=1",
    "1,32,32,512 -> 256, k=2 s=2 transposed",
    "1,64,64,64 -> 64, k=4 s=2 p=1 transposed",
    "1,64,64,21 -> 21, k=16 s=8 p=4 transposed",
    "1,14,14,255 -> 127, k=3 p=1",
};
