// What was built and what it found: for bug reports, and the head of every measurement.
#pragma once

#include <string>

#include "segnet/core/error.hpp"
#include "segnet/core/isa.hpp"
#include "segnet/core/parallel.hpp"

#if defined(__linux__)
#include <unistd.h>
#endif

namespace segnet {

struct BuildInfo {
  std::string version = SEGNET_VERSION;
  std::string compiler;                              ///< "g++ 12.2.0"
  bool openmp = false;                               ///< loops run on several threads
  bool cuda = false;                                 ///< linked to segnet::cuda; whether there is a GPU, cuda::available() knows
  Isa isa = current_isa();                           ///< of the kernels: SEGNET_ISA may ask for less than the machine has
  Isa machine = machine_isa();                       ///< the best that the machine has
  int threads = num_threads();                       ///< of a loop started from this thread
  index_t l1_cache = 0, l2_cache = 0, l3_cache = 0;  ///< bytes of one data cache of each level; 0 where the system does not say
};

[[nodiscard]] inline BuildInfo build_info() {
  BuildInfo info;
#if defined(__clang__)
  info.compiler = "clang++ " __clang_version__;
#else
  info.compiler = "g++ " __VERSION__;
#endif
  info.compiler.resize(info.compiler.find_last_not_of(' ') + 1);
#if defined(_OPENMP)
  info.openmp = true;
#endif
#if defined(SEGNET_CUDA)
  info.cuda = true;
#endif
#if defined(_SC_LEVEL1_DCACHE_SIZE)  // glibc's; -1 where it does not know either
  const auto size = [](int level) { return std::max<index_t>(sysconf(level), 0); };
  info.l1_cache = size(_SC_LEVEL1_DCACHE_SIZE);
  info.l2_cache = size(_SC_LEVEL2_CACHE_SIZE);
  info.l3_cache = size(_SC_LEVEL3_CACHE_SIZE);
#endif
  return info;
}

/// "segnet 0.1.0, g++ 12.2.0, OpenMP, no CUDA; avx512, 2 threads, caches of 32, 1024 and 36608 KiB"
[[nodiscard]] inline std::string to_string(const BuildInfo& info) {
  std::string text = concat("segnet ", info.version, ", ", info.compiler, info.openmp ? ", OpenMP" : ", no OpenMP",
                            info.cuda ? ", CUDA; " : ", no CUDA; ", to_string(info.isa));
  if (info.isa != info.machine) text += concat(" (the machine has ", to_string(info.machine), ")");
  text += concat(", ", info.threads, info.threads == 1 ? " thread" : " threads");
  if (info.l1_cache > 0)
    text += concat(", caches of ", info.l1_cache / 1024, ", ", info.l2_cache / 1024, " and ", info.l3_cache / 1024, " KiB");
  return text;
}

}  // namespace segnet
