#include "machine.hpp"

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#include "races.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define SEGNET_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEGNET_ASAN 1
#endif
#endif
#if defined(SEGNET_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Keeps what a call must keep on the stack in use, and goes on where another was left. Arguments: where to note the one, the other.
extern "C" void segnet_emulated_go(void** from, void* to);
asm(R"(
.text
.globl segnet_emulated_go
.type segnet_emulated_go, @function
segnet_emulated_go:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size segnet_emulated_go, .-segnet_emulated_go
)");
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace segnet::emulated {

namespace {

constexpr std::size_t stack_bytes = 256 * 1024, guard_bytes = 64 * 1024;
constexpr unsigned most_threads = 1024, barriers = 16, nobody = ~0u;

/// Where a stack was left. ucontext would do, but asks the system each time, and kernels change threads at every shuffle.
#if defined(__x86_64__)
struct Context {
  void* top = nullptr;

  /// Calls f when it is first gone to; f never returns.
  void prepare(void* stack, std::size_t bytes, void (*f)()) {
    void** const end = static_cast<void**>(stack) + bytes / sizeof(void*) - 2;  // f finds its stack as a call would leave it
    end[0] = reinterpret_cast<void*>(f);
    end[1] = nullptr;
    top = end - 6;
  }
  void go(const Context& to) { segnet_emulated_go(&top, to.top); }
};
#else
struct Context {
  ucontext_t state{};

  void prepare(void* stack, std::size_t bytes, void (*f)()) {
    getcontext(&state);
    state.uc_stack.ss_sp = stack;
    state.uc_stack.ss_size = bytes;
    makecontext(&state, f, 0);
  }
  void go(const Context& to) { swapcontext(&state, &to.state); }
};
#endif

/// A stack of its own, on which threads run: one after the other until one waits.
struct Fiber {
  Context context;
  const void* stack = nullptr;
  std::size_t bytes = 0;
  unsigned thread = nobody;   ///< that stands on it
  uint3 index{};              ///< its threadIdx
  void* sanitizer = nullptr;  ///< notes of the address sanitizer's, which must know when stacks change
  void* seen_as = nullptr;    ///< the thread sanitizer's fiber
};

struct Barrier {
  std::vector<Fiber*> waiting;
  char meetings[2];  ///< places where those who meet give and take: this time, and the next, which may begin before all have left
  unsigned meeting = 0;
};

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};
struct Look {
  const void* mine;
  void (*f)(const void*, Shown);
  const void* closure;
};

class Machine;
Machine* in_use = nullptr;

/// One block at a time.
class Machine {
 public:
  Machine() {
    if (const char* seed = std::getenv("SEGNET_EMULATED_SEED")) state_ = std::strtoull(seed, nullptr, 10) * 2 + 1;
    // What the machine notes while threads run is not theirs: nothing of it is to be allocated, copied or freed then.
    for (auto* list : {&ready_, &idle_, &spent_, &block_.waiting}) list->reserve(most_threads);
    for (Barrier& b : warps_) b.waiting.reserve(warp_size);
    for (Barrier& b : named_) b.waiting.reserve(most_threads);
    fibers_.reserve(most_threads);
    shared_ = static_cast<std::byte*>(std::aligned_alloc(1024, most_shared / 1024 * 1024 + 1024));
  }

  ~Machine() {
    for (const auto& f : fibers_) {
      races::destroy(f->seen_as);
      munmap(const_cast<std::byte*>(static_cast<const std::byte*>(f->stack)) - guard_bytes, guard_bytes + stack_bytes);
    }
#if defined(SEGNET_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(shared_, most_shared);
#endif
    std::free(shared_);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void run(dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& kernel) {
    kernel_ = &kernel;
    count_ = block.x * block.y * block.z;
    if (races::watched()) {
      caller_.seen_as = races::fiber_in_use();
      while (fibers_.size() < count_) idle_.push_back(make_fiber());  // if one thread made the next, they would be in order
    }
    blockDim = block, gridDim = grid;
    order_.resize(count_);
    std::iota(order_.begin(), order_.end(), 0u);
    copies_.resize(count_);
    const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
    const bool backwards = draw(2) == 0;
    for (std::uint64_t i = 0; i < blocks; ++i) {
      const std::uint64_t b = backwards ? blocks - 1 - i : i;
      blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / grid.x / grid.y)};
      run_block(shared);
    }
  }

  [[nodiscard]] unsigned thread() const { return current_->thread; }
  [[nodiscard]] std::byte* shared() const { return shared_; }

  void sync_block() { wait_at(block_, count_ - returned_); }
  void sync_warp() { wait_at(warps_[thread() / warp_size], in_warp(thread() / warp_size)); }
  void sync_some(unsigned barrier, unsigned threads) {
    if (barrier >= barriers) stop("no such barrier");
    wait_at(named_[barrier], threads);
  }
  void pause() {
    if (++pauses_ > 50'000'000) stop("polls for ever");
    ready_.push_back(current_);
    go_on();
  }
  void note_progress() { pauses_ = 0; }

  void look(const Look& mine) {
    const unsigned warp = thread() / warp_size;
    looks_[warp][lane()] = mine;
    Barrier& b = warps_[warp];
    if (b.waiting.size() + 1 < in_warp(warp)) {
      b.waiting.push_back(current_);
      go_on();
    } else {
      finish_look(warp);
      release(b);
    }
  }

  void copy_async(const Copy& c) { copies_[thread()].open.push_back(c); }
  void commit_copies() {
    auto& mine = copies_[thread()];
    mine.groups.push_back(std::move(mine.open));
    mine.open.clear();
  }
  void wait_for_copies(std::size_t pending) {
    auto& groups = copies_[thread()].groups;
    while (groups.size() > pending) {
      for (const Copy& c : groups.front()) {
        if (c.from) std::memcpy(c.to, c.from, c.bytes);
        else std::memset(c.to, 0, c.bytes);
      }
      groups.pop_front();
    }
  }

 private:
  struct Copies {
    std::vector<Copy> open;
    std::deque<std::vector<Copy>> groups;
  };

  std::size_t draw(std::size_t n) {  // below n < 2^32; xorshift64*
    state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
    return static_cast<std::size_t>((state_ * 0x2545f4914f6cdd1dull >> 32) * n >> 32);
  }

  void run_block(std::size_t shared) {
#if defined(SEGNET_ASAN)
    ASAN_UNPOISON_MEMORY_REGION(shared_, shared);
    ASAN_POISON_MEMORY_REGION(shared_ + shared, most_shared - shared);
#endif
    std::memset(shared_, 0xff, shared);
    for (unsigned i = count_; i > 1; --i) std::swap(order_[i - 1], order_[draw(i)]);
    started_ = returned_ = 0;
    pauses_ = 0;
    returned_of_.fill(0);
    races::give(&begin_);
    go_on();
    races::take(&end_);
    for (Fiber* f : spent_) idle_.push_back(f);
    spent_.clear();
  }

  /// From the fiber in use, which is not to run now, to another; to the caller's once all threads have returned.
  void go_on() {
    Fiber* const from = current_;
    if (returned_ == count_) {
      current_ = &caller_;
    } else if (!ready_.empty() && (started_ == count_ || draw(2) == 0)) {
      std::swap(ready_[draw(ready_.size())], ready_.back());
      current_ = ready_.back();
      ready_.pop_back();
    } else if (started_ < count_) {
      current_ = idle();
    } else {
      stop("waits for ever");
    }
    if (current_ == from) return;
    threadIdx = current_->index;
    from_ = from;
#if defined(SEGNET_ASAN)
    __sanitizer_start_switch_fiber(&from->sanitizer, current_->stack, current_->bytes);
#endif
    races::go_to(current_->seen_as);
    from->context.go(current_->context);
    arrived();
  }
  void arrived() {
#if defined(SEGNET_ASAN)
    __sanitizer_finish_switch_fiber(current_->sanitizer, &from_->stack, &from_->bytes);
#endif
  }

  /// A fiber on which no thread stands.
  Fiber* idle() {
    if (idle_.empty()) return make_fiber();
    Fiber* const fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  Fiber* make_fiber() {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& f = *fibers_.back();
    void* const memory =
        mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, guard_bytes, PROT_NONE) != 0) stop("finds no memory for a stack");
    void* const stack = static_cast<std::byte*>(memory) + guard_bytes;
    f.stack = stack, f.bytes = stack_bytes;
    f.seen_as = races::fiber();
    // The threads' variables lie in different lines of the cache, though their stacks begin at multiples of a page.
    f.context.prepare(stack, stack_bytes - fibers_.size() % 64 * 1344, [] { in_use->work(); });
    return &f;
  }

  /// What a fiber does: threads, as long as they do not wait; others; threads of a later block; ...
  void work() {
    arrived();
    Fiber* const me = current_;
    for (;;) {
      do {
        const unsigned n = order_[started_++];
        me->thread = n;
        threadIdx = me->index = {n % blockDim.x, n / blockDim.x % blockDim.y, n / blockDim.x / blockDim.y};
        races::take(&begin_);
        (*kernel_)();
        finish(n);
        races::give(&end_);
      } while (started_ < count_ && ready_.empty() && !races::watched());
      me->thread = nobody;
      (races::watched() ? spent_ : idle_).push_back(me);  // two threads on one stack would race for it
      go_on();
    }
  }

  void wait_at(Barrier& b, std::size_t expected) {
    const char* const meeting = &b.meetings[b.meeting % 2];
    races::give(meeting);
    if (b.waiting.size() + 1 < expected) {
      b.waiting.push_back(current_);
      go_on();
    } else {
      release(b);
    }
    races::take(meeting);
  }
  void release(Barrier& b) {
    ++b.meeting;
    for (Fiber* f : b.waiting) ready_.push_back(f);
    b.waiting.clear();
    pauses_ = 0;
  }
  [[nodiscard]] unsigned in_warp(unsigned warp) const {
    return std::min(count_ - warp * warp_size, unsigned{warp_size}) - returned_of_[warp];
  }

  /// Each lane's f, of what all show.
  void finish_look(unsigned warp) {
    const races::Unseen unseen;  // it is the machine that copies from one's variables to another's, and it orders nothing
    auto& looks = looks_[warp];
    const void* shown[warp_size];
    for (unsigned i = 0; i < warp_size; ++i) shown[i] = looks[i].mine;
    for (const Look& l : looks)
      if (l.f) l.f(l.closure, shown);
    looks = {};
  }

  /// Who has returned is not waited for.
  void finish(unsigned n) {
    wait_for_copies(0);
    copies_[n].open.clear();
    const unsigned warp = n / warp_size;
    ++returned_;
    ++returned_of_[warp];
    pauses_ = 0;
    if (Barrier& b = warps_[warp]; !b.waiting.empty() && b.waiting.size() == in_warp(warp)) {
      finish_look(warp);
      release(b);
    }
    if (!block_.waiting.empty() && block_.waiting.size() == count_ - returned_) release(block_);
  }

  [[noreturn]] void stop(const char* why) {
    std::fprintf(stderr, "emulated GPU: block (%u, %u, %u) of %u threads %s: %zu wait for their block, ", blockIdx.x, blockIdx.y,
                 blockIdx.z, count_, why, block_.waiting.size());
    std::size_t at_warp = 0, at_named = 0;
    for (const Barrier& b : warps_) at_warp += b.waiting.size();
    for (const Barrier& b : named_) at_named += b.waiting.size();
    std::fprintf(stderr, "%zu for their warp, %zu at numbered barriers; %u have returned\n", at_warp, at_named, returned_);
    std::abort();
  }

  std::uint64_t state_ = 0x9e3779b97f4a7c15ull;
  const std::function<void()>* kernel_ = nullptr;
  unsigned count_ = 0, started_ = 0, returned_ = 0;
  std::uint64_t pauses_ = 0;
  std::vector<unsigned> order_;
  std::vector<Copies> copies_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> ready_, idle_, spent_;
  Fiber caller_;
  Fiber *current_ = &caller_, *from_ = nullptr;
  char begin_, end_;  // of a block, as places to give and take
  Barrier block_;
  std::array<Barrier, most_threads / warp_size> warps_;
  std::array<Barrier, barriers> named_;
  std::array<unsigned, most_threads / warp_size> returned_of_{};
  std::array<std::array<Look, warp_size>, most_threads / warp_size> looks_{};
  std::byte* shared_;
};

std::mutex mutex;

}  // namespace

void run(dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& kernel) {
  // Stacks stay with the thread that made them; but static shared memory is everybody's, so only one thread runs a kernel at a time.
  static thread_local Machine machine;
  const std::lock_guard lock(mutex);
  in_use = &machine;
  machine.run(grid, block, shared, kernel);
}

unsigned thread_number() { return in_use->thread(); }
void sync_block() { in_use->sync_block(); }
void sync_warp() { in_use->sync_warp(); }
void sync_some(unsigned barrier, unsigned threads) { in_use->sync_some(barrier, threads); }
void pause() { in_use->pause(); }
void note_progress() { in_use->note_progress(); }
std::byte* dynamic_shared() { return in_use->shared(); }
void look(const void* mine, void (*f)(const void*, Shown), const void* closure) { in_use->look({mine, f, closure}); }
void copy_async(void* to, const void* from, std::size_t bytes) { in_use->copy_async({to, from, bytes}); }
void commit_copies() { in_use->commit_copies(); }
void wait_for_copies(std::size_t pending) { in_use->wait_for_copies(pending); }

}  // namespace segnet::emulated
