#include "segnet/ops/indexing.hpp"

#include "cuda/same_on_gpu.hpp"
#include "segnet/ops/arithmetic.hpp"

using namespace segnet;
using namespace segnet::testing;

namespace {

Tensor<index_t> random_indices(const Shape& shape, index_t n) {
  Tensor<index_t> t(shape);
  for (index_t i = 0; i < t.numel(); ++i) t.data()[i] = testing::random().below(2 * n) - n;  // half of them from the end
  return t;
}

template <class X>
using DeviceOf = typename std::decay_t<decltype(std::declval<X>()[0])>::device;

/// In float, double, and bfloat16 against float.
template <class F>
void check_everywhere(const std::string& what, const F& f, const std::vector<Shape>& shapes, double narrow_tolerance = 0) {
  std::vector<Tensor<float>> x, small;
  std::vector<Tensor<double>> wide;
  for (const Shape& shape : shapes) {
    x.push_back(normal<float>(shape));  // even of these: sums are added up in the same order
    wide.push_back(normal<double>(shape));
    small.push_back(integers<float>(shape, -2, 2));
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
  check_same_on_gpu(what + " bfloat16", half, small, narrow_tolerance);
}

template <class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("index_select and index_add on the GPU") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{4, 3, 2}, Shape{2, 5, 24}, Shape{6}, Shape{3, 700, 5}})
    for (int dim = 0; dim < shape.rank(); ++dim) {
      const auto index = random_indices({7}, shape[dim]);
      check_everywhere(concat("index_select ", shape, " dim ", dim),
                       [&](const auto& x) { return index_select(x[0], dim, index.template to<DeviceOf<decltype(x)>>()); }, {shape});
      Shape source = shape;
      source[dim] = 7;
      check_everywhere(concat("index_add ", shape, " dim ", dim),
                       [&](const auto& x) { return index_add(x[0], dim, index.template to<DeviceOf<decltype(x)>>(), x[1]); },
                       {shape, source});
    }
  const auto index = random_indices({9}, 5);
  check_same_on_gpu<float>("index_add with a factor",
                           [&](const auto& x) { return index_add(x[0], 1, index.template to<DeviceOf<decltype(x)>>(), x[1], 2); },
                           {integers<float>({3, 5, 4}, -3, 3), integers<float>({3, 9, 4}, -3, 3)});
  const auto long_list = random_indices({5000}, 6);
  check_same_on_gpu<float>("many rows",
                           [&](const auto& x) { return index_select(x[0], 0, long_list.template to<DeviceOf<decltype(x)>>()); },
                           {normal<float>({6, 3})});
  check_everywhere("nothing selected", [](const auto& x) { return index_select(x[0], 0, Tensor<index_t, DeviceOf<decltype(x)>>({0})); },
                   {{3, 4}});
}

TEST_CASE_TEMPLATE("integers picked and added on the GPU", T, std::int32_t, std::int64_t, std::uint8_t) {
  if (!gpu()) return;
  const auto index = random_indices({7}, 5), places = random_indices({3, 90, 4}, 5);
  const auto x = integers<T>({3, 5, 4}, 0, 9), rows = integers<T>({3, 7, 4}, 0, 9), many = integers<T>({3, 90, 4}, 0, 2);
  const auto same = [](const auto& f) { CHECK(equal(f(Cuda{}).template to<Cpu>(), f(Cpu{}))); };
  same([&]<class D>(D) { return index_select(x.template to<D>(), 1, index.to<D>()); });
  same([&]<class D>(D) { return index_add(x.template to<D>(), 1, index.to<D>(), rows.template to<D>(), 2); });
  same([&]<class D>(D) { return gather(x.template to<D>(), 1, places.to<D>()); });
  same([&]<class D>(D) { return scatter_add(x.template to<D>(), 1, places.to<D>(), many.template to<D>()); });
}

