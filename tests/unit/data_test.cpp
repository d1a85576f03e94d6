// Arrays, images, tables, descriptions, steps, metrics and histograms of lib/data, hostile files included.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include <jpeglib.h>  // wants <cstdio> before it
#include <minizip/zip.h>
#include <png.h>

#include "lib/data/accumulator.h"
#include "lib/data/arrays.h"
#include "lib/data/csv.h"
#include "lib/data/dataset.h"
#include "lib/data/description.h"
#include "lib/data/metrics.h"
#include "lib/data/steps.h"
#include "lib/images/images.h"
#include "lib/support/random.h"

using namespace bevel;
using namespace bevel::data;
using bevel::images::decode_image;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    static int counter = 0;
    path = fs::temp_directory_path() / fmt::format("bevel_data_test_{}_{}", ::getpid(), counter++);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path write(const std::string& name, std::string_view content) const {
    fs::create_directories((path / name).parent_path());
    std::ofstream(path / name, std::ios::binary) << content;
    return path / name;
  }
};

std::string npy(std::string_view literal, std::string_view data, char major = 1) {
  std::string out = std::string("\x93NUMPY") + major + '\0';
  out += static_cast<char>(literal.size() & 0xFF);
  out += static_cast<char>(literal.size() >> 8);
  if (major > 1) out += std::string(2, '\0');
  return out + std::string(literal) + std::string(data);
}

template <typename T>
std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

Result<Tensor> parse_npy(const std::string& content) {
  return read_npy(std::as_bytes(std::span(content.data(), content.size())), "x.npy");
}

void zip_members(const fs::path& path, const std::vector<std::pair<std::string, std::string>>& members, int method) {
  zipFile zip = zipOpen64(path.c_str(), APPEND_STATUS_CREATE);
  for (const auto& [name, content] : members) {
    zipOpenNewFileInZip64(zip, name.c_str(), nullptr, nullptr, 0, nullptr, 0, nullptr, method, 6, 0);
    zipWriteInFileInZip(zip, content.data(), static_cast<unsigned>(content.size()));
    zipCloseFileInZip(zip);
  }
  zipClose(zip, nullptr);
}

std::string png_bytes(int width, int height, png_uint_32 format, const std::vector<unsigned char>& pixels) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = format;
  png_alloc_size_t size = 0;
  png_image_write_to_memory(&image, nullptr, &size, 0, pixels.data(), 0, nullptr);
  std::string out(size, '\0');
  png_image_write_to_memory(&image, out.data(), &size, 0, pixels.data(), 0, nullptr);
  out.resize(size);
  return out;
}

std::string jpeg_bytes(int width, int height, unsigned char gray) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &memory, &size);
  encoder.image_width = static_cast<JDIMENSION>(width);
  encoder.image_height = static_cast<JDIMENSION>(height);
  encoder.input_components = 1;
  encoder.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&encoder);
  jpeg_start_compress(&encoder, TRUE);
  std::vector<unsigned char> row(static_cast<std::size_t>(width), gray);
  while (encoder.next_scanline < encoder.image_height) {
    unsigned char* line = row.data();
    jpeg_write_scanlines(&encoder, &line, 1);
  }
  jpeg_finish_compress(&encoder);
  std::string out(reinterpret_cast<char*>(memory), size);
  jpeg_destroy_compress(&encoder);
  free(memory);
  return out;
}

std::span<const std::byte> as_span(const std::string& text) { return std::as_bytes(std::span(text.data(), text.size())); }

template <typename T>
std::string error_of(const Result<T>& result) {
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ExitCode::input);
  return result.error().message;
}

const std::string kFloats = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";

std::vector<ModelInput> one_input(DType dtype, std::vector<Dim> dims) {
  return {{"x", Type::tensor(dtype, Shape(std::move(dims)))}};
}

}  // namespace

