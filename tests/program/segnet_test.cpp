// The segnet program as a user runs it: bad input, killed and resumed training, predictions. SEGNET_PROGRAM names it.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <thread>

#include "segnet/io/image.hpp"
#include "segnet/io/label_map.hpp"
#include "segnet/io/safetensors.hpp"
#include "support/testing.hpp"

using namespace segnet;
namespace fs = std::filesystem;

namespace {

const char* program() { return std::getenv("SEGNET_PROGRAM"); }

/// A folder of its own for each test case, removed at the end.
struct Folder {
  fs::path path = fs::temp_directory_path() / concat("segnet_program_", getpid());
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

struct Outcome {
  int code;
  std::string out, err;
};

/// Starts the program with its output in files. @return the process
pid_t start(const Folder& folder, const std::vector<std::string>& arguments) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (!std::freopen((folder / "out.txt").c_str(), "w", stdout) || !std::freopen((folder / "err.txt").c_str(), "w", stderr)) _exit(99);
    std::vector<char*> argv{const_cast<char*>(program())};
    for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    execv(program(), argv.data());
    _exit(99);
  }
  return child;
}
Outcome finish(const Folder& folder, pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_file(folder / "out.txt"), read_file(folder / "err.txt")};
}
Outcome run(const Folder& folder, const std::vector<std::string>& arguments) { return finish(folder, start(folder, arguments)); }

/// Twelve pictures of a bright disc on dark noise, and their masks.
void write_pairs(const Folder& folder, int count = 12) {
  fs::create_directories(folder / "images");
  fs::create_directories(folder / "masks");
  for (int n = 0; n < count; ++n) {
    Tensor<std::uint8_t> image({24, 32, 3});
    Tensor<std::int32_t> mask({24, 32});
    for (index_t y = 0; y < 24; ++y)
      for (index_t x = 0; x < 32; ++x) {
        const bool inside = (y - 8 - n % 5) * (y - 8 - n % 5) + (x - 10 - n) * (x - 10 - n) < 36;
        mask.at(y, x) = inside;
        for (index_t c = 0; c < 3; ++c) image.at(y, x, c) = static_cast<std::uint8_t>((inside ? 180 : 40) + testing::random().below(40));
      }
    write_png(folder / concat("images/", n, ".png"), image);
    write_label_map(folder / concat("masks/", n, ".png"), mask);
  }
}
std::vector<std::string> train_arguments(const Folder& folder, const std::string& output, std::vector<std::string> more = {}) {
  std::vector<std::string> all{"train",
                               "--data",
                               "folder",
                               "--images",
                               folder / "images",
                               "--masks",
                               folder / "masks",
                               "--classes",
                               "2",
                               "--width",
                               "4",
                               "--depth",
                               "2",
                               "--batch",
                               "3",
                               "--epochs",
                               "6",
                               "--output",
                               output,
                               "--ema",
                               "0.9",
                               "--jitter",
                               "0.5",
                               "--rotate",
                               "10",
                               "--elastic",
                               "2",
                               "--blur",
                               "0.5",
                               "--border-weight",
                               "5",
                               "--checkpoint-every",
                               "1"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Both checkpoints hold the same tensors, bit for bit.
bool same_tensors(const std::string& a, const std::string& b) {
  const SafetensorsFile x(a), y(b);
  if (x.names() != y.names()) return false;
  for (const auto& name : x.names()) {
    if (x.dtype(name) == "F32" ? !testing::equal(x.tensor<float>(name), y.tensor<float>(name))
                               : !testing::equal(x.tensor<std::int64_t>(name), y.tensor<std::int64_t>(name)))
      return false;
  }
  return true;
}

}  // namespace

#define NEEDS_PROGRAM                                           \
  if (!program()) {                                             \
    MESSAGE("skipped: SEGNET_PROGRAM does not name a program"); \
    return;                                                     \
  }

TEST_CASE("training killed 20 times at random moments ends with the same bits as training that was not") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  const auto started = std::chrono::steady_clock::now();
  const Outcome whole = run(folder, train_arguments(folder, folder / "whole", {"--epochs", "20"}));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  INFO(whole.err);
  REQUIRE(whole.code == 0);

  int kills = 0;
  for (int attempt = 0; attempt < 400; ++attempt) {
    const bool resume = fs::exists(folder / "killed/last.safetensors");
    const pid_t child = start(folder, resume ? std::vector<std::string>{"train", "--resume", "--output", folder / "killed"}
                                             : train_arguments(folder, folder / "killed", {"--epochs", "20"}));
    if (kills == 20) {
      const Outcome rest = finish(folder, child);
      INFO(rest.err);
      REQUIRE(rest.code == 0);
      break;
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds * testing::random().uniform(0, 0.1)));
    kill(child, SIGKILL);
    const Outcome end = finish(folder, child);
    INFO(end.err);
    REQUIRE((end.code == -SIGKILL || end.code == 0));
    kills += end.code == -SIGKILL;
    if (end.code == 0) break;  // it was faster
  }
  MESSAGE("killed ", kills, " times");
  CHECK(kills >= 3);  // 20, unless the machine became faster meanwhile
  CHECK(same_tensors(folder / "whole/last.safetensors", folder / "killed/last.safetensors"));
  CHECK(same_tensors(folder / "whole/best.safetensors", folder / "killed/best.safetensors"));
}

