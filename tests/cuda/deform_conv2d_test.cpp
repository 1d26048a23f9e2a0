#include "segnet/ops/deform_conv2d.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/nn/deform_conv.hpp"
#include "segnet/ops/dcnv3.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// Multiples of 1/4 of either sign, some of them whole and some far outside: with small integers all sums are exact, and equal.
template <class T>
Tensor<T> quarters(const Shape& shape) {
  const auto t = integers<T>(shape, -9, 9);
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = i % 19 == 7 ? T(1000) : t.data()[i] / 4;
  return t;
}

struct V3Case {
  Shape x;
  DCNv3Options options;
};
/// Groups of packs, of more packs than a team has threads, and of no pack; every option.
std::vector<V3Case> v3_cases() {
  return {
      {{2, 4, 5, 16}, {.padding = 1, .groups = 2}},
      {{1, 3, 4, 280}, {.stride = 2, .padding = 1, .groups = 1, .offset_scale = 2}},
      {{2, 5, 3, 6}, {.padding = 2, .dilation = 2, .groups = 2, .remove_center = true}},
      {{1, 4, 3, 9}, {.kernel = {2, 3}, .stride = {1, 2}, .padding = {{1, 0}, {0, 2}}, .dilation = {2, 1}, .groups = 3}},
      {{0, 3, 3, 4}, {.padding = 1}},
  };
}

struct DeformCase {
  Shape x, w;
  DeformConv2dOptions options;
  index_t offset_groups = 1;
  bool mask = true, bias = true;
};
std::vector<DeformCase> deform_cases() {
  return {
      {{2, 4, 5, 8}, {6, 3, 3, 8}, {.padding = 1}, 1, false},
      {{1, 5, 4, 24}, {4, 3, 3, 12}, {.stride = 2, .padding = 1, .groups = 2}, 3},
      {{1, 4, 5, 12}, {6, 3, 3, 2}, {.padding = 2, .dilation = 2, .groups = 6}, 2, true, false},
      {{2, 5, 3, 6}, {3, 2, 3, 6}, {.stride = {2, 1}, .padding = {{0, 2}, {1, 0}}, .dilation = {2, 1}}, 2},
      {{0, 3, 3, 4}, {2, 3, 3, 4}, {.padding = 1}, 1},
  };
}

/// x, offsets and scalars; and for the tail of dcnv4's numbers room.
template <class T>
std::vector<Tensor<T>> v3_inputs(const V3Case& c) {
  const auto g = kernels::dcnv3_geometry("dcnv3", c.x, c.options);
  return {integers<T>(c.x, -4, 4), quarters<T>({g.N, g.OH, g.OW, 2 * g.groups * g.taps()}),
          integers<T>({g.N, g.OH, g.OW, g.groups * g.taps()}, -2, 2)};
}
template <class T>
std::vector<Tensor<T>> deform_inputs(const DeformCase& c) {
  const auto g =
      kernels::conv2d_geometry("", c.x, c.w, {0}, {c.options.stride, c.options.padding, c.options.dilation, c.options.groups, {}});
  const index_t taps = c.offset_groups * g.taps();
  return {integers<T>(c.x, -3, 3), quarters<T>({g.N, g.OH, g.OW, 2 * taps}), integers<T>(c.w, -3, 3),
          c.bias ? integers<T>({c.w[0]}, -3, 3) : Tensor<T>{}, c.mask ? integers<T>({g.N, g.OH, g.OW, taps}, -2, 2) : Tensor<T>{}};
}

}  // namespace

TEST_CASE_TEMPLATE("GPU: dcnv3 and dcnv4 as on the CPU, in exact numbers", T, float, double) {
  if (!gpu()) return;
  for (const V3Case& c : v3_cases()) {
    const auto in = v3_inputs<T>(c);
    check_same_on_gpu<T>(concat("dcnv3 ", c.x), [&](const auto& t) { return dcnv3(t[0], t[1], t[2], c.options); }, in);
    const Shape s = in[2].shape();
    const index_t width = dcnv4_width(c.options.groups, s[3] / c.options.groups);
    check_same_on_gpu<T>(concat("dcnv4 ", c.x), [&](const auto& t) { return dcnv4(t[0], t[1], c.options); },
                         {in[0], quarters<T>({s[0], s[1], s[2], width})});
  }
}

TEST_CASE_TEMPLATE("GPU: deform_conv2d as on the CPU, in exact numbers", T, float, double) {
  if (!gpu()) return;
  for (const DeformCase& c : deform_cases())
    check_same_on_gpu<T>(
        concat("deform_conv2d ", c.x, " * ", c.w), [&](const auto& t) { return deform_conv2d(t[0], t[1], t[2], t[3], t[4], c.options); },
        deform_inputs<T>(c));
}

TEST_CASE("GPU: deformable operators in memory that is not a multiple of 16 bytes away") {
  if (!gpu()) return;
  const V3Case v3{{1, 3, 4, 16}, {.padding = 1, .groups = 2}};
  check_same_on_gpu<float>(
      "dcnv3", [&](const auto& t) { return unaligned(dcnv3(unaligned(t[0]), unaligned(t[1]), unaligned(t[2]), v3.options)); },
      v3_inputs<float>(v3));
  const DeformCase v2{{1, 3, 4, 8}, {4, 3, 3, 8}, {.padding = 1}};
  check_same_on_gpu<float>(
      "deform_conv2d",
      [&](const auto& t) {
        return unaligned(deform_conv2d(unaligned(t[0]), unaligned(t[1]), unaligned(t[2]), t[3], unaligned(t[4]), v2.options));
      },
      deform_inputs<float>(v2));
}

TEST_CASE("GPU: deformable operators in bfloat16") {
  if (!gpu()) return;
  for (const V3Case& c : v3_cases())
    if (c.x[0])
      check_bfloat16_on_gpu(concat("dcnv3 ", c.x), [&](const auto& t) { return dcnv3(t[0], t[1], t[2], c.options); }, v3_inputs<float>(c));
  for (const DeformCase& c : deform_cases())  // columns are rounded as well
    if (c.x[0])
      check_bfloat16_on_gpu(
          concat("deform_conv2d ", c.x), [&](const auto& t) { return deform_conv2d(t[0], t[1], t[2], t[3], t[4], c.options); },
          deform_inputs<float>(c), 1. / 128);
}

TEST_CASE("GPU: layers of deformable convolution") {
  if (!gpu()) return;
  nn::DCNv3<float, Cuda> dcn(8, {.groups = 2, .center_feature_scale = true});
  nn::DCNv3<float> same(8, {.groups = 2, .center_feature_scale = true});
  nn::DeformConv2dPack<bfloat16, Cuda> pack(8, 4, 3, {.padding = 1});
  nn::copy_state(nn::state_dict<float>(same), nn::state_dict<float, Cuda>(dcn));
  const auto x = normal<float>({1, 4, 5, 8});
  CHECK(relative_difference(dcn(x.to<Cuda>()).detach().to<Cpu>(), same(x).detach()) < 1e-5);
  CHECK(pack(cast<bfloat16>(x.to<Cuda>())).shape() == Shape{1, 4, 5, 4});
}
