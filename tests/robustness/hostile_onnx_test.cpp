// ONNX files that are wrong by accident or by intent: each gets a located error of exit code 5, or loads; never a crash, a
// hang, a read outside the folder or an allocation out of proportion.
#include <catch2/catch.hpp>

#include <sys/resource.h>

#include <chrono>
#include <functional>
#include <limits>

#include "tests/onnx_models.h"

using namespace bevel;
using namespace bevel::onnx;
using namespace bevel::onnx::testing;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string peak_memory() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::to_string(usage.ru_maxrss / 1024) + " MB";
}

// The graph of sample_graph() with one more part.
Writer with(const std::function<void(Writer&)>& more) {
  Writer graph = sample_graph();
  more(graph);
  return graph;
}

std::string refused(const Folder& folder, const std::function<void(Writer&)>& more) {
  return refusal(folder, flat(testing::model(with(more))));
}

std::string refused_tensor(const Folder& folder, const Writer& tensor) {
  return refused(folder, [&](Writer& graph) { graph.message(graph_field::kInitializer, tensor); });
}

// Loads or gives a located error; a model that loads must also survive export and a second import.
bool judge(const Folder& folder, std::string_view bytes) {
  const auto model = import_bytes(folder, bytes);
  if (!model) {
    if (model.error().code != ExitCode::input || !has(model.error().message, "m.onnx: ")) FAIL(model.error().message);
    return false;
  }
  if (!export_model(*model, folder.path / "o.onnx")) FAIL("a model that loaded cannot be written");
  const auto again = import_model(folder.path / "o.onnx");
  if (!again) FAIL("a written model does not load: " << again.error().message);
  std::string why;
  if (!same_model(*model, *again, &why)) FAIL("a written model differs: " << why);
  return true;
}

}  // namespace

TEST_CASE("files that are no models are called what they are") {
  const Folder folder;
  CHECK(has(refusal(folder, ""), "empty"));
  CHECK(has(refusal(folder, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "Git LFS pointer"));
  CHECK(has(refusal(folder, "<!DOCTYPE html>\n<html></html>\n"), "text file"));
  CHECK(has(refusal(folder, "{\"a\": 1}\n"), "text file"));
  CHECK(has(refusal(folder, std::string("\x08\x08", 2)), "no graph"));
  const auto missing = import_model(folder.path / "missing.onnx");
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().code == ExitCode::input);
  CHECK(has(missing.error().message, "missing.onnx"));
  CHECK_FALSE(import_model(folder.path).has_value());
}

TEST_CASE("every truncation of a model is refused or loads") {
  const Folder folder;
  const std::string whole = flat(testing::model(sample_graph()));
  std::size_t loaded = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) loaded += judge(folder, std::string_view(whole).substr(0, size));
  CHECK(loaded <= 2);  // only where a whole field at the end is missing
  CHECK(judge(folder, whole));
}

TEST_CASE("every bit flip of a model is refused or loads") {
  const Folder folder;
  const std::string whole = flat(testing::model(sample_graph()));
  std::size_t loaded = 0;
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    loaded += judge(folder, flipped);
  }
  CHECK(loaded > 0);
  CHECK(loaded < whole.size() * 8);
}

TEST_CASE("every byte replaced by 0x00, 0x7f, 0x80 and 0xff is refused or loads") {
  const Folder folder;
  const std::string whole = flat(testing::model(sample_graph()));
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const char byte : {'\x00', '\x7f', '\x80', '\xff'}) {
      std::string changed = whole;
      changed[at] = byte;
      judge(folder, changed);
    }
}