TEST_CASE("Ctrl-C leaves a checkpoint and says how to go on") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  const pid_t child = start(folder, train_arguments(folder, folder / "run", {"--epochs", "10000"}));
  for (int i = 0; i < 6000 && !fs::exists(folder / "run/last.safetensors"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, SIGINT);
  const Outcome end = finish(folder, child);
  CHECK(end.code == 130);
  CHECK(end.out.find("segnet train --resume --output") != std::string::npos);
}

TEST_CASE("predict: any size, indexed maps, overlays, probabilities; eval and summary of a checkpoint") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  REQUIRE(run(folder, train_arguments(folder, folder / "run")).code == 0);
  for (const char* file : {"best.safetensors", "last.safetensors", "log.csv", "report.html"})
    CHECK(fs::exists(folder / ("run/" + std::string(file))));

  fs::create_directories(folder / "in");
  write_png(folder / "in/wide.png", testing::integers<std::uint8_t>({13, 50, 3}, 0, 255));
  write_png(folder / "in/dot.png", testing::integers<std::uint8_t>({1, 1, 3}, 0, 255));
  for (const char* checkpoint : {"run/best.safetensors", "run/last.safetensors"}) {
    const Outcome end = run(
        folder, {"predict", folder / checkpoint, folder / "in", "-o", folder / "out", "--tile", "16", "--overlap", "8", "--probabilities"});
    INFO(end.err);
    REQUIRE(end.code == 0);
    const auto labels = read_label_map(folder / "out/wide.png");
    CHECK(labels.shape() == Shape{13, 50});
    CHECK(read_image(folder / "out/wide_overlay.png").shape() == Shape{13, 50, 3});
    const auto one = read_image(folder / "out/wide_1.png");
    for (index_t p = 0; p < labels.numel(); ++p) CHECK((one.data()[3 * p] >= 127) == (labels.data()[p] == 1));
    CHECK(read_label_map(folder / "out/dot.png").shape() == Shape{1, 1});
  }
  const Outcome eval = run(folder, {"eval", folder / "run/best.safetensors", "-o", folder / "scores"});
  CHECK(eval.code == 0);
  CHECK(eval.out.find("class 1") != std::string::npos);
  CHECK(fs::exists(folder / "scores/report.html"));
  // Averages over scales, mirror images and tiles: scale 1 changes nothing, each of the others does.
  const auto loss = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", folder / "run/best.safetensors"});
    const Outcome end = run(folder, more);
    INFO(end.err);
    REQUIRE(end.code == 0);
    return end.out.substr(end.out.rfind("loss "));
  };
  std::set<std::string> losses{loss({})};
  CHECK(losses.count(loss({"--scales", "2", "--scales", "1"})));
  for (const auto& more : std::vector<std::vector<std::string>>{{"--scales", "0.5,1,1.5"},
                                                                {"--flip-test"},
                                                                {"--tile", "16", "--overlap", "8"},
                                                                {"--scales", "1.5", "--flip-test"},
                                                                {"--crf"},
                                                                {"--crf", "--crf-appearance", "0,1,1"}})
    CHECK(losses.insert(loss(more)).second);
  const auto probabilities = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.begin(),
                {"predict", folder / "run/best.safetensors", folder / "in/wide.png", "-o", folder / output, "--probabilities"});
    REQUIRE(run(folder, more).code == 0);
    return read_image(folder / (output + "/wide_1.png"));
  };
  CHECK_FALSE(testing::equal(probabilities("plain", {}), probabilities("averaged", {"--flip-test", "--scales", "0.75,1,1.25"})));
  CHECK_FALSE(testing::equal(probabilities("plain", {}), probabilities("refined", {"--crf", "--crf-iterations", "2"})));
  (void)probabilities("begun", {"--crf", "--crf-iterations", "0"});
  CHECK(testing::equal(read_label_map(folder / "begun/wide.png"), read_label_map(folder / "plain/wide.png")));
  CHECK(run(folder, {"predict", folder / "run/best.safetensors", folder / "in/dot.png", "-o", folder / "refined", "--crf"}).code == 0);
  CHECK(run(folder, {"summary", "--checkpoint", folder / "run/best.safetensors"}).out.find("down.0.0") != std::string::npos);
  CHECK(run(folder, {"models"}).out.find("unet") != std::string::npos);
}

