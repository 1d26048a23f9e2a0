// segnet predict: pictures of any size in; indexed label maps, overlays and probability maps out.
#include <filesystem>

#include "checkpoint.hpp"
#include "commands.hpp"
#include "device.hpp"
#include "progress.hpp"
#include "segnet/io/label_map.hpp"
#include "segnet/report/overlay.hpp"
#include "windows.hpp"

namespace segnet::program {

namespace fs = std::filesystem;

namespace {

bool is_picture(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".bmp";
}

/// The files named, and the pictures in the folders named, sorted.
std::vector<fs::path> pictures(const std::vector<std::string>& inputs) {
  std::vector<fs::path> all;
  for (const auto& input : inputs) {
    if (fs::is_directory(input)) {
      const std::size_t before = all.size();
      for (const auto& entry : fs::directory_iterator(input))
        if (entry.is_regular_file() && is_picture(entry.path())) all.push_back(entry.path());
      if (all.size() == before) throw IoError(input, "holds no PNG, JPEG or BMP file");
      std::sort(all.begin() + static_cast<std::ptrdiff_t>(before), all.end());
    } else if (fs::exists(input)) {
      all.emplace_back(input);
    } else {
      throw IoError(input, "no such file or folder");
    }
  }
  return all;
}

template <class T, class D>
int predict(const PredictConfig& config) {
  const auto trained = load_network<T, D>(config.checkpoint);
  const std::vector<fs::path> files = pictures(config.inputs);
  check_inference("predict", config.inference);
  std::optional<WindowPrediction<T, D>> windows;
  if (!config.windows.proposals.empty()) {
    windows.emplace(trained, config.windows);
    for (const fs::path& file : files) (void)windows->windows(file.stem().string());  // what is missing is said at once
  }
  const OutputFolder output(config.output);

  const auto infer = for_inference(trained.network);
  Progress progress("predict");
  std::map<std::string, fs::path> used;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string stem = files[i].stem().string();
    if (const auto [at, fresh] = used.emplace(stem, files[i]); !fresh)
      throw IoError(files[i].string(),
                    concat("would overwrite the result of ", at->second.string(), ": the names differ by folder or extension only"));
    const Tensor<std::uint8_t> image = read_image(files[i].string());
    Tensor<float> probabilities =
        windows ? (*windows)(image, stem) : models::predict_probabilities(infer, trained.input(image), config.inference).template to<Cpu>();
    if (config.crf.on) probabilities = crf_refined(probabilities, image, config.crf);
    const Tensor<std::int32_t> labels = models::most_likely(probabilities).alias({image.dim(0), image.dim(1)});
    const std::string base = output.of(stem);
    write_label_map(base + ".png", labels, trained.header.palette);
    write_png(base + "_overlay.png", report::overlay(image, labels, trained.header.palette));
    if (config.probabilities) {
      const index_t C = probabilities.dim(3);
      Tensor<std::uint8_t> map({image.dim(0), image.dim(1)});
      for (index_t c = 0; c < C; ++c) {
        for (index_t p = 0; p < map.numel(); ++p)
          map.data()[p] = static_cast<std::uint8_t>(std::lround(255 * probabilities.data()[p * C + c]));
        write_png(concat(base, "_", c, ".png"), map);
      }
    }
    progress.update(static_cast<long>(i + 1), static_cast<long>(files.size()), files[i].filename().string());
  }
  progress.clear();
  std::printf("%zu pictures segmented: %s/NAME.png (class ids, indexed) and NAME_overlay.png\n", files.size(), config.output.c_str());
  if (config.probabilities)
    for (std::size_t c = 0; c < trained.header.classes.size(); ++c)
      std::printf("  NAME_%zu.png: probability of %s\n", c, trained.header.classes[c].c_str());
  return 0;
}

}  // namespace

int run_predict(const PredictConfig& config) {
  return on_device(config.compute, [&]<class T, class D> { return predict<T, D>(config); });
}

}  // namespace segnet::program
