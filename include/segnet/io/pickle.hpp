// As much of Python's pickle format (protocol 2) as torch.save writes for a state dict, read without executing anything.
//
// A pickle is a program for a stack machine. Here its opcodes only build dictionaries, lists, tuples, numbers and text; of the functions
// that it may name, the three and the types of storages that tensors are made of are understood, and every other is refused. Nothing
// recurses, values refer to each other by index, and a byte of the pickle takes at most 50 of memory (twice that while a vector grows).
#pragma once

#include <string>
#include <vector>

#include "segnet/io/elements.hpp"
#include "segnet/io/json.hpp"

namespace segnet::detail {

/// PyTorch's names of element types.
struct TorchStorage {
  std::string_view name, type;
};
inline constexpr TorchStorage torch_storages[] = {
    {"DoubleStorage", "F64"}, {"FloatStorage", "F32"}, {"HalfStorage", "F16"}, {"BFloat16Storage", "BF16"}, {"LongStorage", "I64"},
    {"IntStorage", "I32"},    {"ShortStorage", "I16"}, {"CharStorage", "I8"},  {"ByteStorage", "U8"},       {"BoolStorage", "BOOL"}};

/// Elements that tensors share: a file of its own, `data/KEY`.
struct PickledStorage {
  ElementType type;
  std::string_view key;
  index_t size = 0;  ///< elements
};

/// A tensor as a pickle describes it. Whether it lies within its storage is not checked here.
struct PickledTensor {
  PickledStorage storage;
  index_t offset = 0;    ///< of the first element
  Shape shape, strides;  ///< in elements
};

enum class PickleKind : std::uint8_t { nothing, boolean, integer, real, text, tuple, list, dictionary, global, storage, tensor };

inline std::string_view to_string(PickleKind kind) {
  constexpr std::string_view names[] = {"None",   "a bool", "an integer",   "a float",   "text",    "a tuple",
                                        "a list", "a dict", "a class name", "a storage", "a tensor"};
  return names[static_cast<std::size_t>(kind)];
}

struct PickleValue {
  PickleKind kind = PickleKind::nothing;
  std::int64_t value = 0;  ///< of an integer or bool; else where the PickleReader keeps it
};

class PickleReader {
 public:
  static constexpr std::size_t max_bytes = std::size_t{1} << 23;  ///< enough for 30,000 tensors

  /// Both must outlive the reader. @throws IoError: damaged, or anything that a state dict does not need
  PickleReader(std::string_view bytes, const std::string& source) : bytes_(bytes), source_(source) {
    if (bytes.size() > max_bytes) fail(concat("has ", bytes.size(), " bytes, more than the ", max_bytes, " that are accepted here"));
    run();
  }

  [[nodiscard]] PickleValue root() const { return root_; }
  /// Elements of a tuple or list; keys and values of a dictionary in turn.
  [[nodiscard]] const std::vector<PickleValue>& items(PickleValue v) const { return items_[static_cast<std::size_t>(v.value)]; }
  [[nodiscard]] std::string_view text(PickleValue v) const {
    return bytes_.substr(static_cast<std::size_t>(v.value >> 32), static_cast<std::size_t>(v.value & 0xFFFFFFFF));
  }
  [[nodiscard]] const PickledTensor& tensor(PickleValue v) const { return tensors_[static_cast<std::size_t>(v.value)]; }

 private:
  using Kind = PickleKind;

  enum Function : std::int64_t { ordered_dict = -3, rebuild_tensor = -2, rebuild_parameter = -1 };  // from 0 on: element_types

  [[noreturn]] void fail(std::string_view what) const { throw IoError(source_, concat("byte ", at_, ": ", what)); }

  // ---- bytes
  std::string_view take(std::size_t n) {
    if (n > bytes_.size() - next_) fail("it ends too early");
    next_ += n;
    return bytes_.substr(next_ - n, n);
  }
  std::uint64_t number(std::size_t n) {
    std::uint64_t value = 0;
    std::memcpy(&value, take(n).data(), n);
    return value;
  }
  std::string_view line() {
    const std::size_t end = bytes_.find('\n', next_);
    if (end == std::string_view::npos) fail("it ends too early");
    const std::string_view text = take(end - next_);
    ++next_;
    return text;
  }

