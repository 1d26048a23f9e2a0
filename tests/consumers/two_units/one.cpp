#include <cstdio>

#include "all_headers.hpp"

segnet::Generator* generator_of_two();
segnet::Tensor<float> tensor_of_two();

// What the library keeps for the whole program (random numbers, memory, recording) must be one object, not one a unit.
int main() {
  const segnet::Tensor<float> t = tensor_of_two();
  const bool one_generator = generator_of_two() == &segnet::default_generator();
  const bool one_allocator = segnet::memory_stats().in_use >= sizeof(float) * 1000;
  std::printf("one generator: %d, one allocator: %d\n", one_generator, one_allocator);
  return one_generator && one_allocator && t.tracked() ? 0 : 1;
}
