#include "cuda/same_on_gpu.hpp"
#include "segnet/core/layout.hpp"
#include "segnet/ops/concat.hpp"
#include "segnet/ops/flip.hpp"
#include "segnet/ops/pad.hpp"
#include "segnet/ops/permute.hpp"
#include "segnet/ops/pixel_shuffle.hpp"
#include "segnet/ops/repeat.hpp"
#include "segnet/ops/unfold.hpp"
#include "segnet/ops/unpool.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

/// float and double as they are, bfloat16 against float: what only moves, or adds small integers, is exact in all of them.
template <class F>
void check_everywhere(const std::string& what, const F& f, const std::vector<Shape>& shapes) {
  std::vector<Tensor<float>> x;
  std::vector<Tensor<double>> wide;
  for (const Shape& shape : shapes) {
    x.push_back(integers<float>(shape, -3, 3));
    wide.push_back(integers<double>(shape, -3, 3));
  }
  check_same_on_gpu(what, f, x);
  check_same_on_gpu(what + " double", f, wide);
  const auto half = [&]<class D>(const std::vector<Tensor<float, D>>& in) {
    if constexpr (std::is_same_v<D, Cpu>) return f(in);
    else {
      std::vector<Tensor<bfloat16, D>> narrow_in;
      for (const auto& t : in) narrow_in.push_back(cast<bfloat16>(t));
      return cast<float>(f(std::as_const(narrow_in)));
    }
  };
  check_same_on_gpu(what + " bfloat16", half, x);
}

/// What only moves, for elements of any type.
template <class T, class F>
void check_moves(const F& f, const Shape& shape) {
  const auto x = integers<T>(shape, 0, 100);
  CHECK(equal(f(x.template to<Cuda>()).template to<Cpu>(), f(x)));
}

index_t pick(std::initializer_list<index_t> from) { return from.begin()[testing::random().below(static_cast<index_t>(from.size()))]; }

}  // namespace

TEST_CASE_TEMPLATE("copy_strided on the GPU: random boxes", T, float, double, bfloat16, std::int32_t, std::int64_t, std::uint8_t, bool) {
  if (!gpu()) return;
  for (int round = 0; round < 40; ++round) {
    const int rank = 1 + static_cast<int>(testing::random().below(5));
    const bool aligned = testing::random().below(2);  // rows of whole 16-byte words
    index_t size[5], stride[2][5], extent[2] = {1, 1}, offset[2];
    index_t total = 1;
    for (int k = 0; k < rank; ++k) {
      size[k] = aligned && k == rank - 1 ? pick({16, 32, 64}) : pick({1, 2, 3, 5, 8, 17, 33, 64});
      if (total * size[k] > 30000) size[k] = 1;
      total *= size[k];
    }
    for (int side = 0; side < 2; ++side) {  // the source's dimensions, then the destination's, from the inside in any order
      int order[5] = {0, 1, 2, 3, 4};
      const bool shuffled = testing::random().below(2);
      for (int k = 0; k < rank; ++k) order[k] = rank - 1 - k;
      for (int k = shuffled ? rank - 1 : 0; k > 0; --k) std::swap(order[k], order[testing::random().below(k + 1)]);
      for (int k = 0; k < rank; ++k) {
        stride[side][order[k]] = extent[side];
        extent[side] *= size[order[k]] * (k == 0 && !aligned ? pick({1, 1, 1, 2}) : 1);
        if (testing::random().below(3) == 0) extent[side] += aligned ? 16 : pick({1, 2, 4, 7});
      }
      offset[side] = aligned ? 16 * testing::random().below(2) : testing::random().below(4);
    }
    kernels::StridedBox box;
    for (int k = 0; k < rank && !aligned; ++k)
      if (const index_t kind = testing::random().below(8); kind == 0) stride[0][k] = 0;
      else if (kind == 1) {
        offset[0] += (size[k] - 1) * stride[0][k];
        stride[0][k] = -stride[0][k];
      }
    box.source_offset = offset[0];
    box.destination_offset = offset[1];
    std::string text = concat("offsets ", offset[0], ", ", offset[1], ":");
    for (int k = 0; k < rank; ++k) {
      box.push_back(size[k], stride[0][k], stride[1][k]);
      text += concat(" ", size[k], " (", stride[0][k], ", ", stride[1][k], ")");
    }
    INFO(text);
    const auto x = integers<T>({extent[0] + offset[0] + 16}, 0, 100), y = integers<T>({extent[1] + offset[1] + 16}, 0, 100);
    const auto gx = x.template to<Cuda>(), gy = y.clone().template to<Cuda>();
    kernels::copy_strided(box, x.view(), y.view());
    kernels::copy_strided(box, gx.view(), gy.view());
    REQUIRE(equal(gy.template to<Cpu>(), y));
  }
}

