#include "segnet/core/build_info.hpp"

#include <cstdlib>

#include <doctest/doctest.h>

using namespace segnet;

TEST_CASE("build_info: what runs is what the environment asks for, and never more than the machine has") {
  const BuildInfo info = build_info();
  CHECK(info.isa <= info.machine);
  const char* wish = std::getenv("SEGNET_ISA");
  if (!wish) CHECK(info.isa == info.machine);
  else if (std::string(wish) == "baseline") CHECK(info.isa == Isa::baseline);
  set_num_threads(1);
  CHECK(build_info().threads == 1);
  CHECK(info.l1_cache <= info.l2_cache);
  if (info.l3_cache > 0) CHECK(info.l2_cache <= info.l3_cache);
}

TEST_CASE("build_info: as text") {
  BuildInfo info;
  info.version = "1.2.3";
  info.compiler = "g++ 12.2.0";
  info.openmp = true;
  info.isa = info.machine = Isa::avx512;
  info.threads = 2;
  CHECK(to_string(info) == "segnet 1.2.3, g++ 12.2.0, OpenMP, no CUDA; avx512, 2 threads");
  info.isa = Isa::baseline;
  info.threads = 1;
  info.openmp = false;
  info.cuda = true;
  info.l1_cache = 32 << 10, info.l2_cache = 1 << 20, info.l3_cache = 36 << 20;
  CHECK(to_string(info) ==
        "segnet 1.2.3, g++ 12.2.0, no OpenMP, CUDA; baseline (the machine has avx512), 1 thread, caches of 32, 1024 and 36864 KiB");
}
