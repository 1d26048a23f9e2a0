// Copies to shared memory that a thread need not wait for at once.
#pragma once

#include "machine.hpp"

inline void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes) { segnet::emulated::copy_async(to, from, bytes); }
inline void __pipeline_commit() { segnet::emulated::commit_copies(); }
inline void __pipeline_wait_prior(std::size_t pending) { segnet::emulated::wait_for_copies(pending); }
