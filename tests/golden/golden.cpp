// golden DIR...: runs every case of every *.safetensors file under the directories, in double and in float, on the CPU and on the GPU where
// there is one, and prints a line for each family and, last, "golden: P passed, F failed, U not implemented". Exit code 0 if nothing
// failed, 1 otherwise.
//
// -f FAMILY runs that family alone, --device cpu|cuda one device alone. --algorithm NAME|all has the convolutions of whole networks
// computed by that algorithm, or by each in turn; operators are computed by all of them in any case. --threads 1,2 computes each case on
// so many threads, and fails where the numbers are not the same to the bit.
#include "golden/golden.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <sstream>

// One function for each file in families/.
namespace segnet::golden {
void add_attention(Registry&);
void add_convolutions(Registry&);
void add_crf(Registry&);
void add_deformable(Registry&);
void add_detection(Registry&);
void add_elementwise(Registry&);
void add_hash(Registry&);
void add_indexing(Registry&);
void add_linear_algebra(Registry&);
void add_losses(Registry&);
void add_metrics(Registry&);
void add_missing(Registry&);
void add_networks(Registry&);
void add_networks_classic(Registry&);
void add_networks_hrnet(Registry&);
void add_networks_internimage(Registry&);
void add_networks_rcnn(Registry&);
void add_networks_segformer(Registry&);
void add_networks_torchvision(Registry&);
void add_normalization(Registry&);
void add_pooling(Registry&);
void add_reductions(Registry&);
void add_sampling(Registry&);
void add_shapes(Registry&);
void add_softmax(Registry&);
void add_training(Registry&);
void add_upsample(Registry&);
}  // namespace segnet::golden

namespace {

using namespace segnet;
using namespace segnet::golden;
namespace fs = std::filesystem;

enum class Status { passed, failed, not_implemented };

struct Tally {
  int passed = 0, failed = 0, not_implemented = 0;
  double worst_double[2] = {}, worst_float[2] = {};  ///< on the CPU, on the GPU
  std::set<std::string> reasons;
};

/// A case in one precision. Failures end up in the outcome, the reason of a gap in `reasons`.
template <class T, class D>
Status run(Case<T, D>& c, const std::function<void(Case<T, D>&)>& compute, std::set<std::string>& reasons) {
  try {
    compute(c);
    c.check_nothing_forgotten();
  } catch (const Unsupported& e) {
    reasons.insert(e.what());
    return Status::not_implemented;
  } catch (const NotImplemented& e) {
    reasons.insert(e.what());
    return Status::not_implemented;
  } catch (const std::exception& e) {
    c.fail(concat("threw: ", e.what()));
  }
  return c.outcome.failures.empty() ? Status::passed : Status::failed;
}

void report(const std::string& family, const std::string& name, const char* precision, const std::string& attributes,
            const Outcome& outcome) {
  if (outcome.failures.empty()) return;
  std::printf("FAILED %s/%s in %s\n", family.c_str(), name.c_str(), precision);
  constexpr std::size_t shown = 400;
  std::printf("    attributes %s%s\n", attributes.substr(0, shown).c_str(), attributes.size() > shown ? " ..." : "");
  for (const auto& failure : outcome.failures) std::printf("    %s\n", failure.c_str());
}

class Runner {
 public:
  Runner(std::set<std::string> only, std::vector<ConvAlgorithm> algorithms, std::vector<int> threads, bool cpu, bool gpu)
      : only_(std::move(only)), algorithms_(std::move(algorithms)), threads_(std::move(threads)), cpu_(cpu), gpu_(gpu) {
    for (const auto add : {add_attention,  add_convolutions,   add_crf,    add_deformable, add_detection, add_elementwise,   add_hash,
                           add_indexing,   add_linear_algebra, add_losses, add_metrics,    add_networks,  add_normalization, add_pooling,
                           add_reductions, add_sampling,       add_shapes, add_softmax,    add_training,  add_upsample,      add_missing})
      add(registry_);
#if SEGNET_GOLDEN_NETWORKS
    for (const auto add : {add_networks_classic, add_networks_hrnet, add_networks_internimage, add_networks_rcnn, add_networks_segformer,
                           add_networks_torchvision})
      add(registry_);
#endif
  }

  void run_file(const std::string& path) {
    try {
      const SafetensorsFile file(path);
      const auto& metadata = file.metadata();
      const auto family = metadata.find("family");
      if (family == metadata.end()) throw IoError(path, "the metadata has no 'family'");
      for (const auto& [name, attributes] : metadata)
        if (name != "family" && name != "generator") run_case(file, family->second, name, attributes);
    } catch (const Error& e) {  // a file that cannot be read is a failure, as are cases without attributes
      std::printf("FAILED %s\n", e.what());
      ++tallies_["unreadable files"].failed;
    }
  }

  /// Prints the summary. Whether nothing failed.
  bool finish() const {
    Tally all;
    for (const auto& [family, t] : tallies_) {
      all.passed += t.passed;
      all.failed += t.failed;
      all.not_implemented += t.not_implemented;
      if (t.not_implemented) std::printf("not implemented: %s\n", family.c_str());
      for (const auto& reason : t.reasons) std::printf("    %s\n", reason.c_str());
      if (t.passed + t.failed == 0) continue;
      std::printf("%s: %d passed, %d failed, worst error", family.c_str(), t.passed, t.failed);
      if (cpu_) std::printf(" %.1e in double, %.1e in float", t.worst_double[0], t.worst_float[0]);
      if (gpu_) std::printf("%s %.1e in double, %.1e in float on the GPU", cpu_ ? "," : "", t.worst_double[1], t.worst_float[1]);
      std::printf("\n");
    }
    std::printf("golden: %d passed, %d failed, %d not implemented\n", all.passed, all.failed, all.not_implemented);
    return all.failed == 0;
  }

