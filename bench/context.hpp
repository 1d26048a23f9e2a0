// Included by Google Benchmark programs: what was built, in the head of what they print and in their JSON.
#pragma once

#include <benchmark/benchmark.h>

#include "segnet/core/build_info.hpp"

inline const bool context_added = (benchmark::AddCustomContext("build", to_string(segnet::build_info())), true);
