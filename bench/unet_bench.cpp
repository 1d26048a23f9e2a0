// unet_bench [OPTION...]: a whole network, training steps and inference, in turns with LibTorch where it was found (unet_torch.cpp).
//
// Peak memory is the growth of the resident set of a process of its own, from the built network on, over two training steps or
// inferences: the same measure for everybody, caches of allocators and copies in other layouts included.
#include "unet_bench.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "interleaved.hpp"
#include "segnet/core/build_info.hpp"
#include "segnet/models/unet.hpp"
#include "segnet/nn/loss.hpp"
#include "segnet/optim/sgd.hpp"

std::vector<UNetContender>& unet_contenders() {
  static std::vector<UNetContender> all;
  return all;
}

namespace {

using namespace segnet;

constexpr const char* help = R"(unet_bench [OPTION...]
  --case WIDTH,HEIGHT,WIDTH_OF_IMAGE,BATCH   instead of 64,256,256,4; may be repeated
  --threads N,M,...   instead of 1,2
  --pass NAME         only train or infer
  --rounds N          turns of everybody, at least (5)
  --memory, --time    only that
  --output DIR        of unet.json (out/bench)
)";

struct Options {
  std::vector<UNetCase> cases;
  std::vector<int> threads = {1, 2};
  std::string pass, output = "out/bench";
  int rounds = 5;
  bool memory = true, time = true;
};

std::vector<int> numbers(const std::string& text) {
  std::vector<int> list;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, ',');) list.push_back(std::stoi(word));
  return list;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "--memory" || option == "--time") {
      (option == "--memory" ? options.time : options.memory) = false;
      continue;
    }
    if (option == "--help" || ++i == argc) {
      std::fputs(help, stdout);
      std::exit(option == "--help" ? 0 : 2);
    }
    const std::string value = argv[i];
    if (option == "--case") {
      const std::vector<int> n = numbers(value);
      if (n.size() != 4) throw ValueError("unet_bench", option, "four numbers", value);
      options.cases.push_back({n[0], n[1], n[2], n[3]});
    } else if (option == "--threads") {
      options.threads = numbers(value);
    } else if (option == "--pass" && (value == "train" || value == "infer")) {
      options.pass = value;
    } else if (option == "--rounds") {
      options.rounds = std::stoi(value);
    } else if (option == "--output") {
      options.output = value;
    } else {
      throw ValueError("unet_bench", option, "an option of --help", value);
    }
  }
  if (options.cases.empty()) options.cases = {{64, 256, 256, 4}};
  return options;
}

struct SegnetUNet final : UNetRunner {
  SegnetUNet(const UNetCase& c, int threads)
      : net({.classes = 11, .base = c.width, .batch_norm = true}),
        x(random_normal<float>({c.batch, c.height, c.side, 3}, default_generator())),
        labels({c.batch, c.height, c.side}),
        sgd(nn::parameters(net), {.lr = 1e-3, .momentum = 0.9}) {
    set_num_threads(threads);
    for (index_t i = 0; i < labels.numel(); ++i) labels.data()[i] = static_cast<std::int32_t>(i % 11);
  }
  void train_step() override {
    nn::train(net);
    sgd.zero_grad();
    cross_entropy(net(x), labels).backward();
    sgd.step();
  }
  void inference() override {
    nn::eval(net);
    NoGrad guard;
    (void)net(x);
  }

  models::UNet<> net;
  Tensor<float> x;
  Tensor<std::int32_t> labels;
  optim::Sgd<float> sgd;
};

const bool added =
    (unet_contenders().push_back({"segnet", [](const UNetCase& c, int t) { return std::make_unique<SegnetUNet>(c, t); }}), true);