TEST_CASE("npy arrays are read in every layout that NumPy writes", "[npy]") {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  auto plain = parse_npy(npy(kFloats, bytes_of(values)));
  REQUIRE(plain);
  CHECK(plain->dims() == Dims{2, 3});
  CHECK(plain->as_floats() == values);
  CHECK(parse_npy(npy(kFloats, bytes_of(values), 3))->as_floats() == values);

  auto columns = parse_npy(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n", bytes_of(values)));
  REQUIRE(columns);
  CHECK(columns->as_floats() == std::vector<float>{1, 3, 5, 2, 4, 6});

  auto big = parse_npy(npy("{'shape': (2,), 'descr': '>i2', 'fortran_order': False}", std::string("\x01\x02\xFF\xFE", 4)));
  REQUIRE(big);
  CHECK(big->as_int64s() == std::vector<std::int64_t>{258, -2});

  auto scalar = parse_npy(npy("{'descr': '|b1', 'fortran_order': False, 'shape': (), }", "\x01"));
  REQUIRE(scalar);
  CHECK(scalar->rank() == 0);
}

TEST_CASE("malformed npy headers are refused with their reason", "[npy]") {
  const auto message = [](const std::string& literal, std::size_t data) {
    return error_of(parse_npy(npy(literal, std::string(data, '\0'))));
  };
  using Catch::Contains;
  CHECK_THAT(error_of(parse_npy("NUMPY")), Contains("does not start with"));
  CHECK_THAT(message(kFloats, 23), Contains("needs 24 bytes"));
  CHECK_THAT(message(kFloats, 25), Contains("needs 24 bytes"));
  CHECK_THAT(message("{'descr': '<U5', 'fortran_order': False, 'shape': (2,), }", 40), Contains("not a plain number type"));
  CHECK_THAT(message("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 0), Contains("limit"));
  CHECK_THAT(message("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4), Contains("is not {'descr'"));
  CHECK_THAT(message("{'descr': '<f4', 'shape': (1,), }", 4), Contains("is not {'descr'"));
  CHECK_THAT(message("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4), Contains("is not"));
  CHECK_THAT(message("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4), Contains("is not {'descr'"));
  std::string cut = npy(kFloats, "");
  cut.resize(20);
  CHECK_THAT(error_of(parse_npy(cut)), Contains("past the end"));
  for (std::size_t length = 0; length < 70; ++length) CHECK_FALSE(parse_npy(npy(kFloats, bytes_of<float>({1})).substr(0, length)));
}

TEST_CASE("npz archives round trip and widen what NumPy lacks", "[npz]") {
  const Folder folder;
  const fs::path path = folder.path / "out.npz";
  Tensor small = Tensor::zeros(DType::int4, {3});
  for (int i = 0; i < 3; ++i) small.set_from_int64(i, i - 2);
  Tensor brain = Tensor::zeros(DType::bfloat16, {2});
  brain.set_from_double(1, -1.5);
  const std::vector<std::pair<std::string, Tensor>> arrays = {
      {"a/../b", Tensor::of<float>({2, 2}, std::vector<float>{1, 2, 3, 4})}, {"n", small}, {"z", brain},
      {"empty", Tensor::zeros(DType::int64, {0, 4})}};
  REQUIRE(write_npz(path, arrays));
  auto back = read_arrays(path);
  INFO((back ? "" : back.error().message));
  REQUIRE(back);
  REQUIRE(back->size() == 4);
  CHECK((*back)[0].first == "a/../b");
  CHECK((*back)[0].second.same_bits(arrays[0].second));
  CHECK((*back)[1].second.dtype() == DType::int8);
  CHECK((*back)[1].second.as_int64s() == std::vector<std::int64_t>{-2, -1, 0});
  CHECK((*back)[2].second.dtype() == DType::float32);
  CHECK((*back)[2].second.as_floats() == std::vector<float>{0, -1.5f});
  CHECK((*back)[3].second.dims() == Dims{0, 4});
  CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);

  std::ifstream first(path, std::ios::binary);
  const std::string once((std::istreambuf_iterator<char>(first)), {});
  REQUIRE(write_npz(path, arrays));
  std::ifstream second(path, std::ios::binary);
  CHECK(once == std::string((std::istreambuf_iterator<char>(second)), {}));
}

TEST_CASE("deflated members are read; hostile archives are refused", "[npz]") {
  using Catch::Contains;
  const Folder folder;
  const fs::path path = folder.path / "x.npz";
  const std::string content = npy(kFloats, bytes_of<float>({1, 2, 3, 4, 5, 6}));
  for (const int method : {0, 8}) {
    zip_members(path, {{"x.npy", content}}, method);
    auto arrays = read_arrays(path);
    REQUIRE(arrays);
    CHECK((*arrays)[0].first == "x");
    CHECK((*arrays)[0].second.as_floats().back() == 6);
  }
  std::ifstream in(path, std::ios::binary);
  const std::string good((std::istreambuf_iterator<char>(in)), {});
  // Any prefix, and any flipped byte, gives the arrays or an error, and nothing worse.
  for (std::size_t length = 0; length < good.size(); ++length) {
    folder.write("cut.npz", good.substr(0, length));
    INFO(good.size() - length);
    CHECK_FALSE(read_arrays(folder.path / "cut.npz"));
  }
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x5A);
    folder.write("flip.npz", bad);
    (void)read_arrays(folder.path / "flip.npz");
  }
  // The header promises more than the member holds.
  zip_members(path, {{"x.npy", content.substr(0, content.size() - 4)}}, 8);
  CHECK_THAT(error_of(read_arrays(path)), Contains("promises"));
  zip_members(path, {{"x.npy", content}, {"x", content}}, 8);
  CHECK_THAT(error_of(read_arrays(path)), Contains("two members are named \"x\""));
  CHECK_THAT(error_of(read_arrays(folder.write("text.npz", "no archive at all"))), Contains("not an .npz"));
  // A directory that claims a terabyte for a few bytes.
  std::string bomb = good;
  const std::size_t directory = bomb.find("PK\x01\x02");
  const std::uint32_t huge = 0xFFFFFFF0u;
  std::memcpy(bomb.data() + directory + 24, &huge, 4);
  CHECK_THAT(error_of(read_arrays(folder.write("bomb.npz", bomb))), Contains("are said to unpack to"));
}

TEST_CASE("images decode to RGB", "[images]") {
  using Catch::Contains;
  const std::string gray = png_bytes(2, 1, PNG_FORMAT_GRAY, {7, 200});
  auto image = decode_image(as_span(gray), "g.png");
  REQUIRE(image);
  CHECK(image->dims() == Dims{1, 2, 3});
  CHECK(image->as_floats() == std::vector<float>{7, 7, 7, 200, 200, 200});
  const std::string alpha = png_bytes(1, 2, PNG_FORMAT_RGBA, {1, 2, 3, 0, 4, 5, 6, 255});
  image = decode_image(as_span(alpha), "a.png");
  REQUIRE(image);
  CHECK(image->dims() == Dims{2, 1, 3});
  CHECK(image->as_floats() == std::vector<float>{1, 2, 3, 4, 5, 6});
  const std::string jpeg = jpeg_bytes(9, 5, 100);
  image = decode_image(as_span(jpeg), "j.jpg");
  REQUIRE(image);
  CHECK(image->dims() == Dims{5, 9, 3});
  CHECK(image->as_floats() == std::vector<float>(135, 100.0f));
  for (const std::string& whole : {gray, alpha, jpeg}) {
    for (std::size_t length = 0; length + 2 < whole.size(); ++length) {
      const std::string cut = whole.substr(0, length);
      CHECK_FALSE(decode_image(as_span(cut), "cut"));
    }
  }
  CHECK_THAT(error_of(decode_image(as_span("GIF89a"), "dir/x.gif")), Contains("dir/x.gif") && Contains("neither a JPEG nor a PNG"));
  std::string wide = png_bytes(2, 1, PNG_FORMAT_GRAY, {7, 200});
  wide[16] = 0x0F;  // the width's high byte: the header's checksum no longer fits either
  CHECK_FALSE(decode_image(as_span(wide), "wide.png"));
}

TEST_CASE("tables: quotes, line ends, and lines that do not fit", "[csv]") {
  using Catch::Contains;
  auto table = parse_csv("\xEF\xBB\xBF" "file,label\r\n\"a,\"\"b\"\"\",3\r\n\nc,4", "t.csv");
  REQUIRE(table);
  CHECK(table->header == std::vector<std::string>{"file", "label"});
  CHECK(table->rows == std::vector<std::vector<std::string>>{{"a,\"b\"", "3"}, {"c", "4"}});
  CHECK(table->column("label") == 1);
  CHECK(table->column("none") == -1);
  CHECK_THAT(error_of(parse_csv("a,b\n1,2\n1", "t.csv")), Contains("line 3") && Contains("1 fields"));
  CHECK_THAT(error_of(parse_csv("a,b\n\"1,2\n", "t.csv")), Contains("line 2") && Contains("never closed"));
  CHECK_THAT(error_of(parse_csv("\n", "t.csv")), Contains("empty"));
}

TEST_CASE("descriptions are strict", "[description]") {
  using Catch::Contains;
  const auto message = [](std::string_view inner, std::string_view rest = "") {
    return error_of(parse_description(
        fmt::format(R"({{"format":"bevel-data/1","inputs":{{"x":{}}}{}}})", inner, rest), "d.json"));
  };
  const auto step = [&](std::string_view text) {
    return message(fmt::format(R"({{"from":"a.npy","steps":[{}]}})", text));
  };
  CHECK_THAT(error_of(parse_description("{", "d.json")), Contains("not JSON"));
  CHECK_THAT(error_of(parse_description("[]", "d.json")), Contains("JSON object"));
  CHECK_THAT(error_of(parse_description(R"({"format":"bevel-data/2","inputs":{}})", "d.json")), Contains("bevel-data/1"));
  CHECK_THAT(error_of(parse_description(R"({"format":"bevel-data/1"})", "d.json")), Contains("\"inputs\" is missing"));
  CHECK_THAT(message(R"({"from":"a.npy"})", R"(,"label":"x")"), Contains("unknown key \"label\""));
  CHECK_THAT(message(R"({"from":"a.npy","from":"b.npy"})"), Contains("\"from\" appears twice"));
  CHECK_THAT(message(R"({"from":"a.npy","step":[]})"), Contains("unknown key \"step\""));
  CHECK_THAT(message(R"({"steps":[]})"), Contains("\"from\" is missing"));
  for (const char* path : {"/etc/passwd", "../a.npy", "a/../../b.npy", "a//b.npy", "a/", "", ".."}) {
    CHECK_THAT(message(fmt::format(R"({{"from":"{}"}})", path)), Contains("not a relative path inside"));
  }
  CHECK_THAT(step(R"({"blur":1})"), Contains("inputs.x.steps[0]") && Contains("unknown step \"blur\""));
  CHECK_THAT(step(R"({"divide":0})"), Contains("division by zero"));
  CHECK_THAT(step(R"({"divide":[]})"), Contains("one number per channel"));
  CHECK_THAT(step(R"({"subtract":1e300})"), Contains("beyond float32"));
  CHECK_THAT(step(R"({"crop":[0,3]})"), Contains("from 1 to"));
  CHECK_THAT(step(R"({"crop":3})"), Contains("[height, width]"));
  CHECK_THAT(step(R"({"layout":"nchw"})"), Contains("\"hwc\" or \"chw\""));
  CHECK_THAT(step(R"({"cast":"string"})"), Contains("not a dtype"));
  CHECK_THAT(step(R"({"crop":[1,1],"divide":2})"), Contains("an object of one step"));
  CHECK_THAT(message(R"({"from":"a.npy"})", R"(,"metric":"f1")"), Contains("unknown metric"));
}

TEST_CASE("steps compute what the description says", "[steps]") {
  using Catch::Contains;
  std::vector<std::uint8_t> pixels(4 * 5 * 3);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i);
  const Tensor image = Tensor::of<std::uint8_t>({4, 5, 3}, pixels);
  const auto run = [&](std::string_view text, const Tensor& sample) {
    auto parsed = parse_description(
        fmt::format(R"({{"format":"bevel-data/1","inputs":{{"x":{{"from":"a.npy","steps":{}}}}}}})", text), "d");
    REQUIRE(parsed);
    return apply_steps(sample, parsed->inputs[0].steps, "sample 0");
  };
  auto result = run(R"([{"crop":[2,2]},{"channels":"bgr"},{"subtract":[1,2,3]},{"divide":2},{"layout":"chw"}])", image);
  REQUIRE(result);
  CHECK(result->dims() == Dims{3, 2, 2});
  // Rows 1..2, columns 1..2; pixel (1, 1) is 18, 19, 20 in RGB.
  CHECK(result->as_floats() ==
        std::vector<float>{9.5f, 11, 17, 18.5f, 8.5f, 10, 16, 17.5f, 7.5f, 9, 15, 16.5f});
  // After the layout step the channels come first.
  result = run(R"([{"layout":"chw"},{"subtract":[0,100,200]}])", image);
  REQUIRE(result);
  CHECK(result->as_floats()[20] == 1 - 100);
  result = run(R"([{"layout":"chw"},{"layout":"hwc"}])", image);
  REQUIRE(result);
  CHECK(result->same_bits(image));
  CHECK(run(R"([{"cast":"int8"}])", Tensor::scalar<float>(-3.7f))->as_int64(0) == -3);
  CHECK_THAT(error_of(run(R"([{"cast":"uint8"}])", Tensor::scalar<float>(256.0f))), Contains("does not fit uint8"));
  CHECK_THAT(error_of(run(R"([{"cast":"uint8"}])", Tensor::scalar<float>(NAN))), Contains("does not fit"));
  CHECK_THAT(error_of(run(R"([{"crop":[5,5]}])", image)), Contains("larger than the image of 4 x 5"));
  CHECK_THAT(error_of(run(R"([{"subtract":[1,2]}])", image)), Contains("2 numbers") && Contains("3 channels"));
  CHECK_THAT(error_of(run(R"([{"channels":"bgr"}])", Tensor::zeros(DType::uint8, {0, 4, 3}))), Contains("empty"));
  CHECK_THAT(error_of(run(R"([{"channels":"bgr"}])", Tensor::scalar<float>(1))), Contains("3 channels"));
}

TEST_CASE("resize is ONNX Resize-18: linear, antialias, half_pixel", "[steps]") {
  // Expected values: onnx 1.23's reference evaluator on x[i] = i^2, shape [4, 5].
  std::vector<float> squares(20);
  for (std::size_t i = 0; i < 20; ++i) squares[i] = static_cast<float>(i * i);
  const Tensor image = Tensor::of<float>({4, 5}, squares);
  const auto check = [&](std::int64_t h, std::int64_t w, const std::vector<double>& expected) {
    auto result = resize(image, h, w, false, "x");
    REQUIRE(result);
    REQUIRE(result->size() >= static_cast<std::int64_t>(expected.size()));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(result->as_double(static_cast<std::int64_t>(i)) == Approx(expected[i]).epsilon(1e-5));
    }
  };
  check(2, 3, {24.59375, 38.819443, 57.90625, 162.40625, 205.06944, 252.59375});
  check(3, 2, {10.738182, 25.807272, 77.22, 119.78, 216.4291, 286.48});
  check(6, 7, {0, 0.5714286, 1.8571428, 4, 7.571429, 12, 16, 12.5, 15.928572});
  // uint8 in, uint8 out, half to even: the means of (0, 1) and (1, 2) are 0.5 and 1.5.
  auto bytes = resize(Tensor::of<std::uint8_t>({2, 2}, std::vector<std::uint8_t>{0, 1, 1, 2}), 2, 1, false, "x");
  REQUIRE(bytes);
  CHECK(bytes->dtype() == DType::uint8);
  CHECK(bytes->as_int64s() == std::vector<std::int64_t>{0, 2});
  // Channels first and last give the same picture.
  Tensor hwc = Tensor::of<float>({2, 2, 2}, std::vector<float>{0, 10, 1, 11, 2, 12, 3, 13});
  Tensor chw = Tensor::of<float>({2, 2, 2}, std::vector<float>{0, 1, 2, 3, 10, 11, 12, 13});
  CHECK(resize(hwc, 1, 1, false, "x")->as_floats() == resize(chw, 1, 1, true, "x")->as_floats());
}

TEST_CASE("data sets: an input without an axis for samples takes whole tensors, beside one that has it", "[dataset]") {
  using Catch::Contains;
  const Folder folder;
  const Tensor x = Tensor::of<float>({2, 3}, std::vector<float>{0, 1, 2, 3, 4, 5});
  const Tensor state = Tensor::of<float>({2, 2, 1}, std::vector<float>{10, 11, 12, 13});
  const Tensor rate = Tensor::of<std::int64_t>({2}, std::vector<std::int64_t>{8000, 16000});
  REQUIRE(write_npz(folder.path / "d.npz", {{"x", x}, {"state", state}, {"rate", rate}}));
  const ModelInput rows = one_input(DType::float32, {Dim::named("N"), 3})[0];
  const ModelInput layers{"state", Type::tensor(DType::float32, Shape({2, Dim::named("N")}))};
  const ModelInput scalar{"rate", Type::tensor(DType::int64, Shape(std::vector<Dim>{}))};
  auto set = open_dataset(folder.path / "d.npz", {rows, layers, scalar});
  REQUIRE(set);
  CHECK((*set)->size() == 2);
  auto sample = (*set)->sample(1);
  REQUIRE(sample);
  CHECK((*sample)[0].dims() == Dims{1, 3});
  CHECK((*sample)[1].dims() == Dims{2, 1});
  CHECK((*sample)[1].as_floats() == std::vector<float>{12, 13});
  CHECK((*sample)[2].dims().empty());
  CHECK((*sample)[2].as_int64s() == std::vector<std::int64_t>{16000});

  const ModelInput deeper{"state", Type::tensor(DType::float32, Shape({3, Dim::named("N")}))};
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", {rows, deeper})), Contains("is [2, 1]") && Contains("each is the whole tensor"));
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", {layers})), Contains("fixed batch of 2"));
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", {scalar})), Contains("is a scalar"));
}

TEST_CASE("data sets: bare archives, image folders, labels", "[dataset]") {
  using Catch::Contains;
  const Folder folder;
  const Tensor x = Tensor::of<float>({3, 2}, std::vector<float>{0, 1, 2, 3, 4, 5});
  REQUIRE(write_npz(folder.path / "d.npz", {{"x", x}, {"y", Tensor::of<std::int64_t>({3}, std::vector<std::int64_t>{7, 8, 9})}}));
  const auto inputs = one_input(DType::float32, {Dim::named("N"), 2});

  auto bare = open_dataset(folder.path / "d.npz", inputs);
  REQUIRE(bare);
  CHECK((*bare)->size() == 3);
  CHECK_FALSE((*bare)->has_labels());
  auto sample = (*bare)->sample(2);
  REQUIRE(sample);
  CHECK((*sample)[0].dims() == Dims{1, 2});
  CHECK((*sample)[0].as_floats() == std::vector<float>{4, 5});
  CHECK((*open_dataset(folder.path / "d.npz", inputs, 2))->size() == 2);
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", inputs, 0)), Contains("no samples"));
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", one_input(DType::float32, {1, 3}))), Contains("is [2]") && Contains("float[1,3]"));
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", one_input(DType::uint8, {1, 2}))), Contains("uint8"));
  CHECK_THAT(error_of(open_dataset(folder.path / "d.npz", one_input(DType::float32, {8, 2}))), Contains("fixed batch of 8"));
  CHECK_THAT(error_of(open_dataset(folder.path / "no.npz", inputs)), Contains("no.npz"));

  const auto described = [&](std::string_view from, std::string_view rest) {
    return open_dataset(folder.write("d.json", fmt::format(R"({{"format":"bevel-data/1","inputs":{{"x":{{"from":"{}"}}}}{}}})", from, rest)), inputs);
  };
  auto labelled = described("d.npz:x", R"(,"labels":"d.npz:y","metric":"top1")");
  REQUIRE(labelled);
  CHECK((*labelled)->label(1) == 8);
  CHECK((*labelled)->metric() == "top1");
  CHECK((*labelled)->content_hash() != (*bare)->content_hash());
  CHECK_THAT(error_of(described("d.npz:z", "")), Contains("no array \"z\"") && Contains("x, y"));
  CHECK_THAT(error_of(described("d.npz", "")), Contains("which array"));
  CHECK_THAT(error_of(described("d.npz:x", R"(,"labels":"d.npz:x")")), Contains("integers were expected"));
  CHECK_THAT(error_of(described("d.npz:x", R"(,"metric":"top1")")), Contains("needs \"labels\""));
  CHECK_THAT(error_of(described("*.png", "")), Contains("no file matches"));
  folder.write("short.csv", "label\n1\n2\n");
  CHECK_THAT(error_of(described("d.npz:x", R"(,"labels":"short.csv:label")")), Contains("2 labels for 3 samples"));
  CHECK_THAT(error_of(described("d.npz:x", R"(,"labels":"short.csv:class")")), Contains("no column \"class\""));
  CHECK_THAT(error_of(open_dataset(folder.path / "d.json", {{"z", inputs[0].type}})), Contains("no such input") && Contains("\"z\""));

  for (int i = 0; i < 3; ++i) {
    folder.write(fmt::format("im/{}.png", i), png_bytes(1, 1, PNG_FORMAT_GRAY, {static_cast<unsigned char>(10 * i)}));
  }
  folder.write("im/labels.csv", "file,label\n2.png,22\n0.png,0\n1.png,11\n");
  folder.write("i.json", R"({"format":"bevel-data/1","inputs":{"x":{"from":"im/*.png","steps":[{"layout":"chw"},{"cast":"float32"}]}},
                             "labels":"im/labels.csv:label"})");
  const auto image_inputs = one_input(DType::float32, {1, 3, 1, 1});
  auto images = open_dataset(folder.path / "i.json", image_inputs);
  REQUIRE(images);
  CHECK((*images)->size() == 3);
  CHECK((*images)->label(2) == 22);
  CHECK((*images)->sample(1)->at(0).as_floats() == std::vector<float>{10, 10, 10});
  folder.write("im/labels.csv", "file,label\n2.png,22\n0.png,0\n");
  CHECK_THAT(error_of(open_dataset(folder.path / "i.json", image_inputs)), Contains("no row names the file \"im/1.png\""));
  // A picture that is a link out of the folder is not followed.
  folder.write("secret.png", png_bytes(1, 1, PNG_FORMAT_GRAY, {1}));
  fs::create_directories(folder.path / "links");
  fs::create_symlink(folder.path / "secret.png", folder.path / "links/a.png");
  folder.write("l.json", R"({"format":"bevel-data/1","inputs":{"x":{"from":"links/*.png"}}})");
  CHECK_FALSE(open_dataset(folder.path / "l.json", image_inputs));
}

TEST_CASE("metrics", "[metrics]") {
  const Tensor tie = Tensor::of<float>({1, 4}, std::vector<float>{1, 3, 3, NAN});
  CHECK(argmax(tie) == 1);
  auto top1 = make_metric("top1"), top2 = make_metric("top2"), auc = make_metric("auc");
  for (auto* metric : {&*top1, &*top2}) {
    REQUIRE((*metric)->add(tie, 1));
    REQUIRE((*metric)->add(tie, 2));
    CHECK_FALSE((*metric)->add(tie, 4));
  }
  CHECK((*top1)->value() == 50);
  CHECK((*top2)->value() == 100);
  const auto score = [&](float value, std::int64_t label) { REQUIRE((*auc)->add(Tensor::scalar<float>(value), label)); };
  score(0.1f, 0), score(0.4f, 0), score(0.35f, 1), score(0.8f, 1), score(0.4f, 1);
  CHECK((*auc)->value() == Approx(4.5 / 6));
  for (const char* name : {"top0", "top", "top1x", "top01", "accuracy"}) CHECK_FALSE(make_metric(name));
  auto top4 = make_metric("top4");
  CHECK_FALSE((*top4)->add(tie, 1));  // every answer would count

  Comparison comparison;
  comparison.add(Tensor::of<float>({2}, std::vector<float>{3, 4}), Tensor::of<float>({2}, std::vector<float>{3, 4}));
  CHECK(std::isinf(comparison.sqnr_db()));
  comparison.add(Tensor::of<float>({2}, std::vector<float>{5, 0}), Tensor::of<float>({2}, std::vector<float>{5, 5.5f}));
  CHECK(comparison.sqnr_db() == Approx(10 * std::log10(50 / 30.25)));
  CHECK(comparison.agreement() == 0.5);
  CHECK(comparison.max_abs_difference() == 5.5);
  CHECK(comparison.identical() == 3);
  comparison.add(Tensor::scalar<float>(NAN), Tensor::scalar<float>(NAN));
  CHECK(std::isfinite(comparison.sqnr_db()));
  comparison.add(Tensor::scalar<float>(1), Tensor::scalar<float>(NAN));
  CHECK(comparison.sqnr_db() == -std::numeric_limits<double>::infinity());
}

TEST_CASE("the accumulator counts what the histogram counts, in any order and sharding", "[histogram]") {
  Random random(1);
  std::vector<float> values;
  for (int i = 0; i < 20000; ++i) {
    const float magnitude = std::ldexp(random.uniform(), static_cast<int>(random.below(60)) - 40);
    values.push_back(random.below(4) == 0 ? 0.0f : random.below(2) == 0 ? -magnitude : magnitude);
  }
  values.push_back(-0.0f);
  values.push_back(std::numeric_limits<float>::denorm_min());
  values.push_back(std::numeric_limits<float>::max());
  values.push_back(std::numeric_limits<float>::lowest());
  ValueStatistics expected;
  for (const float value : values) {
    expected.histogram.add(value);
    expected.minimum = std::min(expected.minimum, value);
    expected.maximum = std::max(expected.maximum, value);
  }
  Accumulator whole, first, second;
  REQUIRE(whole.add(values));
  CHECK(whole.statistics() == expected);
  const std::span<const float> all(values);
  REQUIRE(second.add(all.first(777)));
  REQUIRE(first.add(all.subspan(777)));
  first.merge(second);
  CHECK(first.statistics() == expected);
  ValueStatistics merged = second.statistics();
  Accumulator rest;
  REQUIRE(rest.add(all.subspan(777)));
  merge(merged, rest.statistics());
  CHECK(merged == expected);
  CHECK(expected.histogram.total() == values.size());

  for (const float bad : {NAN, INFINITY, -INFINITY}) CHECK_FALSE(Accumulator().add(std::vector<float>{1, bad}));
  CHECK(Accumulator().statistics() == ValueStatistics());
  Accumulator positive, negative;
  REQUIRE(positive.add(std::vector<float>{2, 3}));
  CHECK(positive.statistics().minimum == 2);
  REQUIRE(negative.add(std::vector<float>{-5, -4}));
  positive.merge(negative);
  CHECK(positive.statistics().minimum == -5);
  CHECK(positive.statistics().histogram.zeros() == 0);
  const auto bin = Histogram::bin(positive.statistics().histogram.bins().begin()->first);
  CHECK((bin.low <= 2.0f && 2.0f < bin.high && bin.low < bin.middle && bin.middle < bin.high));
}
