// MatMulNBits has no ONNX operator test: the packing, zero points and refusals, by hand.
#include "tests/common/node_case.h"

using namespace bevel;
using testing::Case;

namespace {

constexpr std::int64_t kK = 18, kN = 2, kBlock = 16, kBlocks = 2;

Tensor bytes(Dims dims, const std::vector<std::uint8_t>& values) { return Tensor::of<std::uint8_t>(std::move(dims), values); }

// Column n, element k holds 8 + (k == n) * (n + 1), by blocks of 16.
Tensor unit_columns() {
  std::vector<std::uint8_t> packed(kN * kBlocks * kBlock / 2, 0x88);
  packed[0] = 0x89;                         // column 0, k = 0: 9
  packed[kBlocks * kBlock / 2] = 0xA8;      // column 1, k = 1: 10, in the high half
  return bytes({kN, kBlocks, kBlock / 2}, packed);
}

Case product() {
  Case one("MatMulNBits");
  one.node.domain = "com.microsoft";
  one.attr("K", kK).attr("N", kN).attr("bits", std::int64_t{4}).attr("block_size", kBlock);
  std::vector<float> a(static_cast<std::size_t>(kK), 0.0f);
  a[0] = 3, a[1] = 5, a[17] = 100;
  one.in(Tensor::of<float>({1, kK}, a));
  return one;
}
Tensor scales() { return Tensor::of<float>({kN, kBlocks}, std::vector<float>{0.5f, 1, 2, 4}); }

}  // namespace

TEST_CASE("MatMulNBits: the first of two elements is in the low bits, 8 stands for zero, scales go by column and block") {
  CHECK(product().in(unit_columns()).in(scales()).floats() == std::vector<float>{3 * 0.5f, 5 * 2 * 2.0f});
  Case biased = product();
  biased.in(unit_columns()).in(scales()).absent().absent().in(Tensor::of<float>({kN}, std::vector<float>{10, 20}));
  CHECK(biased.floats() == std::vector<float>{11.5f, 40});
}

TEST_CASE("MatMulNBits: zero points are packed as the weights are, or floats") {
  // Column 0: 8 and 7; column 1: 8 and 8. Element 17 lies in the second block.
  CHECK(product().in(unit_columns()).in(scales()).in(bytes({kN}, {0x78, 0x88})).floats() == std::vector<float>{1.5f + 100, 20});
  const Tensor floats = Tensor::of<float>({kN, kBlocks}, std::vector<float>{8, 7.5f, 8, 8});
  CHECK(product().in(unit_columns()).in(scales()).in(floats).floats() == std::vector<float>{1.5f + 50, 20});
}

TEST_CASE("MatMulNBits: 8 bits are a byte each, 2 bits four to a byte") {
  Case wide("MatMulNBits");
  wide.node.domain = "com.microsoft";
  wide.attr("K", std::int64_t{2}).attr("N", std::int64_t{1}).attr("bits", std::int64_t{8}).attr("block_size", kBlock);
  std::vector<std::uint8_t> packed(16, 128);
  packed[0] = 130, packed[1] = 127;
  wide.in(Tensor::of<float>({2}, std::vector<float>{1, 10})).in(bytes({1, 1, 16}, packed));
  wide.in(Tensor::of<float>({1}, std::vector<float>{0.5f}));
  CHECK(wide.floats() == std::vector<float>{(2.0f - 10) / 2});
  Case narrow("MatMulNBits");
  narrow.node.domain = "com.microsoft";
  narrow.attr("K", std::int64_t{4}).attr("N", std::int64_t{1}).attr("bits", std::int64_t{2}).attr("block_size", kBlock);
  narrow.in(Tensor::of<float>({4}, std::vector<float>{1, 10, 100, 1000})).in(bytes({1, 1, 4}, {0b00'11'10'01, 0, 0, 0}));
  narrow.in(Tensor::of<float>({1}, std::vector<float>{1}));
  CHECK(narrow.floats() == std::vector<float>{-1 + 0 + 100 - 2000});
}

TEST_CASE("MatMulNBits: sizes that do not fit are refused before anything is read") {
  const auto has = [](const std::string& text, const char* part) {
    UNSCOPED_INFO(text);
    return text.find(part) != std::string::npos;
  };
  CHECK(has(product().in(bytes({kN, 1, 8}, std::vector<std::uint8_t>(16))).in(scales()).error(), "16 elements, expected 32"));
  CHECK(has(product().in(unit_columns()).in(Tensor::of<float>({1}, std::vector<float>{1})).error(), "1 elements, expected 4"));
  CHECK(has(product().in(unit_columns()).in(scales()).in(bytes({1}, {0})).error(), "1 elements, expected 2"));
  CHECK(has(product().attr("K", std::int64_t{17}).in(unit_columns()).in(scales()).error(), "'K' is 17"));
  CHECK(has(product().attr("K", std::int64_t{-1}).in(unit_columns()).in(scales()).error(), "expected 1 or more"));
  CHECK(has(product().attr("bits", std::int64_t{3}).in(unit_columns()).in(scales()).error(), "expected 2, 4 or 8"));
  CHECK(has(product().attr("block_size", std::int64_t{24}).in(unit_columns()).in(scales()).error(), "a power of two"));
  CHECK(has(product().attr("N", std::int64_t{2147483647}).in(unit_columns()).in(scales()).error(), "32 elements, expected"));
  Case ordered = product();
  ordered.in(unit_columns()).in(scales()).absent().in(Tensor::of<std::int32_t>({18}, std::vector<std::int32_t>(18)));
  CHECK(has(ordered.error(), "not supported"));
}
