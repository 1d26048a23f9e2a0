// Recorded work: cuda::Graph of include/segnet/core/cuda.hpp.
#include "launch.cuh"

namespace segnet::cuda {

// Other threads may do as they like meanwhile. Memory that the function takes and gives back becomes part of the graph.
void Graph::begin() { SEGNET_CUDA_CHECK(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal)); }

void Graph::abandon() noexcept {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(stream(), &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();
}

void Graph::end() {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recorded = nullptr;
  SEGNET_CUDA_CHECK(cudaStreamEndCapture(stream(), &graph));
  const cudaError_t code = cudaGraphInstantiate(&recorded, graph, 0);
  cudaGraphDestroy(graph);
  check(code, "cudaGraphInstantiate", __FILE__, __LINE__);
  recorded_ = recorded;
}

Graph::~Graph() {
  if (recorded_) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(recorded_));
}

void Graph::replay() const { SEGNET_CUDA_CHECK(cudaGraphLaunch(static_cast<cudaGraphExec_t>(recorded_), stream())); }

}  // namespace segnet::cuda