TEST_CASE("an auxiliary head: trained with, predicted without") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  const Outcome trained = run(folder, train_arguments(folder, folder / "run",
                                                      {"--model", "pspnet", "--aux", "0.4", "--ohem", "0.7", "--ohem-kept", "100",
                                                       "--border-weight", "0", "--epochs", "1"}));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(SafetensorsFile(folder / "run/best.safetensors").has("aux.4.weight"));
  CHECK(run(folder, {"predict", folder / "run/best.safetensors", folder / "images/0.png", "-o", folder / "out"}).code == 0);
  CHECK(read_label_map(folder / "out/0.png").shape() == Shape{24, 32});
}

TEST_CASE("proposals: windows to train on, and to look at pictures through, alone and with another network") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  write_file_atomically(folder / "windows.txt", "0 0 20 24 3\n4 2 24 18 3\n# another\n8 0 24 24 11\n0 0 9 9 elsewhere\n");
  const auto train = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.begin(), {"--epochs", "2", "--border-weight", "0", "--proposals", folder / "windows.txt"});
    return run(folder, train_arguments(folder, folder / output, more));
  };
  const Outcome trained = train("run", {"--window-crop", "20", "--crop", "16"});
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.out.find("windows.txt: 3 windows of 2 of 11 training images\n") != std::string::npos);

  fs::create_directories(folder / "big");
  fs::create_directories(folder / "masks_of_big");
  write_png(folder / "big/a b.png", testing::integers<std::uint8_t>({130, 150, 3}, 0, 255));
  write_label_map(folder / "masks_of_big/a b.png", testing::integers<std::int32_t>({130, 150}, 0, 1));
  write_file_atomically(folder / "big.txt", "10 5 120 115 a b\n20 5 130 115 a b\n0 0 111 130 a b\n");
  const std::string checkpoint = folder / "run/best.safetensors";
  const auto predict = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.begin(), {"predict", checkpoint, folder / "big", "--probabilities", "-o", folder / output});
    const Outcome end = run(folder, more);
    INFO(end.err);
    REQUIRE(end.code == 0);
    return read_image(folder / (output + "/a b_0.png"));
  };
  const auto alone = predict("alone", {"--proposals", folder / "big.txt"});
  const auto both = predict("both", {"--proposals", folder / "big.txt", "--ensemble", checkpoint});
  index_t inside = 0, differ = 0;
  for (index_t y = 0; y < 130; ++y)
    for (index_t x = 0; x < 150; ++x) {
      const bool covered = y >= 5 && y < 120 && x >= 10;
      if (!covered) CHECK(alone.at(y, x, 0) == 128);  // two classes with a score of 0
      if (!covered) CHECK(both.at(y, x, 0) == 128);
      inside += covered && alone.at(y, x, 0) != 128;
      differ += alone.at(y, x, 0) != both.at(y, x, 0);
    }
  CHECK(inside > 115 * 140 / 2);
  CHECK(differ > 0);
  const auto eval = [&](const std::string& proposals) {
    return run(folder, {"eval", checkpoint, "--other-data", "--data", "folder", "--images", folder / "big", "--masks",
                        folder / "masks_of_big", "--classes", "2", "--split", "train", "--proposals", proposals});
  };
  CHECK(eval(folder / "big.txt").out.find("1 images (train)") != std::string::npos);

  const auto fails = [&](const Outcome& end, const std::string& named) {
    INFO(end.err);
    CHECK(end.code == 2);
    CHECK(end.err.find(named) != std::string::npos);
  };
  const auto of = [&](const std::string& text) {
    write_file_atomically(folder / "bad.txt", text);
    return eval(folder / "bad.txt");
  };
  fails(of("0 0 120 120 a"), "bad.txt: names no window of the picture 'a b'");
  fails(of("0 0 111 130 a b"), "bad.txt: has no window of at least 112 x 112 pixels for the picture 'a b'");
  fails(of("0 0 120 120 a b\n40 0 112 112 a b"), "bad.txt: picture 'a b': ");
  fails(of("0 0 120 120 a b\n0 0 120 a b"), "bad.txt: line 2: ");
  fails(run(folder, {"predict", checkpoint, folder / "big", "--proposals", folder / "big.txt", "--tile", "64"}), "--tile");
  fails(run(folder, {"predict", checkpoint, folder / "big", "--ensemble", checkpoint}), "--proposals");
  fails(train("bad", {}), "both, or neither");
  fails(train("bad", {"--window-crop", "20", "--object-crop", "20"}), "--object-crop");
  fails(run(folder, {"train", "--recipe", "deconvnet", "--data", "scenes", "-o", folder / "bad"}), "--window-crop 250 without --proposals");
}

