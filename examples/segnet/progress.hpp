// What a command shows and where it puts things: a progress bar on a terminal, plain lines elsewhere; a folder of results.
#pragma once

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "segnet/core/error.hpp"

namespace segnet::program {

/// "1:02:03" or "2:03"
inline std::string clock_text(double seconds) {
  const long s = static_cast<long>(seconds + 0.5);
  char text[32];
  if (s >= 3600) std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
  else std::snprintf(text, sizeof text, "%ld:%02ld", s / 60, s % 60);
  return text;
}

/// A folder for results: made at once, so that a wrong path is found early, and taken away again if nothing was put into it.
class OutputFolder {
 public:
  explicit OutputFolder(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    if (error) throw IoError(path_.string(), concat("cannot make this folder: ", error.message()));
  }
  ~OutputFolder() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);  // only when empty
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  [[nodiscard]] std::string of(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

class Progress {
 public:
  explicit Progress(std::string title) : title_(std::move(title)), terminal_(isatty(fileno(stdout)) != 0) {}
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// done of total; `text` stands behind the bar. Redraws at most ten times a second; piped, prints a line every 30 seconds.
  void update(long done, long total, const std::string& text) {
    const double now = seconds();
    if (done < total && now - last_ < (terminal_ ? 0.1 : 30)) return;
    last_ = now;
    if (!terminal_) {
      if (done < total) {
        std::printf("%s  %ld/%ld  %s\n", title_.c_str(), done, total, text.c_str());
        std::fflush(stdout);
      }
      return;
    }
    constexpr int width = 24;
    const int filled = total > 0 ? static_cast<int>(width * done / total) : width;
    std::string bar;
    for (int i = 0; i < width; ++i) bar += i < filled ? "█" : "░";
    std::printf("\r\033[K%s %s %ld/%ld  %s", title_.c_str(), bar.c_str(), done, total, text.c_str());
    std::fflush(stdout);
    drawn_ = true;
  }

  /// Takes the bar away; the next line of text starts at its place.
  void clear() {
    if (drawn_) std::printf("\r\033[K");
    std::fflush(stdout);
    drawn_ = false;
  }

  [[nodiscard]] double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::string title_;
  bool terminal_, drawn_ = false;
  double last_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace segnet::program