TEST_CASE("gather and scatter_add on the GPU: in order, for many lines and for few long ones") {
  if (!gpu()) return;
  const Shape shape{3, 5, 4};
  for (int dim = 0; dim < 3; ++dim)
    for (const Shape& index_shape :
         {Shape{3, 5, 4}, Shape{2, 3, 4}, Shape{1, 1, 1}, Shape{3, 0, 4}, Shape{dim == 0 ? 90 : 2, dim == 1 ? 90 : 2, dim == 2 ? 90 : 2}}) {
      const auto index = random_indices(index_shape, shape[dim]);
      const auto on = [&](const auto& x) { return index.template to<DeviceOf<decltype(x)>>(); };
      const std::string what = concat(" dim ", dim, " index ", index_shape);
      check_everywhere("gather" + what, [&](const auto& x) { return gather(x[0], dim, on(x)); }, {shape}, 1e-2);
      check_everywhere(
          "scatter_add" + what, [&](const auto& x) { return scatter_add(x[0], dim, on(x), x[1]); }, {shape, index_shape}, 1e-2);
      Shape larger = index_shape;
      for (int d = 0; d < 3; ++d) larger[d] += d;
      check_everywhere(
          "scatter_add of a part" + what, [&](const auto& x) { return scatter_add(x[0], dim, on(x), x[1]); }, {shape, larger}, 1e-2);
    }
  const auto one_line = random_indices({50000}, 300);
  check_same_on_gpu<float>("one long line",
                           [&](const auto& x) { return scatter_add(x[0], 0, one_line.template to<DeviceOf<decltype(x)>>(), x[1]); },
                           {normal<float>({300}), normal<float>({50000})});
  const auto many = random_indices({100, 70, 64}, 20);
  check_same_on_gpu<float>("many lines",
                           [&](const auto& x) { return scatter_add(x[0], 1, many.template to<DeviceOf<decltype(x)>>(), x[1]); },
                           {normal<float>({100, 20, 64}), normal<float>({100, 70, 64})});
}

TEST_CASE("embedding and gather_pixels on the GPU") {
  if (!gpu()) return;
  const auto words = random_indices({4, 9}, 11);
  check_everywhere(
      "embedding", [&](const auto& x) { return embedding(x[0], words.template to<DeviceOf<decltype(x)>>()); }, {{11, 8}}, 1e-2);
  const auto n = random_indices({50}, 2), h = random_indices({50}, 4), w = random_indices({50}, 5);
  check_everywhere(
      "gather_pixels",
      [&](const auto& x) {
        using D = DeviceOf<decltype(x)>;
        return gather_pixels(x[0], n.template to<D>(), h.template to<D>(), w.template to<D>());
      },
      {{2, 4, 5, 3}}, 1e-2);
}

TEST_CASE_TEMPLATE("one_hot on the GPU", T, float, double, bfloat16, std::int32_t, std::int64_t, std::uint8_t, bool) {
  if (!gpu()) return;
  const auto classes = integers<index_t>({3, 41, 7}, 0, 5);
  CHECK(equal(one_hot<T>(classes.to<Cuda>(), 6).template to<Cpu>(), one_hot<T>(classes, 6)));
}

TEST_CASE("nonzero, count, triangles on the GPU") {
  if (!gpu()) return;
  for (const Shape& shape : {Shape{7}, Shape{3, 50, 11}, Shape{2, 300, 200}, Shape{0, 4}, Shape{}})
    for (const int kind : {0, 1, 2}) {
      INFO(shape, " ", kind);
      const auto mask = kind == 0 ? full<bool>(shape, false) : kind == 1 ? full<bool>(shape, true) : integers<bool>(shape, 0, 1);
      CHECK(kernels::count(mask.to<Cuda>().view()) == kernels::count(mask.view()));
      CHECK(equal(nonzero(mask.to<Cuda>()).to<Cpu>(), nonzero(mask)));
    }
  for (const index_t k : {-2, 0, 3}) {
    check_everywhere("tril", [k](const auto& x) { return tril(x[0], k); }, {{2, 5, 7}});
    check_everywhere("triu", [k](const auto& x) { return triu(x[0], k); }, {{7, 5}});
  }
}

TEST_CASE("indices out of range on the GPU: the first one, in the same words") {
  if (!gpu()) return;
  const auto x = normal<float>({4, 5});
  const Tensor<index_t> list({4}, {0, -5, 7, 9}), square({2, 2}, {1, 4, -6, 5});
  const auto same = [](const std::string& a, const std::string& b) {
    CHECK(a == b);
    CHECK(a != "no error");
  };
  const auto on = [&](const auto& f) {
    same(message([&] { f(x.to<Cuda>(), list.to<Cuda>(), square.to<Cuda>()); }), message([&] { f(x, list, square); }));
  };
  on([](const auto& t, const auto& i, const auto&) { (void)index_select(t, 0, i); });
  on([](const auto& t, const auto& i, const auto&) { (void)index_add(t, 0, i, t); });
  on([](const auto& t, const auto& i, const auto&) { (void)embedding(t, i); });
  on([](const auto& t, const auto&, const auto& i) { (void)gather(t, 1, i); });
  on([](const auto& t, const auto&, const auto& i) { (void)scatter_add(t, 1, i, t); });
  on([](const auto&, const auto& i, const auto&) { (void)one_hot(i, 8); });
}