TEST_CASE("transfer learning: what is frozen stays to the bit, what is new learns faster, a resume needs nothing again") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  REQUIRE(run(folder, train_arguments(folder, folder / "first", {"--epochs", "1"})).code == 0);
  // The weights take the way through PyTorch's format, and come back the same.
  const std::string best = folder / "first/best.safetensors", weights = folder / "weights";
  CHECK(run(folder, {"convert", best, folder / "best.pth"}).code == 0);
  CHECK(run(folder, {"convert", folder / "best.pth", folder / "back.safetensors"}).code == 0);
  CHECK(same_tensors(best, folder / "back.safetensors"));
  const Outcome shown = run(folder, {"convert", folder / "best.pth"});
  CHECK(shown.out.find("F32  [4, 3, 3, 3]         down.0.0.weight\n") != std::string::npos);
  CHECK(shown.out.find("PyTorch, ") != std::string::npos);
  const auto through = [&](const std::string& classes) {
    std::vector<std::string> all{
        "convert", folder / "best.pth", folder / "through.safetensors", "--model", "unet", "--width", "4", "--depth", "2"};
    all.insert(all.end(), {"--classes", classes});
    return run(folder, all);
  };
  CHECK(through("2").code == 0);
  CHECK(same_tensors(best, folder / "through.safetensors"));
  CHECK(through("3").err.find("misshapen: head.weight ([2, 4, 1, 1] in the file, [3, 4, 1, 1] here)") != std::string::npos);

  fs::copy(folder / "best.pth", weights);  // no ending: the format is seen from what it holds
  const auto train = [&](const std::string& output, std::vector<std::string> more) {
    more.insert(more.begin(),
                {"--init", weights, "--freeze", "down", "--freeze", "up.0", "--head", "head", "--epochs", "3", "--seed", "1"});
    return train_arguments(folder, folder / output, more);
  };
  const Outcome whole = run(folder, train("whole", {"--lr-head", "10x", "--lr-bias", "2"}));
  INFO(whole.err);
  REQUIRE(whole.code == 0);
  CHECK(whole.out.find("tensors loaded") != std::string::npos);
  const SafetensorsFile before(best), after(folder / "whole/last.safetensors");
  for (const auto& name : before.names()) {
    if (before.dtype(name) != "F32") continue;
    INFO(name);
    const bool frozen = name.starts_with("down.") || name.starts_with("up.0.");
    CHECK(testing::equal(before.tensor<float>(name), after.tensor<float>("model." + name)) == frozen);
    CHECK_FALSE((frozen && after.has("optimizer." + name + ".first_moment")));
  }
  // The same first step with one rate for all: the head moves a tenth as far in it.
  REQUIRE(run(folder, train("slow", {"--steps", "1", "--weight-decay", "0", "--ema", "0"})).code == 0);
  REQUIRE(run(folder, train("fast", {"--steps", "1", "--weight-decay", "0", "--ema", "0", "--lr-head", "10x"})).code == 0);
  const SafetensorsFile slow(folder / "slow/last.safetensors"), fast(folder / "fast/last.safetensors");
  CHECK(testing::equal(slow.tensor<float>("model.dec.0.0.weight"), fast.tensor<float>("model.dec.0.0.weight")));
  const auto moved = [&](const SafetensorsFile& file) {
    return static_cast<double>(file.tensor<float>("model.head.weight").data()[0] - before.tensor<float>("head.weight").data()[0]);
  };
  CHECK(moved(fast) == doctest::Approx(10 * moved(slow)).epsilon(1e-3));

  const pid_t child = start(folder, train("killed", {"--lr-head", "10x", "--lr-bias", "2"}));
  for (int i = 0; i < 6000 && !fs::exists(folder / "killed/last.safetensors"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  kill(child, SIGKILL);
  (void)finish(folder, child);
  fs::remove(weights);
  const Outcome rest = run(folder, {"train", "--resume", "--output", folder / "killed"});
  INFO(rest.err);
  REQUIRE(rest.code == 0);
  CHECK(same_tensors(folder / "whole/last.safetensors", folder / "killed/last.safetensors"));
}

TEST_CASE("frozen norms stay to the bit while the rest trains; training stops when patience ends, and a resume does not go on") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  const auto train = [&](const std::string& output, std::vector<std::string> more) {
    const Outcome end = run(folder, train_arguments(folder, folder / output, std::move(more)));
    INFO(end.err);
    REQUIRE(end.code == 0);
  };
  train("first", {"--epochs", "1"});
  train("second", {"--epochs", "1", "--ema", "0", "--init", folder / "first/best.safetensors", "--freeze-norms"});
  const SafetensorsFile before(folder / "first/best.safetensors"), after(folder / "second/best.safetensors");
  for (const auto& name : before.names()) {
    if (before.dtype(name) != "F32") continue;
    INFO(name);
    const std::string layer = name.substr(0, name.rfind('.'));
    CHECK(testing::equal(before.tensor<float>(name), after.tensor<float>(name)) == before.has(layer + ".running_mean"));
  }
  // Nothing changes, so that the first epoch is the best one.
  train("patient", {"--epochs", "50", "--patience", "2", "--lr", "1e-30", "--ema", "0", "--freeze-norms"});
  const auto epochs = [&] {
    const std::string log = read_file(folder / "patient/log.csv");
    return std::count(log.begin(), log.end(), '\n') - 1;
  };
  CHECK(epochs() == 3);
  CHECK(run(folder, {"train", "--resume", "--output", folder / "patient"}).code == 0);
  CHECK(epochs() == 3);
}

