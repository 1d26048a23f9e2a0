// conv2d_bench [OPTION...]: layers of segmentation networks, the three passes of each, on one and on two threads, for `automatic` and
// every algorithm that takes the shape, in turns with oneDNN and LibTorch where they were found (conv2d_onednn.cpp, conv2d_torch.cpp).
// Each result is compared before anything is timed. How to read what it prints: docs/bench.md.
#include "conv2d_bench.hpp"

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "bandwidth.hpp"
#include "conv2d_layers.hpp"
#include "conv2d_report.hpp"
#include "fma_peak.hpp"
#include "interleaved.hpp"
#include "segnet/core/build_info.hpp"
#include "segnet/core/random.hpp"
#include "segnet/kernels/conv2d.hpp"

std::vector<ConvContender>& conv_peers() {
  static std::vector<ConvContender> all;
  return all;
}

namespace {

using namespace segnet;

constexpr const char* help = R"(conv2d_bench [OPTION...]
  --quick             fewer rounds: two minutes instead of ten
  --filter TEXT       only rows whose "LAYER/PASS/THREADS" contains that, as --list names them; of several, all
  --layer TEXT        adds a layer: "N,H,W,C -> K, k=3 s=1 p=1 d=2 g=1", "transposed" at the end for such a one
  --only              only the layers of --layer
  --threads N,M,...   instead of 1,2
  --reference         the plain loops too
  --list              names the rows, what `automatic` chooses and the estimates it compares; measures nothing
  --output DIR        of conv.json and conv_roofline.svg (out/bench)
)";

struct Options {
  Turns turns;
  std::vector<ConvLayer> layers;
  std::vector<std::string> filters;
  std::vector<int> threads = {1, 2};
  bool reference = false, list = false;
  std::string output = "out/bench";
};

Options parse(int argc, char** argv) {
  Options options;
  std::vector<ConvLayer> added;
  bool only = false;
  const auto wrong = [](std::string_view option, std::string_view expected, std::string_view got) {
    return ValueError("conv2d_bench", option, expected, got);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw wrong(option, "a value behind it", "none");
      return argv[i];
    };
    if (option == "--quick") options.turns = {.least = 3, .most = 5, .seconds = 0.5, .sample_seconds = 0.005};
    else if (option == "--layer") added.push_back(parse_layer(value()));
    else if (option == "--only") only = true;
    else if (option == "--reference") options.reference = true;
    else if (option == "--list") options.list = true;
    else if (option == "--output") options.output = value();
    else if (option == "--filter") options.filters.push_back(value());
    else if (option == "--threads") {
      options.threads.clear();
      const std::string text = value();
      if (text.empty()) throw wrong(option, "numbers like 1,2", "none");
      for (const char *at = text.data(), *end = at + text.size(); at < end; ++at) {
        int threads = 0;
        at = std::from_chars(at, end, threads).ptr;
        if (threads < 1 || (at < end && *at != ',')) throw wrong(option, "numbers like 1,2", text);
        options.threads.push_back(threads);
      }
    } else if (option == "--help" || option == "-h") {
      std::fputs(help, stdout);
      std::exit(0);
    } else {
      throw wrong(option, "one of the options that --help lists", "this one");
    }
  }
  if (!only)
    for (const char* text : conv_layers) options.layers.push_back(parse_layer(text));
  options.layers.insert(options.layers.end(), added.begin(), added.end());
  return options;
}

ConvAlgorithm chosen(const ConvProblem& p) { return kernels::chosen_algorithm<float>(p.g, p.kernel(), ConvAlgorithm::automatic); }

ConvRunner run_segnet(const ConvProblem& p, const ConvArrays& a, ConvAlgorithm algorithm) {
  const auto& g = p.g;
  const View<float> x{a.x, g.x_shape()}, w{a.w, g.w_shape()}, y{a.y, g.y_shape()};
  switch (p.kernel()) {
    case ConvPass::forward:
      return {[=] { kernels::conv2d<float>(g, x, w, {}, y, algorithm); }};
    case ConvPass::grad_input:
      return {[=] { kernels::conv2d_grad_input<float>(g, y, w, {}, x, algorithm); }};
    default:
      return {[=] { kernels::conv2d_grad_weight<float>(g, y, x, w, algorithm); }};
  }
}

double largest_difference(const Tensor<float>& a, const Tensor<float>& b) {
  double worst = 0, largest = 0;
  for (index_t i = 0; i < a.numel(); ++i) {
    const double difference = std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]));
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
    largest = std::max(largest, std::abs(static_cast<double>(b.data()[i])));
  }
  return worst / largest;
}

/// One layer's numbers, and what a pass is to make of them.
struct Arrays {
  Tensor<float> x, w, y, result, expected;
  ConvArrays pointers{};  ///< to two of x, w, y and to the result
  explicit Arrays(const kernels::ConvGeometry& g)
      : x(random_normal<float>(g.x_shape(), default_generator())),
        w(random_normal<float>(g.w_shape(), default_generator())),
        y(random_normal<float>(g.y_shape(), default_generator())) {}
  void begin(const ConvProblem& p) {
    const auto place = [&](const Tensor<float>& t, ConvPass writes) {
      if (p.kernel() != writes) return t.data();
      result = zeros<float>(t.shape());
      return result.data();
    };
    pointers = {place(x, ConvPass::grad_input), place(w, ConvPass::grad_weight), place(y, ConvPass::forward)};
    run_segnet(p, pointers, ConvAlgorithm::implicit_gemm).run();
    expected = result.clone();
  }
};

