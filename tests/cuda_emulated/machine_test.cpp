// The GPU in software itself: what it promises to kernels, and that it finds their mistakes; bad addresses and races with a sanitizer.
#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#if defined(__has_feature)
#define SEGNET_HAS(sanitizer) __has_feature(sanitizer##_sanitizer)
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#error "with sanitizers this test is for clang++"
#else
#define SEGNET_HAS(sanitizer) 0
#endif

namespace {

using segnet::emulated::launch, segnet::emulated::most_shared;

/// What f writes to stderr in a process of its own, where it may do what ends one.
std::string in_child(const std::function<void()>& f) {
  int pipe_ends[2];
  REQUIRE(pipe(pipe_ends) == 0);
  std::fflush(nullptr);
  const auto child = static_cast<pid_t>(syscall(SYS_fork));  // fork() has the thread sanitizer give up: fibers are threads to it
  REQUIRE(child >= 0);
  if (child == 0) {
    for (const int output : {1, 2}) dup2(pipe_ends[1], output);
    std::signal(SIGABRT, SIG_DFL);
    f();
    _exit(0);
  }
  close(pipe_ends[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(pipe_ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
  close(pipe_ends[0]);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  return text;
}
bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// ---- Kernels ----

void count_kernel(int* counts) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  counts[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1;
}

/// Turns 256 numbers around, `times` times. Without the barrier: wrongly, where some thread is late.
void turn_kernel(int* values, int times, bool barrier) {
  __shared__ int shared[256];
  const unsigned t = threadIdx.x;
  for (int i = 0; i < times; ++i) {
    shared[t] = values[t];
    if (barrier) __syncthreads();
    values[t] = shared[255 - t];
    __syncthreads();
  }
}
bool turned(int times, bool barrier) {
  std::vector<int> values(256), expected(256);
  std::iota(values.begin(), values.end(), 0);
  for (int i = 0; i < 256; ++i) expected[static_cast<std::size_t>(i)] = times % 2 ? 255 - i : i;
  launch(turn_kernel, 1, 256, 0, values.data(), times, barrier);
  return values == expected;
}

/// Threads from `stay` on return; the others sum up what they have.
void some_return_kernel(int* sum, unsigned stay) {
  __shared__ int shared[256];
  if (threadIdx.x >= stay) return;
  shared[threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (unsigned i = 0; i < stay; ++i) *sum += shared[i];
}

void shuffle_kernel(int* sums, int* before) {
  const int mine = static_cast<int>(threadIdx.x);
  int sum = mine;
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  sums[mine] = sum;
  before[mine] = __shfl_up_sync(0xffffffffu, mine, 2);
}

/// Each half of a block hands a number around, without the other.
void halves_kernel(int* results) {
  __shared__ int baton[2];
  const unsigned half = threadIdx.x / 64, t = threadIdx.x % 64, rounds = half ? 64 : 32;
  if (t == 0) baton[half] = 0;
  for (unsigned turn = 0; turn < rounds; ++turn) {
    segnet::emulated::sync_some(1 + half, 64);
    if (t == turn) baton[half] = 2 * baton[half] % 1009 + 1;
  }
  segnet::emulated::sync_some(1 + half, 64);
  results[threadIdx.x] = baton[half];
}

/// What dynamic shared memory holds at first; afterwards it holds something else.
void fresh_kernel(unsigned* found, std::size_t bytes) {
  auto* const words = reinterpret_cast<unsigned*>(segnet::emulated::dynamic_shared());
  found[2 * blockIdx.x] = words[0], found[2 * blockIdx.x + 1] = words[bytes / 4 - 1];
  words[0] = words[bytes / 4 - 1] = 7;
}

void copy_kernel(const int* from, int* early, int* late) {
  auto* const shared = reinterpret_cast<int*>(segnet::emulated::dynamic_shared());
  for (int i = 0; i < 2; ++i) {
    segnet::emulated::copy_async(shared + 4 * i, from + 4 * i, 16);
    segnet::emulated::commit_copies();
  }
  segnet::emulated::copy_async(shared + 8, nullptr, 16);
  segnet::emulated::commit_copies();
  segnet::emulated::wait_for_copies(2);
  std::copy_n(shared, 12, early);
  segnet::emulated::wait_for_copies(0);
  std::copy_n(shared, 12, late);
}

void add_kernel(int* to, int value) { atomicAdd(to, value); }
void extremes_kernel(int* low, int* high, unsigned* bits) {
  const int mine = static_cast<int>(threadIdx.x);
  atomicMin(low, mine), atomicMax(high, mine), atomicOr(bits, 1u << mine % 8);
}

void lonely_kernel() { segnet::emulated::sync_some(0, 64); }
void polling_kernel() {
  segnet::emulated::wait_until([] { return false; });
}

int endless(int n) {  // NOLINT(misc-no-recursion): that is what it is for
  volatile char much[4096] = {};
  return n == 0 ? much[0] : endless(n - 1) + much[n % 4096];
}
void deep_kernel(int* result) { *result = endless(100'000); }

}  // namespace

TEST_CASE("every thread of every block runs once and knows where it is") {
  std::vector<int> counts(24 * 60, 0);
  launch(count_kernel, dim3(2, 3, 4), dim3(5, 4, 3), 0, counts.data());
  CHECK(counts == std::vector<int>(24 * 60, 1));
}

TEST_CASE("barriers: of blocks, of what is left of them, of parts") {
  CHECK(turned(7, true));
  for (const unsigned stay : {1u, 31u, 100u, 256u}) {
    int sum = 0;
    launch(some_return_kernel, 1, 256, 0, &sum, stay);
    CHECK(sum == static_cast<int>(stay));
  }
  std::vector<int> results(128), expected{0, 0};
  for (int i = 0; i < 64; ++i)
    for (std::size_t half = 0; half < 2; ++half)
      if (half || i < 32) expected[half] = 2 * expected[half] % 1009 + 1;
  launch(halves_kernel, 1, 128, 0, results.data());
  for (std::size_t t = 0; t < 128; ++t) CHECK(results[t] == expected[t / 64]);
}

TEST_CASE("shuffles show what the other lane of the warp had, or one's own") {
  constexpr int count = 64 + 8;  // the last warp is not full
  std::vector<int> sums(count), before(count);
  launch(shuffle_kernel, 1, count, 0, sums.data(), before.data());
  for (int i = 0; i < count; ++i) {
    const int warp = i / 32 * 32;
    if (warp < 64) CHECK(sums[static_cast<std::size_t>(i)] == 32 * warp + 31 * 32 / 2);
    CHECK(before[static_cast<std::size_t>(i)] == (i - warp >= 2 ? i - 2 : i));
  }
}

TEST_CASE("dynamic shared memory is new to each block, and all that there is can be asked for") {
  std::vector<unsigned> found(8);
  launch(fresh_kernel, 4, 1, most_shared, found.data(), most_shared);
  CHECK(cudaGetLastError() == cudaSuccess);
  CHECK(found == std::vector<unsigned>(8, ~0u));
}

TEST_CASE("asynchronous copies are done when they are waited for, and no sooner") {
  std::vector<int> from{1, 2, 3, 4, 5, 6, 7, 8}, early(12), late(12);
  launch(copy_kernel, 1, 1, 48, from.data(), early.data(), late.data());
  CHECK(early == std::vector<int>{1, 2, 3, 4, -1, -1, -1, -1, -1, -1, -1, -1});
  CHECK(late == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0});
}

TEST_CASE("atomics lose nothing") {
  int sum = 0, low = 500, high = -1;
  unsigned bits = 0;
  launch(add_kernel, 3, 100, 0, &sum, 2);
  launch(extremes_kernel, 1, 100, 0, &low, &high, &bits);
  CHECK(sum == 600);
  CHECK(low == 0);
  CHECK(high == 99);
  CHECK(bits == 255);
}

TEST_CASE("what no GPU starts is an error, once, and nothing runs") {
  int sum = 0;
  struct Bad {
    dim3 grid, block;
    std::size_t shared;
  };
  for (const Bad& b : {Bad{1, 0, 0}, Bad{1, 1025, 0}, Bad{1, dim3(1, 1, 65), 0}, Bad{dim3(1, 65536), 1, 0}, Bad{dim3(1, 1, 65536), 1, 0},
                       Bad{0x80000000u, 1, 0}, Bad{0, 1, 0}, Bad{1, 1, most_shared + 1}}) {
    launch(add_kernel, b.grid, b.block, b.shared, &sum, 1);
    CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
    CHECK(cudaGetLastError() == cudaSuccess);
  }
  CHECK(sum == 0);
}

TEST_CASE("a recorded graph does nothing until it is launched, and then each time") {
  int sum = 0;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recorded = nullptr;
  REQUIRE(cudaStreamBeginCapture(cudaStreamPerThread, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
  launch(add_kernel, 1, 10, 0, &sum, 1);
  CHECK(cudaStreamSynchronize(cudaStreamPerThread) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaGetLastError() == cudaErrorStreamCaptureUnsupported);
  REQUIRE(cudaStreamEndCapture(cudaStreamPerThread, &graph) == cudaSuccess);
  CHECK(sum == 0);
  REQUIRE(cudaGraphInstantiate(&recorded, graph, 0) == cudaSuccess);
  REQUIRE(cudaGraphDestroy(graph) == cudaSuccess);
  for (int launched = 1; launched <= 2; ++launched) {
    REQUIRE(cudaGraphLaunch(recorded, cudaStreamPerThread) == cudaSuccess);
    CHECK(sum == 10 * launched);
  }
  CHECK(cudaGraphExecDestroy(recorded) == cudaSuccess);
}

TEST_CASE("who waits for ever is told so") {
  CHECK(contains(in_child([] { launch(lonely_kernel, 1, 63, 0); }), "waits for ever: 0 wait for their block, 0 for their warp, 63 at"));
  CHECK(contains(in_child([] { launch(polling_kernel, 1, 1, 0); }), "polls for ever"));
}

TEST_CASE("a stack that is full ends the program, and touches no other") {
  int result = 0;
  CHECK(contains(in_child([&] { launch(deep_kernel, 1, 32, 0, &result); }), "SIGSEGV"));
}

#if !SEGNET_HAS(thread)  // which would not let the race pass
TEST_CASE("without a barrier the order of threads shows, in some orders at least") {
  int right = 0, wrong = 0;
  for (int seed = 1; seed <= 20; ++seed) {
    setenv("SEGNET_EMULATED_SEED", std::to_string(seed).c_str(), 1);
    std::thread([&] {  // whose machine is new
      CHECK(turned(2, true));
      ++(turned(1, false) ? right : wrong);
    })
        .join();
  }
  unsetenv("SEGNET_EMULATED_SEED");
  CHECK(wrong > 0);
  MESSAGE("a missing barrier was noticed in " << wrong << " of " << right + wrong << " orders");
}
#endif

#if SEGNET_HAS(address)

namespace {

void beyond_static_kernel(int* result, int i) {
  __shared__ int shared[33];
  int* const p = shared;
  p[threadIdx.x] = static_cast<int>(threadIdx.x);
  *result = p[i];
}
void beyond_dynamic_kernel(int* result, int i) { *result = reinterpret_cast<int*>(segnet::emulated::dynamic_shared())[i]; }
void beyond_stack_kernel(int* result, int i) {
  int mine[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  int* volatile const p = mine;
  *result = p[i];
}
void read_kernel(int* result, const int* from, int i) { *result = from[i]; }
void read16_kernel(uint4* result, const unsigned* from) { *result = *reinterpret_cast<const uint4*>(from); }

}  // namespace

TEST_CASE("addresses that are not one's own are found: memcheck") {
  int result = 0;
  CHECK(contains(in_child([&] { launch(beyond_static_kernel, 1, 32, 0, &result, 33); }), "global-buffer-overflow"));
  CHECK(contains(in_child([&] { launch(beyond_dynamic_kernel, 2, 32, 64, &result, 16); }), "use-after-poison"));
  CHECK(contains(in_child([&] { launch(beyond_dynamic_kernel, 2, 32, 64, &result, -1); }), "heap-buffer-overflow"));
  CHECK(contains(in_child([&] { launch(beyond_stack_kernel, 1, 32, 0, &result, 8); }), "stack-buffer-overflow"));

  void* memory = nullptr;
  REQUIRE(cudaMalloc(&memory, 40) == cudaSuccess);
  std::memset(memory, 0, 40);
  const auto* const ints = static_cast<const int*>(memory);
  launch(read_kernel, 1, 32, 0, &result, ints, 9);
  for (const int i : {10, -1}) CHECK(contains(in_child([&] { launch(read_kernel, 1, 32, 0, &result, ints, i); }), "heap-buffer-overflow"));
  uint4 four{};
  const auto* const words = static_cast<const unsigned*>(memory);
  launch(read16_kernel, 1, 32, 0, &four, words + 4);
  CHECK(contains(in_child([&] { launch(read16_kernel, 1, 32, 0, &four, words + 2); }), "misaligned address"));
  REQUIRE(cudaFree(memory) == cudaSuccess);
  CHECK(contains(in_child([&] { launch(read_kernel, 1, 32, 0, &result, ints, 0); }), "heap-use-after-free"));
}

#elif SEGNET_HAS(thread)

namespace {

/// A number goes from each thread to the next by shared memory; what should order that is `order`.
enum class Order { nothing, block, warp, shuffle, halves, atomic };
void hand_over_kernel(int* results, Order order) {
  __shared__ int shared[64], count;
  const unsigned t = threadIdx.x;
  shared[t] = static_cast<int>(t);
  if (order == Order::block) __syncthreads();
  if (order == Order::warp) __syncwarp();
  if (order == Order::shuffle) results[t] = __shfl_xor_sync(0xffffffffu, results[t], 1);
  if (order == Order::halves) segnet::emulated::sync_some(1 + t / 32, 32);
  if (order == Order::atomic) atomicAdd(&count, 1);
  results[t] = shared[(t + 1) % blockDim.x];
}
void hand_over_copied_kernel(int* results, const int* from, bool barrier) {
  const unsigned t = threadIdx.x;
  auto* const shared = reinterpret_cast<int*>(segnet::emulated::dynamic_shared());
  segnet::emulated::copy_async(shared + 4 * t, from + 4 * t, 16);
  segnet::emulated::commit_copies();
  if (!barrier) __syncthreads();  // too early
  segnet::emulated::wait_for_copies(0);
  if (barrier) __syncthreads();
  results[t] = shared[(4 * t + 4) % (4 * blockDim.x)];
}
void same_place_kernel(int* place) { *place = 1; }
void plain_and_atomic_kernel(int* place) {
  if (threadIdx.x == 0) *place = 0;
  atomicAdd(place, 1);
}

}  // namespace

TEST_CASE("what barriers do not order is found: racecheck") {
  std::vector<int> results(64), from(256);
  int place = 0;
  const auto races = [](const std::function<void()>& f) { return contains(in_child(f), "ThreadSanitizer: data race"); };
  const auto hand_over = [&](unsigned threads, Order order) {
    return races([&, order] { launch(hand_over_kernel, 2, threads, 0, results.data(), order); });
  };
  for (const unsigned threads : {32u, 64u}) {
    INFO(threads << " threads");
    CHECK(hand_over(threads, Order::nothing));
    CHECK(hand_over(threads, Order::shuffle));
    CHECK(hand_over(threads, Order::atomic));
    CHECK(!hand_over(threads, Order::block));
    CHECK(hand_over(threads, Order::warp) == (threads > 32));
    CHECK(hand_over(threads, Order::halves) == (threads > 32));
  }
  CHECK(races([&] { launch(hand_over_copied_kernel, 1, 64, 1024, results.data(), from.data(), false); }));
  CHECK(!races([&] { launch(hand_over_copied_kernel, 1, 64, 1024, results.data(), from.data(), true); }));
  CHECK(races([&] { launch(same_place_kernel, 1, 2, 0, &place); }));
  CHECK(races([&] { launch(plain_and_atomic_kernel, 1, 2, 0, &place); }));
  CHECK(!races([&] { launch(same_place_kernel, 2, 1, 0, &place); }));
}

#endif