TEST_CASE("millions of empty messages are refused at once") {
  const Folder folder;
  const std::size_t count = 5'250'000;  // 10.5 MB of TensorProtos of two bytes each
  for (const std::uint32_t field : {graph_field::kInitializer, graph_field::kNode, graph_field::kInput,
                                    graph_field::kOutput, graph_field::kSparseInitializer}) {
    std::string graph;
    for (std::size_t i = 0; i < count; ++i) graph.append({static_cast<char>(field << 3 | 2), '\0'});
    Writer proto;
    proto.text(model_field::kGraph, graph);
    const auto begin = std::chrono::steady_clock::now();
    refusal(folder, flat(proto));
    CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 10.0);
  }
  Writer big;
  std::string graph;
  for (std::size_t i = 0; i < 9'000'000; ++i) graph.append({static_cast<char>(graph_field::kValueInfo << 3 | 2), '\0'});
  big.text(model_field::kGraph, graph);
  CHECK(has(refusal(folder, flat(big)), "would take more than 134217728 bytes of memory, here a GraphProto"));
  WARN("peak memory " << peak_memory());
}

TEST_CASE("deep nesting is refused") {
  const Folder folder;
  Writer graph = sample_graph();
  for (int level = 0; level < 40; ++level) {
    Writer attribute, outer, n = node("If", {}, {"o" + std::to_string(level)});
    attribute.text(attribute_field::kName, "then_branch");
    attribute.message(attribute_field::kGraph, graph);
    attribute.integer(attribute_field::kType, attribute_type::kGraph);
    n.message(node_field::kAttribute, attribute);
    outer.message(graph_field::kNode, n);
    graph = outer;
  }
  CHECK(has(refusal(folder, flat(testing::model(graph))), "nested more than"));

  Writer type = [] {
    Writer tensor, t;
    tensor.integer(type_field::kElemType, 1);
    t.message(type_field::kTensor, tensor);
    return t;
  }();
  for (int level = 0; level < 100000; ++level) {  // a whole megabyte of it must not reach the stack
    Writer sequence, outer;
    if (type.size() > 20000) break;
    sequence.message(type_field::kElemType, type);
    outer.message(type_field::kSequence, sequence);
    type = outer;
  }
  Writer info;
  info.text(value_info_field::kName, "s");
  info.message(value_info_field::kType, type);
  CHECK(has(refused(folder, [&](Writer& g) { g.message(graph_field::kInput, info); }), "nested more than"));
}

TEST_CASE("captures that multiply through nested graphs stay below the cap") {
  const Folder folder;
  // 20 graphs within each other, the innermost reading 16,000 outer values: 320,000 captures from a 200 KB file.
  Writer innermost, outer;
  Names inputs;
  for (int i = 0; i < 16000; ++i) inputs.push_back(std::to_string(i));
  innermost.message(graph_field::kNode, node("Sum", inputs, {"s"}));
  Writer graph = innermost;
  for (int level = 0; level < 20; ++level) {
    Writer attribute, next, n = node("If", {}, {"o" + std::to_string(level)});
    attribute.text(attribute_field::kName, "then_branch");
    attribute.message(attribute_field::kGraph, graph);
    attribute.integer(attribute_field::kType, attribute_type::kGraph);
    n.message(node_field::kAttribute, attribute);
    next.message(graph_field::kNode, n);
    graph = next;
  }
  graph.message(graph_field::kNode, node("Split", {}, inputs));
  CHECK(has(refusal(folder, flat(testing::model(graph))), "more than 300000 values"));
}

