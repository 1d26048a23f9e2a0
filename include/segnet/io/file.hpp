// Whole files: read into memory, mapped, or written so that nobody ever sees a half-written one. POSIX.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "segnet/core/error.hpp"

namespace segnet {

namespace detail {

/// An open file descriptor, closed with its owner.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, mode_t mode = 0) : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  /// Closes now, because a network file system reports some write errors only here. Whether it went well.
  bool close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

[[noreturn]] inline void throw_errno(const std::string& path, std::string_view action, int error = errno) {
  throw IoError(path, concat(action, ": ", std::strerror(error)));
}

/// Size of the regular file behind `fd`. @throws IoError for directories, devices and pipes, whose size says nothing.
inline std::size_t regular_file_size(const Descriptor& fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) throw_errno(path, "cannot read");
  if (!S_ISREG(status.st_mode)) throw IoError(path, S_ISDIR(status.st_mode) ? "is a directory" : "is not a regular file");
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace detail

/// The bytes of a file, mapped into memory: pages are read when they are touched, and shared between programs until written.
///
/// Writing to the bytes changes this program's copy only, never the file. The file must not be shortened while it is mapped
/// (the system would end the program); replacing it, as `write_file_atomically` does, is harmless.
class MappedFile {
 public:
  /// @throws IoError when it cannot be opened or is not a regular file
  explicit MappedFile(const std::string& path) {
    const detail::Descriptor fd(path, O_RDONLY);
    if (!fd) detail::throw_errno(path, "cannot open");
    size_ = detail::regular_file_size(fd, path);
    if (size_ == 0) return;  // nothing can be mapped, nothing need be
    void* const address = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd.get(), 0);
    if (address == MAP_FAILED) detail::throw_errno(path, "cannot map");
    data_ = static_cast<std::byte*>(address);
  }
  ~MappedFile() {
    if (data_) ::munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// All bytes of a file. @throws IoError when it cannot be read, is no regular file, or is larger than `max_bytes`
[[nodiscard]] inline std::string read_file(const std::string& path, std::size_t max_bytes = std::string::npos) {
  const detail::Descriptor fd(path, O_RDONLY);
  if (!fd) detail::throw_errno(path, "cannot open");
  const std::size_t size = detail::regular_file_size(fd, path);
  if (size > max_bytes) throw IoError(path, concat("has ", size, " bytes, more than the ", max_bytes, " that are accepted here"));
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = ::read(fd.get(), bytes.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) detail::throw_errno(path, "cannot read");
    if (n == 0) break;  // somebody shortened it meanwhile
    done += static_cast<std::size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

/// Calls line(text, number) for each line of a text, spaces at its ends cut off, but for empty ones and those that start with #. Lines are
/// counted from 1.
template <class F>
void for_each_line(const std::string& text, const F& line) {
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::size_t first = std::min(text.find_first_not_of(" \t\r", begin), end), last = text.find_last_not_of(" \t\r", end - 1);
    ++number;
    if (first < end && text[first] != '#') line(text.substr(first, last - first + 1), number);
    begin = end + 1;
  }
}

/// Where a writer puts the bytes of a file, in order. See `write_file_atomically`.
class FileWriter {
 public:
  FileWriter(const detail::Descriptor& fd, const std::string& path) : fd_(fd), path_(path) {}

  /// @throws IoError when the disk is full or fails
  void write(const void* data, std::size_t size) {
    const char* next = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t n = ::write(fd_.get(), next, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) detail::throw_errno(path_, "cannot write");
      next += n;
      size -= static_cast<std::size_t>(n);
    }
  }
  void write(std::string_view bytes) { write(bytes.data(), bytes.size()); }

 private:
  const detail::Descriptor& fd_;
  const std::string& path_;
};

/// Writes a file so that, whatever happens, `path` holds either what it held before or everything `writer(FileWriter&)` wrote:
/// the bytes go to a new file beside it (`path` + ".tmp-<process>-<count>"), reach the disk, and take its name last. An
/// exception, also one of the writer's own, removes the new file; only a killed program leaves it behind. A device or a pipe
/// (`/dev/stdout`) is written directly.
/// @throws IoError naming the path and the system's reason
template <class Writer>
  requires std::is_invocable_v<Writer, FileWriter&>
void write_file_atomically(const std::string& path, Writer&& writer) {
  struct stat status{};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) throw IoError(path, "cannot write: is a directory");
  if (exists && !S_ISREG(status.st_mode)) {
    detail::Descriptor fd(path, O_WRONLY);
    if (!fd) detail::throw_errno(path, "cannot write");
    FileWriter out(fd, path);
    writer(out);
    if (!fd.close()) detail::throw_errno(path, "cannot write");
    return;
  }

  static std::atomic<unsigned> count{0};
  const std::string temporary = concat(path, ".tmp-", ::getpid(), "-", count.fetch_add(1));
  detail::Descriptor fd(temporary, O_WRONLY | O_CREAT | O_EXCL, 0666);
  if (!fd) detail::throw_errno(path, "cannot write");
  try {
    if (exists) (void)::fchmod(fd.get(), status.st_mode & 07777);  // as far as allowed, the new file may be read by whom the old one was
    FileWriter out(fd, path);
    writer(out);
    if (::fsync(fd.get()) != 0 || !fd.close()) detail::throw_errno(path, "cannot write");
    if (::rename(temporary.c_str(), path.c_str()) != 0) detail::throw_errno(path, "cannot write");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  // The name itself must survive a power cut, too. Where a file system cannot do this, the file is still whole.
  const std::size_t slash = path.rfind('/');
  const detail::Descriptor folder(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
  if (folder) (void)::fsync(folder.get());
}

/// The same for bytes that are there already.
inline void write_file_atomically(const std::string& path, std::string_view bytes) {
  write_file_atomically(path, [&](FileWriter& out) { out.write(bytes); });
}

}  // namespace segnet