 private:
  void run_case(const SafetensorsFile& file, std::string family, const std::string& name, const std::string& attribute_text) {
    const Json attributes = Json::parse(attribute_text, concat(file.path(), ", attributes of '", name, "'"));
    if (family == "models") family += "/" + attributes["net"].string();
    if (!only_.empty() && !only_.count(family)) return;
    const Family* const known = registry_.find(family);
    if (!known) {
      std::printf("FAILED %s/%s: this family is not known\n", family.c_str(), name.c_str());
      ++tallies_[family].failed;
      return;
    }
    if (!known->in_double) {
      ++tallies_[family].not_implemented;
      return;
    }
    const bool network = family.starts_with("models/");
    for (const ConvAlgorithm algorithm : network ? algorithms_ : std::vector{ConvAlgorithm::automatic}) {
      const std::string label = algorithm == ConvAlgorithm::automatic ? family : concat(family, " by ", to_string(algorithm));
      Tally& tally = tallies_[label];
      std::set<Status> statuses;
      // In one precision, on each number of threads.
      const auto run_in = [&]<class T, class D>(const std::function<void(Case<T, D>&)>& compute, const char* where, double& worst) {
        std::optional<std::uint64_t> fingerprint;
        for (const int threads : threads_) {
          if (threads > 0) set_num_threads(threads);
          Case<T, D> c(file, name, attributes);
          c.algorithm = algorithm;
          Status status = run(c, compute, tally.reasons);
          if (status == Status::passed && c.outcome.fingerprint != fingerprint.value_or(c.outcome.fingerprint)) {
            c.fail(concat("other bits on ", threads, " threads than on ", threads_[0]));
            status = Status::failed;
          }
          fingerprint = c.outcome.fingerprint;
          statuses.insert(status);
          report(label, name, where, attribute_text, c.outcome);
          worst = std::max(worst, c.outcome.worst);
        }
      };
      if (cpu_) {
        run_in(known->in_double, "double", tally.worst_double[0]);
        run_in(known->in_float, "float", tally.worst_float[0]);
      }
#if defined(SEGNET_CUDA)
      if (gpu_) {
        run_in(known->in_double_on_gpu, "double on the GPU", tally.worst_double[1]);
        run_in(known->in_float_on_gpu, "float on the GPU", tally.worst_float[1]);
      }
#endif
      ++(statuses.count(Status::failed) ? tally.failed : statuses.count(Status::not_implemented) ? tally.not_implemented : tally.passed);
    }
  }

  Registry registry_;
  std::set<std::string> only_;
  std::vector<ConvAlgorithm> algorithms_;
  std::vector<int> threads_;
  bool cpu_, gpu_;
  std::map<std::string, Tally> tallies_;
};

/// Those that take any shape, or the one of that name; none if there is no such name.
std::vector<ConvAlgorithm> algorithms_called(const std::string& name) {
  std::vector<ConvAlgorithm> found;
  for (const ConvAlgorithm algorithm : {ConvAlgorithm::automatic, ConvAlgorithm::reference, ConvAlgorithm::im2col_gemm,
                                        ConvAlgorithm::implicit_gemm, ConvAlgorithm::winograd})
    if (name == "all" || name == to_string(algorithm)) found.push_back(algorithm);
  return found;
}

/// "1,2"; none if that is no list of positive numbers.
std::vector<int> thread_counts(std::string list) {
  std::vector<int> counts;
  std::replace(list.begin(), list.end(), ',', ' ');
  std::istringstream numbers(list);
  for (int n = 0; numbers >> n;) counts.push_back(n);
  if (!numbers.eof() || std::any_of(counts.begin(), counts.end(), [](int n) { return n < 1; })) counts.clear();
  return counts;
}

std::vector<std::string> files_under(const std::vector<std::string>& roots) {
  std::vector<std::string> files;
  for (const auto& root : roots) {
    if (!fs::is_directory(root)) {
      files.push_back(root);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(root))
      if (entry.path().extension() == ".safetensors") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> roots;
  std::set<std::string> only;
  std::string device;
  std::vector<ConvAlgorithm> algorithms{ConvAlgorithm::automatic};
  std::vector<int> threads{0};  // as the machine has them
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "-f" && i + 1 < argc) only.insert(argv[++i]);
    else if (argument == "--device" && i + 1 < argc) device = argv[++i];
    else if (argument == "--algorithm" && i + 1 < argc) algorithms = algorithms_called(argv[++i]);
    else if (argument == "--threads" && i + 1 < argc) threads = thread_counts(argv[++i]);
    else roots.emplace_back(argument);
  }
  if (roots.empty() || algorithms.empty() || threads.empty() || (device != "" && device != "cpu" && device != "cuda")) {
    std::fputs("usage: golden [-f FAMILY]... [--device cpu|cuda] [--algorithm NAME|all] [--threads N,N...] DIR...\n", stderr);
    return 2;
  }
  try {
    poison_fresh_memory(true);
    bool gpu = false;
#if defined(SEGNET_CUDA)
    gpu = device != "cpu" && cuda::available();
    if (gpu) poison_fresh_memory<Cuda>(true);
    else if (device != "cpu") std::printf("no GPU: %s\n", cuda::why_unavailable().c_str());
#endif
    if (device == "cuda" && !gpu) throw DeviceError(Cuda::name, "there is none, or this program was built without CUDA");
    const std::vector<std::string> files = files_under(roots);
    if (files.empty()) throw IoError(roots.front(), "no *.safetensors file there");
    Runner runner(only, algorithms, threads, device != "cuda", gpu);
    for (const auto& file : files) runner.run_file(file);
    return runner.finish() ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "golden: %s\n", e.what());
    return 2;
  }
}
