#include <catch2/catch.hpp>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <set>
#include <string>
#include <vector>

#include "lib/support/atomic_file.h"
#include "lib/support/hash.h"
#include "lib/support/file_root.h"
#include "lib/support/mapped_file.h"
#include "lib/support/name_hash.h"
#include "lib/support/worker_pool.h"

using namespace bevel;
namespace fs = std::filesystem;

namespace {

// A fresh folder that goes away with its scope.
struct Folder {
  fs::path path;
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "bevel-support-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

void put(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string get(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

std::string refusal(const fs::path& folder, const std::string& relative) {
  const auto opened = open_beneath(folder, relative);
  if (opened) ::close(*opened);
  REQUIRE_FALSE(opened.has_value());
  CHECK(opened.error().code == ExitCode::input);
  return opened.error().message;
}

}  // namespace

TEST_CASE("a mapped file shows the file's bytes and refuses what is no regular file") {
  const Folder folder;
  put(folder.path / "a", "hello");
  const auto file = MappedFile::open(folder.path / "a");
  REQUIRE(file);
  REQUIRE((*file)->bytes().size() == 5);
  CHECK(std::memcmp((*file)->bytes().data(), "hello", 5) == 0);
  put(folder.path / "empty", "");
  const auto empty = MappedFile::open(folder.path / "empty");
  REQUIRE(empty);
  CHECK((*empty)->bytes().empty());
  REQUIRE(::mkfifo((folder.path / "fifo").c_str(), 0600) == 0);
  for (const fs::path& bad : {folder.path, folder.path / "absent", folder.path / "fifo", fs::path("/dev/null"), fs::path()}) {
    const auto refused = MappedFile::open(bad);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ExitCode::input);
    CHECK(refused.error().message.find(bad.empty() ? "empty" : bad.string()) != std::string::npos);
  }
}

TEST_CASE("open_beneath stays beneath its folder") {
  const Folder folder;
  fs::create_directories(folder.path / "root/sub");
  put(folder.path / "secret", "secret");
  put(folder.path / "root/plain", "plain");
  put(folder.path / "root/sub/deep", "deep");
  fs::create_symlink(folder.path / "secret", folder.path / "root/link");
  fs::create_symlink("plain", folder.path / "root/inner");
  fs::create_directory_symlink(folder.path / "root/sub", folder.path / "root/linked");
  const fs::path root = folder.path / "root";
  for (const char* good : {"plain", "./plain", "sub/deep", "sub//deep", "sub/./deep"}) {
    const auto opened = open_beneath(root, good);
    REQUIRE(opened);
    ::close(*opened);
  }
  CHECK(refusal(root, "../secret").find("..") != std::string::npos);
  CHECK(refusal(root, "sub/../plain").find("..") != std::string::npos);
  CHECK(refusal(root, (folder.path / "root/plain").string()).find("absolute") != std::string::npos);
  CHECK(refusal(root, "link").find("symbolic link") != std::string::npos);
  CHECK(refusal(root, "inner").find("symbolic link") != std::string::npos);
  CHECK(refusal(root, "linked/deep").find("symbolic link") != std::string::npos);
  CHECK(refusal(root, "sub").find("regular") != std::string::npos);
  CHECK(refusal(root, "absent").find("absent") != std::string::npos);
  refusal(root, "");
  refusal(root, ".");
  refusal(root, std::string("plain\0x", 7));
}

TEST_CASE("open_beneath refuses a second name of a file, and devices") {
  const Folder folder;
  fs::create_directories(folder.path / "root");
  put(folder.path / "secret", "secret");
  fs::create_hard_link(folder.path / "secret", folder.path / "root/twin");
  REQUIRE(::mkfifo((folder.path / "root/pipe").c_str(), 0600) == 0);
  const fs::path root = folder.path / "root";
  CHECK(refusal(root, "twin").find("2 hard links") != std::string::npos);
  CHECK(refusal(root, "pipe").find("regular") != std::string::npos);
  fs::remove(folder.path / "secret");
  const auto opened = open_beneath(root, "twin");  // a file of its own by now
  REQUIRE(opened);
  ::close(*opened);
}

TEST_CASE("open_beneath follows links into folders that are allowed, and no further") {
  const Folder folder;
  fs::create_directories(folder.path / "snapshot/sub");
  fs::create_directories(folder.path / "blobs/deep");
  put(folder.path / "secret", "secret");
  put(folder.path / "blobs/weights", "weights");
  put(folder.path / "blobs/deep/more", "more");
  fs::create_symlink("../blobs/weights", folder.path / "snapshot/link");
  fs::create_symlink("../../blobs/deep/more", folder.path / "snapshot/sub/link");
  fs::create_directory_symlink("../blobs/deep", folder.path / "snapshot/linked");
  fs::create_symlink("../secret", folder.path / "snapshot/out");
  fs::create_symlink("../secret", folder.path / "blobs/onward");
  fs::create_symlink("../blobs/onward", folder.path / "snapshot/twice");
  fs::create_symlink("../blobs", folder.path / "snapshot/folder");
  fs::create_hard_link(folder.path / "blobs/weights", folder.path / "blobs/twin");
  fs::create_directories(folder.path / "blobs-not");
  put(folder.path / "blobs-not/near", "near");
  fs::create_symlink("../blobs-not/near", folder.path / "snapshot/near");
  const FileRoot root{folder.path / "snapshot", {folder.path / "missing", folder.path / "blobs"}};
  for (const char* good : {"link", "sub/link", "linked/more", "folder/twin"}) {
    INFO(good);
    CHECK_FALSE(open_beneath(root.folder, good));  // not without leave
    const auto opened = open_beneath(root, good);
    REQUIRE(opened);
    ::close(*opened);
  }
  for (const char* bad : {"out", "twice", "folder", "near", "../blobs/weights", "absent"}) {
    INFO(bad);
    CHECK_FALSE(open_beneath(root, bad));
  }
}

TEST_CASE("tables by names find what was put in, by text of any kind") {
  const NameHash hash;
  CHECK(hash("a") == hash(std::string("a")));
  std::set<std::size_t> seen;
  for (int i = 0; i < 4096; ++i) seen.insert(hash(fmt::format("{}", i)));
  CHECK(seen.size() == 4096);
  NameMap<int> map;
  for (int i = 0; i < 1000; ++i) map.emplace(fmt::format("name {}", i), i);
  CHECK(map.find(std::string_view("name 77"))->second == 77);
  CHECK_FALSE(map.contains(std::string_view("name")));
}

TEST_CASE("open_beneath holds the same line on a kernel without openat2") {
  const Folder folder;
  fs::create_directories(folder.path / "root/sub");
  put(folder.path / "secret", "secret");
  put(folder.path / "root/sub/deep", "deep");
  fs::create_symlink(folder.path / "secret", folder.path / "root/link");
  fs::create_directory_symlink("sub", folder.path / "root/linked");
  const pid_t child = ::fork();  // the filter must not reach the other tests
  REQUIRE(child >= 0);
  if (child == 0) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),  // seccomp_data.nr
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{4, program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
      ::_exit(2);
    const fs::path root = folder.path / "root";
    const auto has = [](const Result<int>& opened, const char* text) {
      return !opened && opened.error().message.find(text) != std::string::npos;
    };
    const bool right = open_beneath(root, "sub/./deep").has_value() && has(open_beneath(root, "link"), "symbolic link") &&
                       has(open_beneath(root, "linked/deep"), "symbolic link") && has(open_beneath(root, "sub"), "regular") &&
                       has(open_beneath(root, "../secret"), "..") && has(open_beneath(root, "absent"), "absent");
    ::_exit(right ? 0 : 1);
  }
  int result = 0;
  REQUIRE(::waitpid(child, &result, 0) == child);
  REQUIRE(WIFEXITED(result));
  if (WEXITSTATUS(result) == 2) {
    WARN("skipped: this system allows no seccomp filter");
    return;
  }
  CHECK(WEXITSTATUS(result) == 0);
}

TEST_CASE("an atomic file is old or new, never half") {
  const Folder folder;
  const fs::path target = folder.path / "out";
  put(target, "old");
  {
    auto file = AtomicFile::create(target);
    REQUIRE(file);
    REQUIRE(file->write("new"));
    REQUIRE(file->sync());
    CHECK(get(target) == "old");
    CHECK(get(file->temporary()) == "new");
  }
  CHECK(get(target) == "old");
  CHECK(entries(folder.path) == 1);
  {
    auto file = AtomicFile::create(target);
    REQUIRE(file);
    REQUIRE(file->write("new"));
    AtomicFile moved = std::move(*file);
    REQUIRE(moved.commit());
    CHECK_FALSE(moved.commit());
  }
  CHECK(get(target) == "new");
  CHECK(entries(folder.path) == 1);
  REQUIRE(write_file_atomically(target, "newer"));
  CHECK(get(target) == "newer");
}

TEST_CASE("an atomic file writes through a link and refuses folders and devices") {
  const Folder folder;
  put(folder.path / "real", "old");
  fs::create_symlink("real", folder.path / "link");
  REQUIRE(write_file_atomically(folder.path / "link", "new"));
  CHECK(fs::is_symlink(folder.path / "link"));
  CHECK(get(folder.path / "real") == "new");
  fs::create_directory(folder.path / "deep");
  fs::create_symlink("deep/to_come", folder.path / "dangling");
  REQUIRE(write_file_atomically(folder.path / "dangling", "here"));
  CHECK(fs::is_symlink(folder.path / "dangling"));
  CHECK(get(folder.path / "deep/to_come") == "here");
  fs::create_symlink("loop", folder.path / "loop");
  REQUIRE(::mkfifo((folder.path / "pipe").c_str(), 0600) == 0);
  fs::create_symlink("pipe", folder.path / "to_pipe");
  for (const char* bad : {"loop", "pipe", "to_pipe"}) {
    const auto refused = AtomicFile::create(folder.path / bad);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ExitCode::output);
  }
  CHECK(fs::is_fifo(folder.path / "pipe"));
  for (const fs::path& bad : {folder.path, fs::path("/dev/null"), folder.path / "absent/out", fs::path(""), fs::path("..")}) {
    const auto refused = AtomicFile::create(bad);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ExitCode::output);
  }
}