TEST_CASE("copy_strided on the GPU: offsets beyond 2^31") {
  if (!gpu()) return;
  const Tensor<std::uint8_t, Cuda> far({(index_t{1} << 31) + 4096});
  const auto there_and_back = [&](const kernels::StridedBox& box) {  // from a box of far into a dense one, by way of another of far
    index_t total = 1;
    for (int k = 0; k < box.rank; ++k) total *= box.size[k];
    const auto x = integers<std::uint8_t>({total}, 0, 255);
    kernels::StridedBox in = box, out = box;
    for (int k = 0; k < box.rank; ++k) {
      in.source[k] = box.destination[k], in.destination[k] = box.source[k];
      out.source_offset = in.destination_offset = 5;
    }
    const Tensor<std::uint8_t, Cuda> y({total});
    kernels::copy_strided(in, x.to<Cuda>().view(), far.view());
    kernels::copy_strided(out, far.view(), y.view());
    CHECK(equal(y.to<Cpu>(), x));
    index_t last = out.source_offset;
    for (int k = 0; k < box.rank; ++k) last += (box.size[k] - 1) * box.source[k];
    CHECK(last >= index_t{1} << 31);
    CHECK(far.alias({}, last).item() == x.data()[total - 1]);
  };
  kernels::StridedBox rows, columns, single;
  rows.push_back(3, (index_t{1} << 30) + 16, 32);
  rows.push_back(32, 1, 1);
  there_and_back(rows);
  columns.push_back(16, 1, 17);  // a transposition
  columns.push_back(17, (index_t{1} << 27) + 3, 1);
  there_and_back(columns);
  single.push_back(2, index_t{1} << 31, 1);
  there_and_back(single);
}

TEST_CASE_TEMPLATE("what only moves, on the GPU: integers and truth values", T, std::int64_t, bool) {
  if (!gpu()) return;
  const auto everything = [](const auto& x) {
    const std::vector<std::decay_t<decltype(x)>> moved{concat({x, narrow(x, 1, 0, 2)}, 1),
                                                       slice(x, {{}, {1, -1}, {0, 9, 2}}),
                                                       permute(x, {2, 0, 3, 1}),
                                                       pad(x, {1, 0, 2, 3}),
                                                       pad(x, {0, 0, 2, 1}, PadMode::reflect),
                                                       flip(x, {1, 3}),
                                                       roll(x, 3, 2),
                                                       repeat(x, {2, 1, 3, 1}),
                                                       repeat_interleave(x, 2, 1),
                                                       expand(narrow(x, 3, 1, 1), {x.dim(0), 8, 9, 5}),
                                                       pixel_shuffle(x, 2),
                                                       nearest_unpool2d(x, {2, 3})};
    std::vector<std::decay_t<decltype(x)>> flat;
    for (const auto& y : moved) flat.push_back(flatten(y));
    return concat(flat, 0);
  };
  check_moves<T>(everything, {2, 8, 9, 4});
  check_moves<T>(everything, {0, 8, 9, 4});
}

TEST_CASE("concat, slice, split on the GPU") {
  if (!gpu()) return;
  for (const auto& [a, b] : std::vector<std::pair<index_t, index_t>>{{64, 64}, {3, 5}, {1, 7}, {4, 8}, {20, 12}})
    check_everywhere(concat("channels ", a, " + ", b), [](const auto& x) { return concat(x, -1); },
                     {{2, 9, 7, a}, {2, 9, 7, b}, {2, 9, 7, a}});
  check_everywhere("rows", [](const auto& x) { return concat(x, 1); }, {{2, 3, 5, 4}, {2, 1, 5, 4}, {2, 0, 5, 4}});
  check_everywhere("images", [](const auto& x) { return concat(x, 0); }, {{1, 3, 5}, {2, 3, 5}});
  for (const index_t C : {1, 3, 16}) {
    check_everywhere("crop", [](const auto& x) { return slice(x[0], {{}, {1, -1}, {2, -2}}); }, {{2, 9, 70, C}});
    check_everywhere("steps", [](const auto& x) { return slice(x[0], {{}, {1, 8, 3}, {0, 70, 2}}); }, {{2, 9, 70, C}});
    check_everywhere("nothing", [](const auto& x) { return slice(x[0], {{}, {5, 5}}); }, {{2, 9, 3, C}});
  }
  check_everywhere("channels cut", [](const auto& x) { return narrow(x[0], -1, 3, 9); }, {{2, 9, 7, 13}});
  check_everywhere("images cut", [](const auto& x) { return narrow(x[0], 0, 1, 2); }, {{4, 9, 7, 3}});
  check_everywhere("split", [](const auto& x) { return concat({split(x[0], {4, 5}, 1)[1], split(x[0], {4, 5}, 1)[0]}, 1); }, {{4, 9, 5}});
  check_everywhere("large crop", [](const auto& x) { return slice(x[0], {{}, {4, -4}, {4, -4}}); }, {{1, on_gpu(120, 30), 130, 32}});
}

