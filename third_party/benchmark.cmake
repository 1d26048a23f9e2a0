# Google Benchmark: the benchmarks. Apache-2.0.
set(BENCHMARK_ENABLE_TESTING OFF)
segnet_dependency(benchmark TARGET benchmark::benchmark DEBIAN libbenchmark-dev
  URL https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz
  SHA256 6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7)