TEST_CASE("a full disk is an error of exit code 1 and leaves no temporary") {
  const Folder folder;
  const pid_t child = ::fork();  // the limit must not reach the other tests
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit {4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto status = write_file_atomically(folder.path / "out", std::string(10000, 'x'));
    ::_exit(!status && status.error().code == ExitCode::output ? 0 : 1);
  }
  int result = 0;
  REQUIRE(::waitpid(child, &result, 0) == child);
  CHECK(result == 0);
  CHECK(entries(folder.path) == 0);
}

TEST_CASE("a signal handler can remove the open temporaries") {
  const Folder folder;
  auto file = AtomicFile::create(folder.path / "out");
  REQUIRE(file);
  CHECK(entries(folder.path) == 1);
  remove_open_temporaries();
  CHECK(entries(folder.path) == 0);
  CHECK_FALSE(file->commit());
}

TEST_CASE("hashes match their published test vectors") {
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");  // FIPS 180-4
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const Folder folder;
  put(folder.path / "f", "abc");
  CHECK(sha256_of_file(folder.path / "f").value() == sha256_hex("abc"));
  CHECK_FALSE(sha256_of_file(folder.path / "absent").has_value());
}

TEST_CASE("a worker pool runs each item once, nested calls included") {
  for (const unsigned threads : {1u, 2u, 5u}) {
    WorkerPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{1000}}) {
      std::vector<std::atomic<int>> hits(count);
      std::atomic<bool> in_range{true};
      pool.for_each(count, [&](std::size_t item, unsigned worker) {
        if (worker >= threads) in_range = false;
        pool.for_each(3, [&](std::size_t, unsigned inner) {
          if (inner != worker) in_range = false;
          ++hits[item];
        });
      });
      CHECK(in_range);
      for (const auto& hit : hits) CHECK(hit == 3);
    }
  }
}

TEST_CASE("a worker pool throws the lowest item's exception and works on") {
  WorkerPool pool(4);
  for (int round = 0; round < 50; ++round) {
    std::string caught;
    try {
      pool.for_each(200, [](std::size_t item, unsigned) {
        if (item % 7 == 5) throw std::runtime_error(std::to_string(item));
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK(caught == "5");
  }
  std::atomic<int> sum{0};
  pool.for_each(10, [&](std::size_t item, unsigned) { sum += static_cast<int>(item); });
  CHECK(sum == 45);
}