TEST_CASE("tensors whose size or data lie are refused") {
  const Folder folder;
  const auto refused_as = [&](const Writer& tensor, std::string_view part) {
    const std::string message = refused_tensor(folder, tensor);
    INFO(message);
    CHECK(has(message, part));
    CHECK(has(message, "initializer 't'"));
  };
  const std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  refused_as(raw_tensor("t", 1, {3}, std::string(8, 'x')), "holds 8 bytes of data; float[3] needs 12");
  refused_as(raw_tensor("t", 1, {3}, std::string(13, 'x')), "holds 13 bytes");
  refused_as(raw_tensor("t", 1, {huge, huge}, "x"), "more elements");
  refused_as(raw_tensor("t", 1, {huge}, "x"), "more bytes");
  refused_as(raw_tensor("t", 22, {huge}, "x"), "more bytes");
  refused_as(raw_tensor("t", 1, {1ll << 40}, "x"), "holds 1 bytes");
  refused_as(tensor_head("t", 1, {1ll << 40}), "holds 0 bytes");
  refused_as(tensor_head("t", 8, {1ll << 40}), "holds 0 strings");
  refused_as(raw_tensor("t", 1, {-1}, ""), "dimension of -1");
  refused_as(raw_tensor("t", 1, std::vector<std::int64_t>(65, 1), "xxxx"), "more than 64 dimensions");
  refused_as(raw_tensor("t", 0, {1}, "x"), "element type is number 0");
  refused_as(raw_tensor("t", 27, {1}, "x"), "element type is number 27");
  refused_as(raw_tensor("t", -1, {1}, "x"), "element type is number -1");
  refused_as(raw_tensor("t", 8, {1}, "x"), "strings as raw_data");
  Writer twice = raw_tensor("t", 1, {1}, "xxxx");
  twice.real(tensor_field::kFloatData, 1.0f);
  refused_as(twice, "twice");
  Writer wrong = tensor_head("t", 1, {1});
  wrong.integer(tensor_field::kInt64Data, 1);
  refused_as(wrong, "expected float_data");
  Writer few = tensor_head("t", 7, {1ll << 40});
  few.text(tensor_field::kInt64Data, std::string(3, '\1'));
  refused_as(few, "holds 3 numbers");
  Writer cut = tensor_head("t", 7, {1});
  cut.text(tensor_field::kInt64Data, std::string("\x01\x80", 2));
  refused_as(cut, "cut off");
  Writer odd = tensor_head("t", 1, {1});
  odd.text(tensor_field::kFloatData, std::string(5, '\1'));
  refused_as(odd, "5 bytes");
  Writer segment = raw_tensor("t", 1, {1}, "xxxx");
  segment.text(tensor_field::kSegment, "");
  refused_as(segment, "segments");
}

TEST_CASE("external data outside the folder or the file is refused") {
  const Folder folder;
  fs::create_directory(folder.path / "sub");
  put(folder.path / "w.bin", std::string(16, 'a'));
  put(folder.path.parent_path() / (folder.path.filename().string() + ".secret"), std::string(16, 's'));
  const std::string secret = folder.path.filename().string() + ".secret";
  fs::create_symlink("../" + secret, folder.path / "link.bin");
  fs::create_directory_symlink("/", folder.path / "root");
  const auto refused_as = [&](const std::vector<std::pair<std::string, std::string>>& entries, std::string_view part) {
    const std::string message = refused_tensor(folder, external_tensor("t", {4}, entries));
    INFO(message);
    CHECK(has(message, part));
  };
  refused_as({{"location", "../" + secret}}, "'..'");
  refused_as({{"location", "sub/../../" + secret}}, "'..'");
  refused_as({{"location", (folder.path / "w.bin").string()}}, "absolute");
  refused_as({{"location", "link.bin"}}, "symbolic link");
  refused_as({{"location", "root/etc/passwd"}}, "symbolic link");
  refused_as({{"location", "sub"}}, "regular file");
  refused_as({{"location", "none.bin"}}, "none.bin");
  refused_as({{"location", ""}}, "no location");
  refused_as({}, "no location");
  refused_as({{"location", std::string("w.bin\0", 6)}}, "zero byte");
  refused_as({{"location", "w.bin"}, {"offset", "1"}}, "only 16 bytes");
  refused_as({{"location", "w.bin"}, {"offset", "17"}}, "only 16 bytes");
  refused_as({{"location", "w.bin"}, {"offset", "18446744073709551608"}}, "only 16 bytes");
  refused_as({{"location", "w.bin"}, {"offset", "-1"}}, "whole number");
  refused_as({{"location", "w.bin"}, {"offset", "1e1"}}, "whole number");
  refused_as({{"location", "w.bin"}, {"offset", "99999999999999999999"}}, "whole number");
  refused_as({{"location", "w.bin"}, {"length", "15"}}, "needs 16");
  refused_as({{"location", "w.bin"}, {"length", "18446744073709551615"}}, "needs 16");
  Writer both = external_tensor("t", {4}, {{"location", "w.bin"}});
  both.text(tensor_field::kRawData, std::string(16, 'x'));
  CHECK(has(refused_tensor(folder, both), "as well"));
  fs::remove(folder.path.parent_path() / secret);
}

