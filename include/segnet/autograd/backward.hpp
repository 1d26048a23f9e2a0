// The walk through the graph: newest operation first, iteratively, freeing as it goes.
#pragma once

#include <algorithm>

#include "segnet/autograd/graph.hpp"

namespace segnet {

namespace autograd {

/// Every node that `root` depends on, outputs before inputs. @throws Error if an operation's closure is gone.
inline std::vector<std::shared_ptr<Node>> reachable(const std::shared_ptr<Node>& root) {
  std::vector<std::shared_ptr<Node>> nodes{root};
  root->visited = true;
  for (std::size_t i = 0; i < nodes.size(); ++i)
    for (std::size_t k = 0; k < nodes[i]->inputs.size(); ++k) {
      const std::shared_ptr<Node> input = nodes[i]->inputs[k];
      if (!input || input->visited) continue;
      input->visited = true;
      nodes.push_back(input);
    }
  const char* gone = nullptr;
  for (const auto& node : nodes) {
    node->visited = false;
    if (node->released) gone = node->operation;
  }
  if (gone)
    throw Error(concat("segnet::backward: the graph behind '", gone,
                       "' was walked before and freed; compute the output again, or pass keep_graph = true to the first backward"));
  // An operation is created after its inputs, so falling order is a topological order.
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a->order > b->order; });
  return nodes;
}

}  // namespace autograd

template <class T, class D>
void Tensor<T, D>::backward(const Tensor& gradient, bool keep_graph) const {
  if (!state_) throw Error("segnet::backward: the tensor is undefined");
  if (!tracked())
    throw Error(
        "segnet::backward: the tensor is not tracked: nothing it was computed from requires gradients, or it was computed under no_grad");
  if (!gradient && numel() != 1)
    throw ShapeError("backward", "gradient", concat("a gradient of shape ", shape(), " (it may be left out for one element only)"),
                     shape());
  if (gradient && gradient.shape() != shape()) throw ShapeError("backward", "gradient", concat(shape()), gradient.shape());

  auto nodes = autograd::reachable(node());
  node()->accumulate(gradient ? gradient.detach() : ones<T, D>(shape()));
  NoGrad guard;
  for (auto& node : nodes) {
    if (!node->operation) continue;  // a leaf keeps its gradient
    try {
      node->run();
    } catch (...) {
      for (auto& rest : nodes)
        if (rest && rest->operation) rest->drop_gradient();
      throw;
    }
    if (!keep_graph) {
      node->release();
      node->inputs.clear();
    }
    node.reset();
  }
}

}  // namespace segnet
