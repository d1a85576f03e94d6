// Distinct 32-bit index types, so that a node's index is never used as a value's.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace bevel {

template <typename Tag>
struct Id {
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;
  std::uint32_t index = kNone;

  constexpr Id() = default;
  constexpr explicit Id(std::uint32_t i) : index(i) {}
  constexpr explicit Id(std::size_t i) : index(static_cast<std::uint32_t>(i)) {}
  [[nodiscard]] constexpr bool valid() const { return index != kNone; }
  constexpr explicit operator bool() const { return valid(); }
  constexpr auto operator<=>(const Id&) const = default;
};

}  // namespace bevel

template <typename Tag>
struct std::hash<bevel::Id<Tag>> {
  std::size_t operator()(bevel::Id<Tag> id) const noexcept { return std::hash<std::uint32_t>{}(id.index); }
};