TEST_CASE("graphs that cannot be are refused, by name") {
  const Folder folder;
  const auto add_node = [](Writer n) {
    return [n](Writer& graph) { graph.message(graph_field::kNode, n); };
  };
  CHECK(has(refused(folder, add_node(node("Neg", {"ghost"}, {"q"}, "n"))), "node 'n' (Neg): input 0 is 'ghost'"));
  CHECK(has(refused(folder, add_node(node("Neg", {"x"}, {"h"}, "n"))), "'h' is defined twice"));
  CHECK(has(refused(folder, add_node(node("Neg", {"x"}, {"x"}, "n"))), "'x' is defined twice: as a graph input"));
  CHECK(has(refused(folder, add_node(node("Neg", {"x"}, {"w"}, "n"))), "'w' is defined twice: as an initializer"));
  CHECK(has(refused(folder, add_node(node("", {"x"}, {"q"}, "n"))), "no op_type"));
  CHECK(has(refused(folder, add_node(node("Neg", {"loop"}, {"loop"}, "n"))), "cycle"));
  CHECK(has(refused(folder, [](Writer& graph) {
    graph.message(graph_field::kNode, node("Neg", {"b2"}, {"b1"}, "n1"));
    graph.message(graph_field::kNode, node("Neg", {"b1"}, {"b2"}, "n2"));
  }), "cycle"));
  CHECK(has(refused(folder, [](Writer& graph) { graph.message(graph_field::kOutput, value_info("ghost")); }),
            "graph output 'ghost'"));
  CHECK(has(refused(folder, [](Writer& graph) { graph.message(graph_field::kOutput, value_info("z")); }), "listed twice"));
  CHECK(has(refused(folder, [](Writer& graph) { graph.message(graph_field::kInput, value_info("x")); }), "defined twice"));
  CHECK(has(refused_tensor(folder, raw_tensor("", 1, {1}, "xxxx")), "no name"));
  CHECK(has(refused(folder, [](Writer& graph) {
    graph.message(graph_field::kInitializer, raw_tensor("x", 6, {2}, "xxxxxxxx"));
  }), "x"));  // an int32 default for a float input
  CHECK(has(refused(folder, [](Writer& graph) {
    Writer n = node("Neg", {"x"}, {"q"}, "n"), attribute;
    attribute.text(attribute_field::kName, "a");
    attribute.integer(attribute_field::kInt, 1);
    attribute.integer(attribute_field::kType, attribute_type::kInt);
    n.message(node_field::kAttribute, attribute);
    n.message(node_field::kAttribute, attribute);
    graph.message(graph_field::kNode, n);
  }), "'a' is given twice"));
  const std::string shown = refused(folder, add_node(node("Neg", {"g\x1b[31m\xff"}, {"q"}, "n\n")));
  CHECK(has(shown, "g\\x1b[31m\\xff"));
  CHECK(has(shown, "n\\x0a"));
}

TEST_CASE("a name above the cap is refused, and a message is short") {
  const Folder folder;
  const std::string message = refused(folder, [](Writer& graph) {
    graph.message(graph_field::kNode, node("Neg", {"x"}, {std::string(70000, 'q')}));
  });
  CHECK(has(message, "a name in a NodeProto is 70000 bytes long"));
  const std::string long_name = refused(folder, [](Writer& graph) {
    graph.message(graph_field::kNode, node("Neg", {std::string(60000, 'q')}, {"o"}));
  });
  CHECK(long_name.size() < 1000);
}