TEST_CASE("recipes: all visible, each overridden by other options wherever they stand") {
  NEEDS_PROGRAM
  const Folder folder;
  const Outcome list = run(folder, {"recipes"});
  CHECK(list.code == 0);  // each is of a network that there is
  for (const char* name : {"fcn8s", "fc-densenet103", "deeplab-v3", "pspnet", "hrnet-ocr"}) CHECK(list.out.find(name) != std::string::npos);
  const auto config = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"train", "--print-config", "--lr-head", "3x", "--output", "runs/mine"});
    const Outcome end = run(folder, more);
    CHECK(end.code == 0);
    return end.out;
  };
  const auto has = [](const std::string& text, const std::string& setting) { return text.find(setting) != std::string::npos; };
  const std::string deeplab = config({"--recipe", "deeplab-v2"});
  for (const char* setting :
       {"\"recipe\": \"deeplab-v2\"", "\"lr\": 0.00025", "\"steps\": 20000", "\"crop_h\": 321", "\"multi_scale\": true", "\"lr_head\": 3.0",
        "\"lr_bias\": 2.0", "\"schedule\": \"poly\"", "\"power\": 0.9", "\"momentum\": 0.9", "\"batch\": 10", "\"output\": \"runs/mine\""})
    CHECK(has(deeplab, setting));
  const std::string finetune = config({"--recipe", "deeplab-v3-finetune"});
  for (const char* setting : {"\"output_stride\": 8", "\"freeze_norms\": true", "\"lr\": 0.001", "\"weight_decay\": 0.0001"})
    CHECK(has(finetune, setting));
  CHECK(has(config({"--recipe", "pspnet"}), "\"rotate\": 10.0"));
  CHECK(has(config({"--recipe", "pspnet", "--rotate", "0"}), "\"rotate\": 0.0"));
  const std::string unet = config({"--recipe", "unet-paper", "--border-inside"});
  for (const char* setting : {"\"elastic\": 10.0", "\"border_weight\": 10.0", "\"border_sigma\": 5.0", "\"border_inside\": true",
                              "\"valid\": true", "\"dropout\": 0.5"})
    CHECK(has(unet, setting));
  CHECK(has(config({"--recipe", "unet", "--dropout", "0.25"}), "\"dropout\": 0.25"));
  CHECK(has(config({"--recipe", "deconvnet-stage1"}), "\"object_crop\": 250"));
  CHECK(has(config({"--recipe", "deconvnet-stage1"}), "\"window_crop\": 0"));
  CHECK(has(config({"--recipe", "deconvnet"}), "\"window_crop\": 250"));
  CHECK(has(config({"--recipe", "fc-densenet56-finetune"}), "\"patience\": 50"));
  CHECK(has(config({"--recipe", "fc-densenet56"}), "\"batch_statistics\": true"));
  CHECK(has(config({"--recipe", "fc-densenet56", "--running-statistics"}), "\"batch_statistics\": false"));
  const auto summary = [&](const std::string& stride) {
    return run(folder, {"summary", "--model", "deeplab-v3", "--width", "4", "--output-stride", stride, "--input", "1", "64", "64", "3"})
        .out;
  };
  CHECK(has(summary("8"), "[1, 8, 8, 128]"));
  CHECK_FALSE(has(summary("16"), "[1, 8, 8, 128]"));
  for (const auto& more :
       std::vector<std::vector<std::string>>{{"--recipe", "segnet", "--lr", "0.5"}, {"--lr", "0.5", "--recipe", "segnet"}}) {
    const std::string segnet = config(more);
    CHECK(has(segnet, "\"lr\": 0.5"));
    CHECK(has(segnet, "\"class_weights\": \"median-frequency\""));
  }
}