bool all_right = true;  // so far: whether every result was as expected

ConvRow measure(const ConvLayer& layer, const ConvProblem& problem, int threads, Arrays& arrays, const Options& options) {
  set_num_threads(threads);
  const double flop = kernels::flops(problem.g), bytes = kernels::compulsory_bytes(problem.g, sizeof(float));
  ConvRow row{.layer = layer.name, .problem = problem, .threads = threads, .chosen = to_string(chosen(problem))};
  row.peak = fma_peak() * 1e-9;
  row.roof = std::min(row.peak, flop / bytes * copy_bandwidth(static_cast<std::size_t>(bytes) / 2) * 1e-9);

  std::vector<std::string> names;
  std::vector<std::function<void()>> runs;
  std::vector<double> first;  // seconds of the first call
  const auto enter = [&](const std::string& name, const ConvRunner& runner) {
    arrays.result.fill(0);
    first.push_back(seconds_of(runner.run));
    runner.fetch();
    if (const double difference = largest_difference(arrays.result, arrays.expected); !(difference < 1e-4)) {
      std::fprintf(stderr, "%s, %s: %s is %.1e off and left out\n", layer.name.c_str(), pass_name(problem.pass), name.c_str(), difference);
      all_right = false;
      first.pop_back();
      return;
    }
    names.push_back(name);
    runs.push_back(runner.run);
  };
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::implicit_gemm, ConvAlgorithm::im2col_gemm,
                                        ConvAlgorithm::winograd, ConvAlgorithm::depthwise, ConvAlgorithm::reference}) {
    if (algorithm == chosen(problem)) continue;  // `automatic` is this one
    if (algorithm == ConvAlgorithm::reference && !options.reference) continue;
    try {
      enter(to_string(algorithm), run_segnet(problem, arrays.pointers, algorithm));
    } catch (const Error&) {
      if (algorithm == ConvAlgorithm::automatic) throw;  // the others need not take every shape
    }
  }
  const std::size_t own = runs.size();
  for (const ConvContender& peer : conv_peers())
    if (const ConvRunner runner = peer.make(problem, arrays.pointers); runner.run) enter(peer.name, runner);

  const std::vector<double> seconds = medians_in_turns(runs, first, options.turns);
  for (std::size_t i = 0; i < runs.size(); ++i) (i < own ? row.own : row.peers).emplace_back(names[i], flop / seconds[i] * 1e-9);
  if (const double speed = automatic(row); speed > 0) row.own.insert(row.own.begin() + 1, {row.chosen, speed});
  return row;
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  if (!(file << text << std::flush)) throw IoError(path.string(), "cannot be written");
}

void run(const Options& options) {
  std::puts(to_string(build_info()).c_str());
  struct Ceilings {
    double peak, copy;  // GFLOP/s, GB/s
  };
  std::map<int, Ceilings> ceilings;  // by threads
  if (!options.list) {
    for (const int threads : options.threads) {
      set_num_threads(threads);
      const auto [peak, copy] = ceilings[threads] = {fma_peak() * 1e-9, copy_bandwidth(std::size_t{64} << 20) * 1e-9};
      std::printf("%d %s: %.0f GFLOP/s of fused multiply-adds, copying memory %.1f GB/s\n", threads, threads == 1 ? "thread" : "threads",
                  peak, copy);
    }
    std::puts("");
    print_head();
  }
  std::vector<ConvRow> rows;
  for (const ConvLayer& layer : options.layers) {
    std::optional<Arrays> arrays;  // made for the first row that is asked for
    for (const ConvPass pass : {ConvPass::forward, ConvPass::grad_input, ConvPass::grad_weight}) {
      const ConvProblem problem{layer.g, layer.transposed, pass};
      bool begun = false;
      for (const int threads : options.threads) {
        const std::string name = row_name(layer.name, pass, threads);
        if (!std::all_of(options.filters.begin(), options.filters.end(), [&](const auto& f) { return name.find(f) != name.npos; }))
          continue;
        if (options.list) {
          std::printf("%-50s %-14s %s\n", name.c_str(), to_string(chosen(problem)),
                      to_string(kernels::conv2d_costs(problem.g, problem.kernel())).c_str());
          continue;
        }
        if (!arrays) arrays.emplace(layer.g);
        if (!std::exchange(begun, true)) arrays->begin(problem);
        rows.push_back(measure(layer, problem, threads, *arrays, options));
        print_row(rows.back());
      }
    }
  }
  if (options.list) return;
  if (rows.empty()) throw Error("no row is named like that (see --list)");
  print_choices(rows);
  print_targets(rows);
  const std::filesystem::path output = options.output;
  std::filesystem::create_directories(output);
  write(output / "conv.json", conv_json(rows));
  const int threads = rows.back().threads;
  write(output / "conv_roofline.svg", conv_roofline(rows, threads, ceilings[threads].peak, ceilings[threads].copy));
  std::printf("\n%s and %s\n", (output / "conv.json").c_str(), (output / "conv_roofline.svg").c_str());
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 2;
  }
  return all_right ? 0 : 1;
}