  // ---- the stack
  void push(Kind kind, std::int64_t value = 0) { stack_.push_back({kind, value}); }
  /// The topmost value, which must lie above the last mark.
  PickleValue& top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("a value is missing");
    return stack_.back();
  }
  PickleValue pop() {
    const PickleValue v = top();
    stack_.pop_back();
    return v;
  }
  PickleValue pop(Kind kind, std::string_view what) {
    const PickleValue v = pop();
    if (v.kind != kind) fail(concat(what, " is ", to_string(v.kind), ", not ", to_string(kind)));
    return v;
  }
  /// Where the values above the last mark begin. The mark is taken away.
  std::size_t to_mark() {
    if (marks_.empty()) fail("a mark is missing");
    const std::size_t begin = marks_.back();
    marks_.pop_back();
    return begin;
  }
  /// A new container of the values from `begin` on, in their place.
  void contain(Kind kind, std::size_t begin) {
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(begin);
    items_.emplace_back(first, stack_.end());
    stack_.resize(begin);
    push(kind, static_cast<std::int64_t>(items_.size() - 1));
  }
  void contain_last(std::size_t n) {
    if (stack_.size() - (marks_.empty() ? 0 : marks_.back()) < n) fail("a value is missing");
    contain(Kind::tuple, stack_.size() - n);
  }
  /// Moves the values from `begin` on into the container below them.
  void append(Kind kind, std::size_t begin) {
    const std::vector<PickleValue> values(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    const PickleValue& to = top();
    if (to.kind != kind) fail(concat("items for ", to_string(to.kind), ", not ", to_string(kind)));
    if (kind == Kind::dictionary && values.size() % 2) fail("a key without a value");
    auto& all = items_[static_cast<std::size_t>(to.value)];
    all.insert(all.end(), values.begin(), values.end());
  }

  // ---- what functions mean
  void global() {
    const std::string_view module = line(), member = line();
    const std::string name = concat(module, ".", member);
    if (name == "collections.OrderedDict") return push(Kind::global, ordered_dict);
    if (name == "torch._utils._rebuild_tensor_v2") return push(Kind::global, rebuild_tensor);
    if (name == "torch._utils._rebuild_parameter") return push(Kind::global, rebuild_parameter);
    for (const auto& [storage, type] : torch_storages)
      for (std::int64_t i = 0; module == "torch" && member == storage && i < std::ssize(element_types); ++i)
        if (element_types[i].name == type) return push(Kind::global, i);
    fail(concat("it names ", shown(name), ", which no tensor is made of (nothing of it was executed)"));
  }
  /// As much of a name as fits into a message.
  static std::string shown(std::string_view name) {
    std::string text;
    for (const char c : name.substr(0, 100)) text += c >= ' ' && c <= '~' ? c : '?';
    return text;
  }
  const PickleValue& argument(const std::vector<PickleValue>& arguments, std::size_t i, Kind kind) const {
    if (i >= arguments.size() || arguments[i].kind != kind)
      fail(concat("argument ", i, " is ", i < arguments.size() ? to_string(arguments[i].kind) : "missing", ", not ", to_string(kind)));
    return arguments[i];
  }
  /// ('storage', torch.FloatStorage, key, 'cpu', number of elements)
  void storage() {
    const std::vector<PickleValue>& id = items(pop(Kind::tuple, "what refers to a storage"));
    PickledStorage s;
    if (text(argument(id, 0, Kind::text)) != "storage") fail("it refers to something that is no storage");
    const std::int64_t type = argument(id, 1, Kind::global).value;
    if (type < 0) fail("a storage without an element type");
    s.type = element_types[type];
    s.key = text(argument(id, 2, Kind::text));
    s.size = argument(id, 4, Kind::integer).value;
    if (s.size < 0) fail("a storage of negative size");
    storages_.push_back(s);
    push(Kind::storage, static_cast<std::int64_t>(storages_.size() - 1));
  }
  Shape sizes(PickleValue tuple) const {
    Shape shape;
    for (const PickleValue& size : items(tuple)) {
      if (size.kind != Kind::integer || size.value < 0) fail("a size or stride that is not a number of at least 0");
      if (shape.rank() == Shape::max_rank) fail(concat("a tensor of more than ", Shape::max_rank, " dimensions"));
      shape.push_back(size.value);
    }
    return shape;
  }
  void reduce() {
    const std::vector<PickleValue>& arguments = items(pop(Kind::tuple, "arguments"));
    switch (pop(Kind::global, "what is called").value) {
      case ordered_dict:
        if (!arguments.empty()) fail("OrderedDict with arguments");
        return contain(Kind::dictionary, stack_.size());
      case rebuild_tensor: {  // storage, offset, size, stride, requires_grad, hooks
        PickledTensor t;
        t.storage = storages_[static_cast<std::size_t>(argument(arguments, 0, Kind::storage).value)];
        t.offset = argument(arguments, 1, Kind::integer).value;
        t.shape = sizes(argument(arguments, 2, Kind::tuple));
        t.strides = sizes(argument(arguments, 3, Kind::tuple));
        if (t.offset < 0 || t.shape.rank() != t.strides.rank()) fail("a tensor whose offset, size and stride do not fit together");
        tensors_.push_back(t);
        return push(Kind::tensor, static_cast<std::int64_t>(tensors_.size() - 1));
      }
      case rebuild_parameter:  // tensor, requires_grad, hooks
        return stack_.push_back(argument(arguments, 0, Kind::tensor));
      default:
        fail("a storage's type is called");
    }
  }

  // ---- opcodes, as Python's pickletools names them
  void run() {
    if (take(2) != std::string_view("\x80\x02")) fail("is no pickle of protocol 2, which torch.save writes");
    for (;;) {
      at_ = next_;
      const auto opcode = static_cast<unsigned char>(take(1)[0]);
      switch (opcode) {
        case '.':  // STOP
          root_ = pop();
          if (!stack_.empty() || !marks_.empty() || next_ != bytes_.size()) fail("something is left when it ends");
          return;
        case 'N':
          push(Kind::nothing);
          break;  // NONE
        case 0x88:
          push(Kind::boolean, 1);
          break;  // NEWTRUE
        case 0x89:
          push(Kind::boolean, 0);
          break;  // NEWFALSE
        case 'K':
          push(Kind::integer, static_cast<std::int64_t>(number(1)));
          break;  // BININT1
        case 'M':
          push(Kind::integer, static_cast<std::int64_t>(number(2)));
          break;  // BININT2
        case 'J':
          push(Kind::integer, static_cast<std::int32_t>(number(4)));
          break;  // BININT
        case 'G':
          take(8), push(Kind::real);
          break;  // BINFLOAT: nobody asks which
        case 0x8a:
          long1();
          break;  // LONG1
        case 'X':
          unicode();
          break;  // BINUNICODE
        case '(':
          marks_.push_back(stack_.size());
          break;  // MARK
        case ')':
          contain(Kind::tuple, stack_.size());
          break;  // EMPTY_TUPLE
        case 0x85:
          contain_last(1);
          break;  // TUPLE1
        case 0x86:
          contain_last(2);
          break;  // TUPLE2
        case 0x87:
          contain_last(3);
          break;  // TUPLE3
        case 't':
          contain(Kind::tuple, to_mark());
          break;  // TUPLE
        case ']':
          contain(Kind::list, stack_.size());
          break;  // EMPTY_LIST
        case 'a':
          (void)top(), append(Kind::list, stack_.size() - 1);
          break;  // APPEND
        case 'e':
          append(Kind::list, to_mark());
          break;  // APPENDS
        case '}':
          contain(Kind::dictionary, stack_.size());
          break;  // EMPTY_DICT
        case 's':
          set_item();
          break;  // SETITEM
        case 'u':
          append(Kind::dictionary, to_mark());
          break;  // SETITEMS
        case 'q':
          put(number(1));
          break;  // BINPUT
        case 'r':
          put(number(4));
          break;  // LONG_BINPUT
        case 'h':
          get(number(1));
          break;  // BINGET
        case 'j':
          get(number(4));
          break;  // LONG_BINGET
        case 'c':
          global();
          break;  // GLOBAL
        case 'Q':
          storage();
          break;  // BINPERSID
        case 'R':
          reduce();
          break;   // REDUCE
        case 'b':  // BUILD: attributes (state_dict()._metadata)
          pop(Kind::dictionary, "attributes");
          if (top().kind != Kind::dictionary) fail(concat("attributes of ", to_string(top().kind)));
          break;
        default:
          fail(refused(opcode));
      }
    }
  }
  static std::string refused(unsigned char opcode) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text = concat("opcode 0x", digits[opcode >> 4], digits[opcode & 15]);
    if (opcode > ' ' && opcode <= '~') text += concat(" '", static_cast<char>(opcode), "'");
    return text + ", which no state dict needs";
  }
  void long1() {
    const std::size_t n = number(1);
    if (n > 8) fail("an integer of more than 64 bits");
    std::uint64_t value = number(n);
    if (n > 0 && n < 8 && value >> (8 * n - 1)) value |= ~std::uint64_t{0} << 8 * n;  // negative
    push(Kind::integer, static_cast<std::int64_t>(value));
  }
  void unicode() {
    const std::size_t n = number(4);
    const std::string_view text = take(n);
    if (!is_utf8(text)) fail("text that is no UTF-8");
    push(Kind::text, static_cast<std::int64_t>((next_ - n) << 32 | n));
  }
  void set_item() {
    const PickleValue value = pop();
    (void)top();
    stack_.push_back(value);
    append(Kind::dictionary, stack_.size() - 2);
  }
  void put(std::size_t at) {
    if (at > memo_.size()) fail("values are remembered out of order");
    if (at == memo_.size()) memo_.emplace_back();
    memo_[at] = top();
  }
  void get(std::size_t at) {
    if (at >= memo_.size()) fail("a value that was not remembered");
    stack_.push_back(memo_[at]);
  }

  std::string_view bytes_;
  const std::string& source_;
  std::size_t at_ = 0, next_ = 0;  // the opcode, and what comes next
  std::vector<PickleValue> stack_, memo_;
  std::vector<std::size_t> marks_;
  std::vector<std::vector<PickleValue>> items_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;
  PickleValue root_;
};

}  // namespace segnet::detail