TEST_CASE("on the GPU: killed and resumed to the bit, mixed precision, scores and pictures as on the CPU; or one line why not") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  const char* const epochs = std::getenv("SEGNET_TEST_EPOCHS");  // fewer for an emulated GPU
  const auto train = [&](const std::string& output, const std::string& precision) {
    return train_arguments(folder, folder / output,
                           {"--epochs", epochs ? epochs : "12", "--lr", "1e-2", "--device", "cuda", "--precision", precision});
  };
  for (const std::string precision : {"bf16", "tf32", "float"}) {
    INFO(precision);
    const auto started = std::chrono::steady_clock::now();
    const Outcome whole = run(folder, train("whole_" + precision, precision));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    if (whole.code == 2 && whole.err.starts_with("segnet: segnet: device cuda")) {
      CHECK(std::count(whole.err.begin(), whole.err.end(), '\n') == 1);
      CHECK_FALSE(fs::exists(folder / ("whole_" + precision)));
      MESSAGE("skipped: ", whole.err);
      return;
    }
    INFO(whole.err);
    REQUIRE(whole.code == 0);
    for (int attempt = 0; attempt < 4; ++attempt) {
      const bool resume = fs::exists(folder / "killed/last.safetensors");
      const pid_t child =
          start(folder, resume ? std::vector<std::string>{"train", "--resume", "--output", folder / "killed"} : train("killed", precision));
      if (attempt < 3) {
        std::this_thread::sleep_for(std::chrono::duration<double>(seconds * testing::random().uniform(0.3, 0.9)));
        kill(child, SIGKILL);
        (void)finish(folder, child);
      } else {
        const Outcome rest = finish(folder, child);
        INFO(rest.err);
        REQUIRE(rest.code == 0);
      }
    }
    CHECK(same_tensors(folder / ("whole_" + precision + "/last.safetensors"), folder / "killed/last.safetensors"));
    fs::remove_all(folder / "killed");
  }
  const std::string checkpoint = folder / "whole_float/best.safetensors";
  const auto loss = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"eval", checkpoint, "--flip-test"});
    const Outcome end = run(folder, more);
    INFO(end.err);
    REQUIRE(end.code == 0);
    return std::stod(end.out.substr(end.out.rfind("loss ") + 5));
  };
  const double expected = loss({});
  CHECK(loss({"--device", "cuda"}) == doctest::Approx(expected).epsilon(0.002));
  CHECK(loss({"--device", "cuda", "--precision", "bf16"}) == doctest::Approx(expected).epsilon(0.05));
  for (const std::string device : {"cpu", "cuda"})
    REQUIRE(
        run(folder, {"predict", checkpoint, folder / "images", "-o", folder / device, "--device", device, "--tile", "24", "--overlap", "8"})
            .code == 0);
  index_t different = 0;
  for (int n = 0; n < 12; ++n) {
    const auto a = read_label_map(folder / concat("cpu/", n, ".png")), b = read_label_map(folder / concat("cuda/", n, ".png"));
    for (index_t i = 0; i < a.numel(); ++i) different += a.data()[i] != b.data()[i];
  }
  CHECK(different < 12 * 24 * 32 / 20);
}

