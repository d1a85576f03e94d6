#include "lib/support/name_hash.h"

#include <sys/random.h>

#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>

namespace bevel {

namespace {

struct Key {
  std::uint64_t k0 = 0, k1 = 0;
  Key() {
    if (::getrandom(this, sizeof *this, GRND_NONBLOCK) == static_cast<ssize_t>(sizeof *this)) return;
    // Without a source of randomness: what a file's author cannot know well.
    k0 = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
    k1 = reinterpret_cast<std::uintptr_t>(this);
  }
};

struct State {
  std::uint64_t v0, v1, v2, v3;
  explicit State(const Key& key)
      : v0(key.k0 ^ 0x736f6d6570736575ull), v1(key.k1 ^ 0x646f72616e646f6dull), v2(key.k0 ^ 0x6c7967656e657261ull),
        v3(key.k1 ^ 0x7465646279746573ull) {}
  void round() {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  }
  void take(std::uint64_t word) {
    v3 ^= word;
    round();
    v0 ^= word;
  }
};

}  // namespace

std::size_t NameHash::operator()(std::string_view name) const {
  static const Key key;
  State state(key);
  std::size_t at = 0;
  std::uint64_t word = 0;
  for (; name.size() - at >= sizeof word; at += sizeof word) {
    std::memcpy(&word, name.data() + at, sizeof word);
    state.take(word);
  }
  word = static_cast<std::uint64_t>(name.size()) << 56;
  for (std::size_t i = 0; at + i < name.size(); ++i) word |= static_cast<std::uint64_t>(static_cast<unsigned char>(name[at + i])) << (8 * i);
  state.take(word);
  state.v2 ^= 0xff;
  for (int i = 0; i < 3; ++i) state.round();
  return static_cast<std::size_t>(state.v0 ^ state.v1 ^ state.v2 ^ state.v3);
}

}  // namespace bevel
