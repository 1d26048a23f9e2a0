#include "all_headers.hpp"

segnet::Generator* generator_of_two() { return &segnet::default_generator(); }

segnet::Tensor<float> tensor_of_two() {
  const segnet::Tensor<float> t = segnet::ones<float>({1000});
  return t.requires_grad();
}