TEST_CASE("permute and layouts on the GPU") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{2, 33, 65, 3}, Shape{2, 7, 9, 64}, Shape{1, 40, 70, 21}, Shape{3, 1, 5, 1}, Shape{2, 64, 64, 8}})
    for (const std::vector<int>& order : {std::vector<int>{0, 3, 1, 2}, {0, 2, 3, 1}, {3, 2, 1, 0}, {0, 2, 1, 3}, {2, 0, 3, 1}})
      check_everywhere(concat("permute ", shape), [&](const auto& x) { return permute(x[0], order); }, {shape});
  check_everywhere("rank 6", [](const auto& x) { return permute(x[0], {5, 0, 4, 2, 1, 3}); }, {{3, 4, 5, 2, 9, 16}});
  check_everywhere("empty", [](const auto& x) { return permute(x[0], {1, 2, 0}); }, {{0, 4, 5}});
  check_everywhere("matrix", [](const auto& x) { return transpose(x[0], 0, 1); }, {{301, on_gpu(517, 45)}});
  const auto nchw = [](const auto& x) { return to_nchw(from_nchw(x)); };
  const auto images = [](const auto& x) { return from_nchw(x); };
  for (const Shape& shape : {Shape{2, 3, 33, 31}, Shape{2, 64, 9, 9}, Shape{5, 7}, Shape{0, 3, 4, 4}}) {
    check_moves<float>(images, shape);
    check_moves<std::uint8_t>(images, shape);
    check_moves<float>(nchw, shape);
    check_moves<bfloat16>(nchw, shape);
  }
}

TEST_CASE("pad, flip, roll, repeat, expand on the GPU") {
  if (!gpu()) return;
  for (const index_t C : {3, 8})
    for (const PadMode mode : {PadMode::constant, PadMode::reflect, PadMode::replicate, PadMode::circular})
      for (const std::vector<index_t>& padding : {std::vector<index_t>{0, 0, 1, 2, 3, 0}, {0, 0, -1, 2, 2, -2}, {1, 1}})
        check_everywhere(concat("pad ", to_string(mode), " C ", C),
                         [&](const auto& x) { return pad(x[0], padding, mode, typename std::decay_t<decltype(x[0])>::value_type(2)); },
                         {{2, 5, 6, C}});
  for (const Shape& shape : {Shape{2, 5, 6, 3}, Shape{1, 33, 70, 8}}) {
    check_everywhere("flip", [](const auto& x) { return flip(x[0], {1, 2}); }, {shape});
    check_everywhere("flip channels", [](const auto& x) { return flip(x[0], {-1}); }, {shape});
    check_everywhere("roll", [](const auto& x) { return roll(x[0], -2, 2); }, {shape});
    check_everywhere("interleave", [](const auto& x) { return repeat_interleave(x[0], 3, 1); }, {shape});
  }
  check_everywhere("repeat", [](const auto& x) { return repeat(x[0], {2, 1, 3, 1, 2}); }, {{2, 3, 5, 4}});
  check_everywhere("repeat, nothing", [](const auto& x) { return repeat(x[0], {0, 2}); }, {{3, 5}});
  check_everywhere("expand", [](const auto& x) { return expand(x[0], {4, 3, 5, 6}); }, {{3, 1, 6}});
  check_everywhere("expand channels", [](const auto& x) { return expand(x[0], {3, 5, 64}); }, {{3, 5, 1}});
}

TEST_CASE("unpooling by rule on the GPU") {
  if (!gpu()) return;
  for (const Extent2 factor : {Extent2(1), Extent2(2), Extent2(3, 4)}) {
    check_everywhere("nearest_unpool2d", [&](const auto& x) { return nearest_unpool2d(x[0], factor); }, {{2, 5, 7, 3}});
    check_everywhere("bed_of_nails_unpool2d", [&](const auto& x) { return bed_of_nails_unpool2d(x[0], factor); }, {{2, 5, 7, 8}});
  }
}

TEST_CASE("pixel_shuffle, unfold, fold on the GPU") {
  if (!gpu()) return;
  for (const index_t r : {1, 2, 3}) {
    check_everywhere("pixel_shuffle", [&](const auto& x) { return pixel_shuffle(x[0], r); }, {{2, 5, 7, 4 * r * r}});
    check_everywhere("pixel_unshuffle", [&](const auto& x) { return pixel_unshuffle(x[0], r); }, {{2, 4 * r, 5 * r, 3}});
  }
  for (const UnfoldOptions& o :
       {UnfoldOptions{}, UnfoldOptions{.stride = 2, .padding = 1}, UnfoldOptions{.padding = 2, .dilation = {2, 1}}}) {
    check_everywhere("unfold", [&](const auto& x) { return unfold(x[0], {3, 2}, o); }, {{3, 9, 8, 5}});
    const auto patches = unfold(zeros<float>({3, 9, 8, 5}), {3, 2}, o).shape();
    check_everywhere("fold", [&](const auto& x) { return fold(x[0], {9, 8}, {3, 2}, o); }, {patches});
  }
}