TEST_CASE("caps are raised and lowered by name") {
  const Folder folder;
  const auto import_under = [&](const char* limits) {
    const auto parsed = parse_limits(limits);
    REQUIRE(parsed);
    ImportOptions options;
    options.limits = *parsed;
    return import_model(folder.path / "m.onnx", options);
  };
  put(folder.path / "m.onnx", flat(testing::model(sample_graph())));
  CHECK(import_under(""));
  CHECK(import_under("nodes=4,rank=1,operands=2"));
  const auto refused_under = [&](const char* limits, std::string_view part) {
    const auto model = import_under(limits);
    REQUIRE_FALSE(model);
    INFO(model.error().message);
    CHECK(model.error().code == ExitCode::input);
    CHECK(has(model.error().message, part));
  };
  refused_under("nodes=3", "more than 3 nodes");
  refused_under("nesting=3", "nested more than 3 deep");
  refused_under("messages=5", "more than 5 messages");
  refused_under("skeleton=100", "more than 100 bytes");
  refused_under("decoded=1K", "more than 1024 bytes of memory");
  refused_under("values=2", "more than 2 values");
  refused_under("operands=1", "more than 1 inputs, outputs or attributes");
  refused_under("name=4", "expected at most 4");

  Writer many = sample_graph(), wide = node("Sum", {}, {"q"});
  for (int i = 0; i < 20000; ++i) wide.text(node_field::kInput, "x");
  many.message(graph_field::kNode, wide);
  put(folder.path / "m.onnx", flat(testing::model(many)));
  refused_under("", "more than 16384 inputs");
  CHECK(import_under("operands=20K"));

  Writer numbers = tensor_head("t", 7, {1000});
  numbers.text(tensor_field::kInt64Data, std::string(1000, '\1'));
  put(folder.path / "m.onnx", flat(testing::model(with([&](Writer& g) { g.message(graph_field::kInitializer, numbers); }))));
  CHECK(import_under("lists=8K"));
  refused_under("lists=4K", "the numbers that are not raw data would take more than");

  const auto wrong = [](std::string_view text, std::string_view part) {
    const auto parsed = parse_limits(text);
    REQUIRE_FALSE(parsed);
    INFO(parsed.error().message);
    CHECK(parsed.error().code == ExitCode::usage);
    CHECK(has(parsed.error().message, part));
  };
  wrong("node=3", "there is no limit 'node' (did you mean 'nodes'?)");
  wrong("nodes", "expected nodes=N");
  wrong("nodes=", "expected nodes=N");
  wrong("nodes=0", "at least 1");
  wrong("nodes=-1", "expected nodes=N");
  wrong("nodes=1X", "expected nodes=N");
  wrong("nodes=99999999999999999999", "expected nodes=N");
  wrong("nodes=99999999999999999G", "expected nodes=N");
  wrong("nesting=1001", "at most 1000");
  wrong("nodes=1,nodes=2", "given twice");
  wrong("no\x1b[31m=1", "no\\x1b[31m");
  CHECK(parse_limits("nodes=2M")->max_nodes == 2'000'000);
  CHECK(parse_limits("decoded=2M,trips=5")->max_decoded_bytes == 2u << 20);
}

TEST_CASE("docs/limits.md has every limit with its default") {
  const std::string page = get(fs::path(BEVEL_SOURCE_DIR) / "docs" / "limits.md");
  REQUIRE_FALSE(page.empty());
  const Limits defaults;
  for (const LimitRecord& limit : all_limits()) {
    INFO(limit.name);
    CHECK(has(page, fmt::format("| `{}` | {} | {}", limit.name, defaults.*limit.field, limit.what)));
  }
}