TEST_CASE("bad input: one line that names it, exit code 2, nothing left behind") {
  NEEDS_PROGRAM
  const Folder folder;
  write_pairs(folder);
  fs::create_directories(folder / "empty");
  const auto fails = [&](const std::vector<std::string>& arguments, const std::string& named) {
    const Outcome end = run(folder, arguments);
    INFO(arguments[0], " ", arguments.back(), ": ", end.err);
    CHECK(end.code == 2);
    CHECK(end.err.find(named) != std::string::npos);
    CHECK(std::count(end.err.begin(), end.err.end(), '\n') == 1);
    CHECK_FALSE(fs::exists(folder / "bad"));
  };
  const auto train = [&](std::vector<std::string> more) { return train_arguments(folder, folder / "bad", std::move(more)); };
  fails({"tarin"}, "subcommand");
  fails(train({"--epochs", "-1"}), "--epochs");
  fails(train({"--crop", "64"}), "--crop");
  fails(train({"--scale-max", "2"}), "--crop");
  fails(train({"--object-crop", "64"}), "--object-crop");
  fails(train({"--batch", "1000"}), "--batch");
  fails(train({"--model", "vnet"}), "vnet");
  fails(train({"--model", "resnet18"}), "classifier");
  fails(train({"--depth", "0"}), "depth");
  fails(train({"--dropout", "2"}), "--dropout");
  fails(train({"--device", "tpu"}), "--device");
  fails(train({"--precision", "bf16"}), "--precision");
  fails(train({"--images", folder / "empty"}), "empty");
  fails(train({"--images", folder / "nowhere"}), "nowhere");
  fails(train({"--init", folder / "images/0.png"}), "0.png");
  fails(train({"--recipe", "vnet"}), "fcn8s");
  fails(train({"--freeze", "backbone"}), "'--freeze': expected a part of the network: down, up, dec, head");
  fails(train({"--freeze", "down", "--freeze", "up", "--freeze", "dec", "--freeze", "head"}), "everything frozen");
  fails(train({"--lr-head", "10x"}), "--init");
  fails(train({"--lr-head", "ten"}), "--lr-head");
  fails(train({"--lr-head", "2", "--head", "dwon"}), "'--head'");
  fails({"convert", folder / "images/0.png"}, "0.png");
  fails({"train", "--data", "camvid", "-o", folder / "bad"}, "--root");
  fails({"train", "--data", "camvid", "--root", folder / "empty", "-o", folder / "bad"}, "empty");
  fails({"train", "--data", "cityscapes", "--root", folder / "empty", "-o", folder / "bad"}, "empty/leftImg8bit/train");
  fails(train({"--class-weights", "published"}), "--class-weights");
  fails(train({"--ohem", "0.7", "--border-weight", "10"}), "--border-weight");
  fails({"train", "--resume", "-o", folder / "bad"}, "last.safetensors");
  fails({"eval", folder / "nothing.safetensors"}, "nothing.safetensors");
  fails({"predict", folder / "images/0.png", folder / "images"}, "0.png");

  REQUIRE(run(folder, train_arguments(folder, folder / "run", {"--epochs", "1"})).code == 0);
  const std::string checkpoint = folder / "run/best.safetensors";
  fails(train_arguments(folder, folder / "run"), "--resume");  // there is a run already
  fails({"predict", checkpoint, folder / "empty", "-o", folder / "bad"}, "empty");
  fails({"predict", checkpoint, folder / "images/0.png", "--tile", "8", "--overlap", "8", "-o", folder / "bad"}, "--overlap");
  fails({"eval", checkpoint, "--tile", "8", "--overlap", "8", "-o", folder / "bad"}, "--overlap");
  for (const char* scales : {"0", "1,x", "-1", "1e9"})
    fails({"predict", checkpoint, folder / "images/0.png", "-o", folder / "bad", concat("--scales=", scales)}, "--scales");
  fails({"eval", checkpoint, "--crf-iterations", "5"}, "--crf");
  for (const char* numbers : {"3", "3,x", "-1,3", "3,0", "3,1,2"})
    fails({"eval", checkpoint, "--crf", concat("--crf-smoothness=", numbers)}, "--crf-smoothness");
  fs::resize_file(folder / "images/3.png", 60);
  fails({"predict", checkpoint, folder / "images/3.png", "-o", folder / "bad"}, "3.png");
  fails(train({"--checkpoint-every", "0"}), "3.png");
  write_pairs(folder);
  Tensor<std::int32_t> wrong({24, 32});
  wrong.fill(7);
  write_label_map(folder / "masks/4.png", wrong);
  fails(train({"--checkpoint-every", "0"}), "'4'");
  fs::resize_file(checkpoint, 1000);
  fails({"eval", checkpoint}, "best.safetensors");

  CHECK(
      run(folder, {"check-data", "--data", "folder", "--images", folder / "images", "--masks", folder / "masks", "--classes", "2"}).code ==
      2);
}
