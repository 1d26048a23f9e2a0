// The main function of every test program: prints the seed, fills fresh memory with NaN.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "support/testing.hpp"

namespace segnet::testing {

std::uint64_t run_seed() {
  static const std::uint64_t seed = [] {
    if (const char* text = std::getenv("SEGNET_TEST_SEED")) return static_cast<std::uint64_t>(std::strtoull(text, nullptr, 10));
    return static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) % 1000000;
  }();
  return seed;
}

Generator& random() {
  static Generator generator{run_seed(), 0};
  return generator;
}

}  // namespace segnet::testing

namespace {

/// Lets each test case draw the same numbers whether it runs alone or after others.
struct Reseed : doctest::IReporter {
  explicit Reseed(const doctest::ContextOptions&) {}
  void test_case_start(const doctest::TestCaseData&) override { segnet::testing::random() = {segnet::testing::run_seed(), 0}; }
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("reseed", 1, Reseed);

}  // namespace

// LLVM's OpenMP forgets some blocks of its own when the number of threads changes. Read by the leak sanitizer alone.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libomp"; }

int main(int argc, char** argv) {
  segnet::poison_fresh_memory(true);
  std::printf("SEGNET_TEST_SEED=%llu\n", static_cast<unsigned long long>(segnet::testing::run_seed()));
  std::fflush(stdout);
  doctest::Context context(argc, argv);
  return context.run();
}