/// Largest growth of the resident set, in MiB, while a fresh process works. Called before any thread exists.
double peak_memory(const UNetContender& contender, const UNetCase& c, int threads, bool training) {
  int channel[2];
  if (pipe(channel) != 0) return 0;
  const pid_t child = fork();
  if (child == 0) {
    const auto runner = contender.make(c, threads);
    std::FILE* statm = std::fopen("/proc/self/statm", "r");
    long pages = 0, resident = 0;
    if (!statm || std::fscanf(statm, "%ld %ld", &pages, &resident) != 2) _exit(1);
    const double before = static_cast<double>(resident * sysconf(_SC_PAGESIZE));
    for (int i = 0; i < 2; ++i) training ? runner->train_step() : runner->inference();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const double mib = (static_cast<double>(usage.ru_maxrss) * 1024 - before) / 1048576;
    _exit(write(channel[1], &mib, sizeof mib) == sizeof mib ? 0 : 1);
  }
  close(channel[1]);  // so that reading ends if the child does
  double mib = 0;
  const bool read_it = read(channel[0], &mib, sizeof mib) == sizeof mib;
  close(channel[0]);
  waitpid(child, nullptr, 0);
  return read_it ? mib : 0;
}

/// What was measured of everybody, one number each; 0: not measured.
struct Row {
  UNetCase network;
  bool training;
  int threads;
  std::vector<double> milliseconds, mib;
};

std::string cell(double value, int decimals) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return value > 0 ? text : "";
}

void print(const Row& row) {
  std::printf("| %s | %s | %d |", row.network.name().c_str(), row.training ? "train" : "infer", row.threads);
  for (const auto& [values, decimals] : {std::pair(row.milliseconds, 1), std::pair(row.mib, 0)}) {
    for (const double value : values) std::printf(" %s |", cell(value, decimals).c_str());
    for (std::size_t k = 1; k < values.size(); ++k)
      std::printf(" %s |", values[0] > 0 ? cell(decimals ? values[k] / values[0] : values[0] / values[k], 2).c_str() : "");
  }
  std::puts("");
  std::fflush(stdout);
}

void save(const std::vector<Row>& rows, const std::string& path) {
  std::ofstream out(path);
  const char* between = "[";
  for (const Row& row : rows)
    for (std::size_t k = 0; k < unet_contenders().size(); ++k) {
      out << between << "\n  {\"network\": \"" << row.network.name() << "\", \"pass\": \"" << (row.training ? "train" : "infer")
          << "\", \"threads\": " << row.threads << ", \"library\": \"" << unet_contenders()[k].name
          << "\", \"milliseconds\": " << row.milliseconds[k] << ", \"peak_mib\": " << row.mib[k] << "}";
      between = ",";
    }
  out << "\n]\n";
  if (!out) throw IoError(path, "cannot be written");
}

}  // namespace

int main(int argc, char** argv) try {
  const Options options = parse(argc, argv);
  const auto& contenders = unet_contenders();
  std::vector<Row> rows;
  for (const UNetCase& c : options.cases)
    for (const bool training : {true, false})
      for (const int threads : options.threads) {
        if (!options.pass.empty() && options.pass != (training ? "train" : "infer")) continue;
        Row row{c, training, threads, std::vector<double>(contenders.size()), {}};
        for (const UNetContender& contender : contenders)
          row.mib.push_back(options.memory ? peak_memory(contender, c, threads, training) : 0);
        rows.push_back(row);
      }

  std::printf("%s\n\n| network | pass | threads |", to_string(build_info()).c_str());
  for (const char* unit : {"ms", "MiB"}) {
    for (const auto& contender : contenders) std::printf(" %s %s |", contender.name.c_str(), unit);
    for (std::size_t k = 1; k < contenders.size(); ++k)
      std::printf(*unit == 'M' ? " of %s's |" : " times %s |", contenders[k].name.c_str());
  }
  std::puts("");
  for (std::size_t i = 0; i < 1 + 4 * contenders.size(); ++i) std::printf("| --- ");
  std::puts("|");
  for (Row& row : rows) {
    if (options.time) {
      std::vector<std::unique_ptr<UNetRunner>> runners;
      std::vector<std::function<void()>> calls;
      std::vector<double> first;
      for (const UNetContender& contender : contenders) {
        runners.push_back(contender.make(row.network, row.threads));
        calls.push_back(
            [runner = runners.back().get(), training = row.training] { training ? runner->train_step() : runner->inference(); });
        first.push_back(seconds_of(calls.back()));
      }
      row.milliseconds = medians_in_turns(calls, first, {.least = options.rounds, .most = 25, .seconds = 10, .sample_seconds = 0.01});
      for (double& time : row.milliseconds) time *= 1e3;
    }
    print(row);
  }
  save(rows, options.output + "/unet.json");
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
