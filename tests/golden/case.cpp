#include <bit>
#include <cmath>

#include "golden/golden.hpp"

namespace segnet::golden {

namespace {

/// "[1, 0, 2]": where element i of a tensor lies.
std::string place(const Shape& shape, index_t i) {
  Shape at = shape;
  for (int d = shape.rank(); d-- > 0; i /= shape[d]) at[d] = i % shape[d];
  return to_string(at);
}

std::string digits(double value) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.12g", value);
  return buffer;
}

double largest_magnitude(const Tensor<double>& t) {
  double largest = 0;
  for (index_t i = 0; i < t.numel(); ++i)
    if (std::isfinite(t.data()[i])) largest = std::max(largest, std::abs(t.data()[i]));
  return largest;
}

/// Takes a number's bits into a fingerprint: FNV-1a over words.
void mix(std::uint64_t& fingerprint, double value) { fingerprint = (fingerprint ^ std::bit_cast<std::uint64_t>(value)) * 0x100000001b3; }

}  // namespace

const Json& CaseBase::attribute(std::string_view key) const {
  const Json* const value = find(key);
  if (!value) throw Error(concat("attribute '", key, "' is missing"));
  return *value;
}

std::vector<index_t> CaseBase::integers(std::string_view key) const {
  const Json& value = attribute(key);
  if (value.is_integer()) return {value.integer()};
  std::vector<index_t> list;
  for (const Json& element : value.array()) list.push_back(element.integer());
  return list;
}

Extent2 CaseBase::extent(std::string_view key, index_t absent) const {
  if (attribute(key).is_integer()) return integer(key);
  const std::vector<index_t> list = integers(key);
  if (list.size() == 1) return {absent, list[0]};
  if (list.size() == 2) return {list[0], list[1]};
  throw Error(concat("attribute '", key, "' has ", list.size(), " numbers, 1 or 2 can be used"));
}

Tensor<std::int64_t> CaseBase::integers_of(const std::string& role) {
  seen_.insert(role);
  const std::string name = full(role);
  const auto widened = [&](const auto& values) {
    Tensor<std::int64_t> wide(values.shape());
    for (index_t i = 0; i < values.numel(); ++i) wide.data()[i] = values.data()[i];
    return wide;
  };
  const std::string_view type = file_.dtype(name);
  if (type == "I32") return widened(file_.tensor<std::int32_t>(name));
  if (type == "U8") return widened(file_.tensor<std::uint8_t>(name));
  return file_.tensor<std::int64_t>(name);
}

Tensor<double> CaseBase::numbers(const std::string& role) {
  seen_.insert(role);
  return file_.tensor<double>(full(role));
}

double CaseBase::largest(const std::string& role) const { return largest_magnitude(file_.tensor<double>(full(role))); }

bool CaseBase::check_shape(const std::string& role, const Shape& got, const Shape& expected) {
  if (got != expected) fail(concat(role, ": shape ", got, ", expected ", expected));
  return got == expected;
}

void CaseBase::check_close(const std::string& what, double got, double expected, double tolerance) {
  mix(outcome.fingerprint, got);
  if (!(std::abs(got - expected) <= tolerance))
    fail(concat(what, ": got ", digits(got), ", expected ", digits(expected), " within ", tolerance));
}

void CaseBase::check_integers(const std::string& role, const Tensor<std::int64_t>& got) {
  const Tensor<std::int64_t> expected = integers_of(role);
  if (!check_shape(role, got.shape(), expected.shape())) return;
  index_t wrong = 0, first = 0;
  for (index_t i = got.numel(); i-- > 0;)
    if (got.data()[i] != expected.data()[i]) ++wrong, first = i;
  if (wrong)
    fail(concat(role, " ", got.shape(), ": ", wrong, " elements differ, the first at ", place(got.shape(), first), ": got ",
                got.data()[first], ", expected ", expected.data()[first]));
}

void CaseBase::check_numbers(const std::string& role, const Tensor<double>& got, const Tolerance& tolerance) {
  const Tensor<double> expected = numbers(role);
  if (!check_shape(role, got.shape(), expected.shape())) return;
  for (index_t i = 0; i < got.numel(); ++i) mix(outcome.fingerprint, got.data()[i]);
  const double largest = largest_magnitude(expected);
  const double scale = largest + (tolerance.of_largest > 0 ? tolerance.absolute / tolerance.of_largest : 0);
  index_t wrong = 0, worst = 0;
  double worst_excess = 0;
  for (index_t i = 0; i < got.numel(); ++i) {
    const double g = got.data()[i], e = expected.data()[i];
    if (g == e || (std::isnan(g) && std::isnan(e))) continue;
    const double error = std::isfinite(g - e) ? std::abs(g - e) : INFINITY;
    // What is not finite has to be equal: a share of infinity would allow everything.
    const double allowed = std::isfinite(e) ? tolerance.absolute + tolerance.relative * std::abs(e) + tolerance.of_largest * largest : 0;
    outcome.worst = std::max(outcome.worst, scale > 0 ? error / scale : error);
    if (error <= allowed) continue;
    ++wrong;
    if (error - allowed > worst_excess) worst_excess = error - allowed, worst = i;
  }
  if (wrong)
    fail(concat(role, " ", got.shape(), ": ", wrong, " of ", got.numel(), " elements are off, most at ", place(got.shape(), worst),
                ": got ", digits(got.data()[worst]), ", expected ", digits(expected.data()[worst]), " (largest magnitude ", digits(largest),
                ")"));
}

void CaseBase::check_nothing_forgotten() {
  for (const std::string& tensor : file_.names())
    if (tensor.starts_with(name_ + "/") && !seen_.count(tensor.substr(name_.size() + 1)))
      fail(concat("'", tensor.substr(name_.size() + 1), "' was neither used nor compared"));
}

}  // namespace segnet::golden
