// Hash tables by names that come from files. The standard library's string hash has no secret: a file can hold as many names as it
// likes that all hash alike, and each look-up then walks all of them. These tables are keyed anew in each process; their order means
// nothing and reaches no output.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace bevel {

// SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) under a random key.
struct NameHash {
  using is_transparent = void;  // look-ups by std::string_view
  std::size_t operator()(std::string_view name) const;
};

template <typename T>
using NameMap = std::unordered_map<std::string, T, NameHash, std::equal_to<>>;
using NameSet = std::unordered_set<std::string, NameHash, std::equal_to<>>;

}  // namespace bevel
