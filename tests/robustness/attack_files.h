// Files made to hurt: 64 MiB of whatever a decoder turns into much more, graphs that make inference, folding or evaluation explode,
// names that collide. Each is a function that builds the bytes, so that none of them lies in the repository.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/onnx_models.h"

namespace bevel::onnx::testing {

constexpr std::size_t kAttackBytes = std::size_t{64} << 20;

struct Attack {
  std::string name;
  std::function<std::string()> make;
};

// One field of wire type 2 around `content`.
inline std::string wrapped(std::uint32_t number, std::string_view content) {
  Writer writer;
  writer.tag(number, Wire::bytes);
  writer.varint(content.size());
  std::string out = writer.bytes();
  out += content;
  return out;
}

inline std::string repeated(std::string_view unit, std::size_t bytes) {
  std::string out;
  out.reserve(bytes + unit.size());
  while (out.size() < bytes) out += unit;
  return out;
}

inline std::string numbered(std::size_t bytes, const std::function<std::string(std::size_t)>& unit) {
  std::string out;
  out.reserve(bytes + 1024);
  for (std::size_t i = 0; out.size() < bytes; ++i) out += unit(i);
  return out;
}

// A whole model around a graph's fields, or around `more` fields of the model itself.
inline std::string model_around(std::string_view graph_fields, std::string_view more = {}, int opset = 13) {
  Writer writer, import;
  writer.integer(model_field::kIrVersion, 8);
  import.integer(opset_field::kVersion, opset);
  writer.message(model_field::kOpsetImport, import);
  return writer.bytes() + wrapped(model_field::kGraph, graph_fields) + std::string(more);
}

inline std::string small_node(std::string_view op, std::string_view input, std::string_view output, std::string_view more = {}) {
  std::string fields;
  if (!input.empty()) fields += wrapped(node_field::kInput, input);
  if (!output.empty()) fields += wrapped(node_field::kOutput, output);
  fields += wrapped(node_field::kOpType, op);
  fields += more;
  return wrapped(graph_field::kNode, fields);
}

inline std::string graph_value(std::uint32_t field, const std::string& name, int dtype = 1, const std::vector<std::int64_t>& dims = {2}) {
  return wrapped(field, value_info(name, dtype, dims).bytes());
}

inline std::string ints_tensor(const std::string& name, const std::vector<std::int64_t>& values) {
  const std::string_view raw(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::int64_t));
  return wrapped(graph_field::kInitializer, flat(raw_tensor(name, 7, {static_cast<std::int64_t>(values.size())}, raw)));
}

inline std::string scalar_tensor(const std::string& name, std::int64_t value) {
  const std::string_view raw(reinterpret_cast<const char*>(&value), sizeof value);
  return wrapped(graph_field::kInitializer, flat(raw_tensor(name, 7, {}, raw)));
}

inline std::string attribute_of_int(const std::string& name, std::int64_t value) {
  Writer writer;
  writer.text(attribute_field::kName, name);
  writer.integer(attribute_field::kInt, value);
  writer.integer(attribute_field::kType, attribute_type::kInt);
  return wrapped(node_field::kAttribute, writer.bytes());
}

inline std::string typed_attribute(const std::string& name, std::int64_t type, std::string_view fields) {
  Writer writer;
  writer.text(attribute_field::kName, name);
  writer.integer(attribute_field::kType, type);
  return wrapped(node_field::kAttribute, writer.bytes() + std::string(fields));
}

inline std::string base36(std::size_t i) {
  std::string text;
  do {
    text += "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 36];
    i /= 36;
  } while (i > 0);
  return text;
}

// Node inputs by name, several of them.
inline std::string many_inputs(const std::string& op, const Names& inputs, const std::string& output, std::string_view attributes = {}) {
  return wrapped(graph_field::kNode, node(op, inputs, {output}).bytes() + std::string(attributes));
}

// --- the wire format -----------------------------------------------------------------------------------------------
inline std::vector<Attack> wire_attacks() {
  std::vector<Attack> attacks;
  const auto empties = [&](const std::string& name, std::uint32_t number, std::vector<std::uint32_t> parents) {
    attacks.push_back({"empty_" + name, [=] {
      std::string body = repeated(wrapped(number, ""), kAttackBytes - 64);
      for (auto parent = parents.rbegin(); parent != parents.rend(); ++parent) body = wrapped(*parent, body);
      return body;
    }});
  };
  constexpr std::uint32_t g = model_field::kGraph, n = graph_field::kNode, a = node_field::kAttribute, t = graph_field::kInitializer;
  empties("graphs", g, {});
  empties("opsets", model_field::kOpsetImport, {});
  empties("metadata", model_field::kMetadataProps, {});
  empties("functions", model_field::kFunctions, {});
  empties("trainings", model_field::kTrainingInfo, {});
  empties("nodes", n, {g});
  empties("initializers", t, {g});
  empties("inputs", graph_field::kInput, {g});
  empties("outputs", graph_field::kOutput, {g});
  empties("value_infos", graph_field::kValueInfo, {g});
  empties("sparse_initializers", graph_field::kSparseInitializer, {g});
  empties("annotations", graph_field::kQuantizationAnnotation, {g});
  empties("node_inputs", node_field::kInput, {g, n});
  empties("node_outputs", node_field::kOutput, {g, n});
  empties("attributes", a, {g, n});
  empties("strings", attribute_field::kStrings, {g, n, a});
  empties("attribute_tensors", attribute_field::kTensors, {g, n, a});
  empties("attribute_graphs", attribute_field::kGraphs, {g, n, a});
  empties("types", attribute_field::kTypeProtos, {g, n, a});
  empties("string_data", tensor_field::kStringData, {g, t});
  empties("external_entries", tensor_field::kExternalData, {g, t});
  empties("raw_data", tensor_field::kRawData, {g, t});
  empties("int64_data", tensor_field::kInt64Data, {g, t});
  empties("unknown_fields", 15, {g, n});
  attacks.push_back({"known_attack_10MB_of_empty_tensors", [] {
    return wrapped(model_field::kGraph, repeated(wrapped(graph_field::kInitializer, ""), 10'500'000));
  }});
  attacks.push_back({"empty_attribute_tensors_with_type", [] {
    return model_around(small_node("Foo", "", "y", typed_attribute("t", attribute_type::kTensors,
                                                                   repeated(wrapped(attribute_field::kTensors, ""), kAttackBytes))));
  }});
  attacks.push_back({"strings_of_an_attribute", [] {
    return model_around(small_node("Foo", "", "y", typed_attribute("t", attribute_type::kStrings,
                                                                   repeated(wrapped(attribute_field::kStrings, ""), kAttackBytes))));
  }});
  attacks.push_back({"packed_ints_of_an_attribute", [] {
    return model_around(small_node("Foo", "", "y", typed_attribute("t", attribute_type::kInts,
                                                                   wrapped(attribute_field::kInts, std::string(kAttackBytes - 99, '\1')))));
  }});
  attacks.push_back({"single_ints_of_an_attribute", [] {
    return model_around(small_node("Foo", "", "y", typed_attribute("t", attribute_type::kInts, repeated(std::string("\x40\1", 2), kAttackBytes - 99))));
  }});
  attacks.push_back({"single_floats_of_an_attribute", [] {
    return model_around(small_node("Foo", "", "y", typed_attribute("t", attribute_type::kFloats, repeated(std::string("\x3d\0\0\0\0", 5), kAttackBytes - 99))));
  }});
  attacks.push_back({"int64_data_of_one_byte_each", [] {
    const std::int64_t count = static_cast<std::int64_t>(kAttackBytes) - 99;
    Writer tensor = tensor_head("w", 7, {count});
    return model_around(wrapped(graph_field::kInitializer, tensor.bytes() + wrapped(tensor_field::kInt64Data, std::string(static_cast<std::size_t>(count), '\1'))));
  }});
  attacks.push_back({"int32_data_for_int32", [] {
    const std::int64_t count = static_cast<std::int64_t>(kAttackBytes) - 99;
    Writer tensor = tensor_head("w", 6, {count});
    return model_around(wrapped(graph_field::kInitializer, tensor.bytes() + wrapped(tensor_field::kInt32Data, std::string(static_cast<std::size_t>(count), '\1'))));
  }});
  attacks.push_back({"unpacked_int64_data", [] {
    const std::int64_t count = static_cast<std::int64_t>(kAttackBytes) / 2 - 99;
    Writer tensor = tensor_head("w", 7, {count});
    return model_around(wrapped(graph_field::kInitializer, tensor.bytes() + repeated(std::string("\x38\1", 2), static_cast<std::size_t>(count) * 2)));
  }});
  attacks.push_back({"a_tensor_of_empty_strings", [] {
    const std::int64_t count = static_cast<std::int64_t>(kAttackBytes) / 2 - 99;
    Writer tensor = tensor_head("w", 8, {count});
    return model_around(wrapped(graph_field::kInitializer, tensor.bytes() + repeated(wrapped(tensor_field::kStringData, ""), static_cast<std::size_t>(count) * 2)));
  }});
  attacks.push_back({"dimensions_without_end", [] {
    return model_around(wrapped(graph_field::kInitializer, wrapped(tensor_field::kDims, std::string(kAttackBytes - 99, '\1'))));
  }});
  attacks.push_back({"a_shape_without_end", [] {
    const std::string shape = wrapped(type_field::kShape, repeated(wrapped(type_field::kDim, ""), kAttackBytes - 99));
    return model_around(wrapped(graph_field::kInput, wrapped(value_info_field::kName, "x") +
                                                         wrapped(value_info_field::kType, wrapped(type_field::kTensor, shape))));
  }});
  attacks.push_back({"shapes_of_unknown_dimensions", [] {
    const std::string shape = wrapped(type_field::kShape, repeated(wrapped(type_field::kDim, ""), 128));
    const std::string type = wrapped(value_info_field::kType, wrapped(type_field::kTensor, std::string("\x08\x01") + shape));
    return model_around(numbered(kAttackBytes, [&](std::size_t i) {
      return wrapped(graph_field::kInput, wrapped(value_info_field::kName, base36(i)) + type);
    }));
  }});
  attacks.push_back({"deep_graphs", [] {
    std::string graph;
    for (int level = 0; level < 100'000 && graph.size() < 200'000; ++level)
      graph = small_node("If", "", "o" + base36(static_cast<std::size_t>(level)),
                         typed_attribute("then_branch", attribute_type::kGraph, wrapped(attribute_field::kGraph, graph)));
    return model_around(graph);
  }});
  attacks.push_back({"deep_sequences_of_types", [] {
    std::string type;
    while (type.size() < 200'000) type = wrapped(type_field::kSequence, wrapped(type_field::kElemType, type));
    return model_around(wrapped(graph_field::kInput, wrapped(value_info_field::kName, "x") + wrapped(value_info_field::kType, type)));
  }});
  return attacks;
}

// --- sound messages, many of them ----------------------------------------------------------------------------------
// `bytes`: how much of it; below the caps such a file loads, and must do so in time.
inline std::vector<Attack> crowd_attacks(std::size_t bytes, const std::string& suffix) {
  std::vector<Attack> attacks;
  const auto add = [&](const std::string& name, std::function<std::string()> make) { attacks.push_back({name + suffix, std::move(make)}); };
  const std::string x = graph_value(graph_field::kInput, "x");
  add("chain_of_nodes", [=] {
    return model_around(x + numbered(bytes, [](std::size_t i) { return small_node("Neg", i == 0 ? "x" : base36(i - 1), base36(i)); }));
  });
  add("chain_of_nodes_backwards", [=] {
    std::vector<std::string> nodes;
    std::size_t size = 0;
    while (size < bytes) {
      nodes.push_back(small_node("Neg", nodes.empty() ? "x" : base36(nodes.size() - 1), base36(nodes.size())));
      size += nodes.back().size();
    }
    std::string graph = x;
    for (auto at = nodes.rbegin(); at != nodes.rend(); ++at) graph += *at;
    return model_around(graph);
  });
  add("a_cycle_of_nodes", [=] {
    std::size_t last = 0;
    std::string graph = numbered(bytes, [&](std::size_t i) { return last = i, small_node("Neg", i == 0 ? "end" : base36(i - 1), base36(i)); });
    return model_around(graph + small_node("Neg", base36(last), "end"));
  });
  add("nodes_that_read_one_value", [=] {
    return model_around(x + numbered(bytes, [](std::size_t i) { return small_node("Neg", "x", base36(i)); }));
  });
  add("nodes_without_outputs", [=] {
    return model_around(x + repeated(small_node("Neg", "x", ""), bytes));
  });
  add("one_node_with_many_inputs", [=] {
    return model_around(x + wrapped(graph_field::kNode, repeated(wrapped(node_field::kInput, "x"), bytes) +
                                                            wrapped(node_field::kOutput, "y") + wrapped(node_field::kOpType, "Sum")));
  });
  add("one_node_with_many_outputs", [=] {
    return model_around(x + wrapped(graph_field::kNode, wrapped(node_field::kInput, "x") + wrapped(node_field::kOpType, "Split") +
                                                            numbered(bytes, [](std::size_t i) { return wrapped(node_field::kOutput, base36(i)); })));
  });
  add("one_node_with_many_attributes", [=] {
    return model_around(x + small_node("Foo", "x", "y", numbered(bytes, [](std::size_t i) { return attribute_of_int(base36(i), 1); })));
  });
  add("scalar_initializers", [=] {
    return model_around(numbered(bytes, [](std::size_t i) {
      return wrapped(graph_field::kInitializer, flat(raw_tensor(base36(i), 1, {}, "abcd")));
    }));
  });
  add("inputs", [=] {
    return model_around(numbered(bytes, [](std::size_t i) { return wrapped(graph_field::kInput, wrapped(value_info_field::kName, base36(i))); }));
  });
  add("value_infos_of_nothing", [=] {
    return model_around(numbered(bytes, [](std::size_t i) { return wrapped(graph_field::kValueInfo, wrapped(value_info_field::kName, base36(i))); }));
  });
  add("opsets", [=] {
    return model_around(x, numbered(bytes, [](std::size_t i) { return wrapped(model_field::kOpsetImport, wrapped(opset_field::kDomain, base36(i))); }));
  });
  add("metadata", [=] {
    return model_around(x, numbered(bytes, [](std::size_t i) { return wrapped(model_field::kMetadataProps, wrapped(entry_field::kKey, base36(i))); }));
  });
  add("functions", [=] {
    return model_around(x, numbered(bytes, [](std::size_t i) { return wrapped(model_field::kFunctions, wrapped(function_field::kName, base36(i))); }));
  });
  add("long_names", [=] {
    return model_around(x + numbered(bytes, [](std::size_t i) { return small_node("Neg", "x", base36(i) + std::string(60'000, 'n')); }));
  });
  add("names_that_are_taken", [=] {  // a, a_1, a_2, ... are there when nodes without a name ask for the next free one
    return model_around(x + numbered(bytes, [](std::size_t i) {
      const std::string number = fmt::format("{}", i / 2 + 1);
      return i % 2 == 0 ? small_node("a", "x", "v" + number, wrapped(node_field::kName, "a_" + number)) : small_node("a", "x", "");
    }));
  });
  add("colliding_names", [=] {
    // MurmurHash64A (libstdc++'s std::hash of strings) has pairs of 16-byte blocks that cancel whatever the state: blocks
    // whose mixed words differ in the top bit only, twice in a row (Aumasson, Bernstein, "Hash-flooding DoS reloaded", 2012).
    constexpr std::uint64_t m = 0xc6a4a7935bd1e995ull;
    constexpr int kPairs = 14;
    std::uint64_t inverse = m;
    for (int i = 0; i < 6; ++i) inverse *= 2 - m * inverse;
    const auto unmixed = [&](std::uint64_t mixed) {  // mixed = ((w * m) ^ ((w * m) >> 47)) * m
      std::uint64_t word = mixed * inverse;
      word ^= word >> 47;
      return word * inverse;
    };
    const auto text = [](std::uint64_t word) { return std::string(reinterpret_cast<const char*>(&word), sizeof word); };
    std::string graph = x;
    for (std::size_t i = 0; graph.size() < bytes && i < (std::size_t{1} << kPairs); ++i) {
      std::string name;
      for (int pair = 0; pair < kPairs; ++pair) {
        const std::uint64_t first = 0x0123456789abcdefull + static_cast<std::uint64_t>(pair), second = 0x5555aaaa1234ull;
        const std::uint64_t flip = (i >> pair & 1) != 0 ? std::uint64_t{1} << 63 : 0;
        name += text(unmixed(first ^ flip)) + text(unmixed(second ^ flip));
      }
      graph += small_node("Neg", "x", name);
    }
    return model_around(graph);
  });
  add("subgraphs", [=] {
    const std::string branch = wrapped(attribute_field::kGraph, small_node("Neg", "x", "b") + graph_value(graph_field::kOutput, "b"));
    return model_around(x + graph_value(graph_field::kInput, "c", 9, {}) + numbered(bytes, [&](std::size_t i) {
      return small_node("If", "c", base36(i) + "_", typed_attribute("then_branch", attribute_type::kGraph, branch) +
                                                  typed_attribute("else_branch", attribute_type::kGraph, branch));
    }));
  });
  return attacks;
}

// --- small files that ask for much -----------------------------------------------------------------------------------
inline std::vector<Attack> graph_attacks() {
  std::vector<Attack> attacks;
  const auto add = [&](const std::string& name, std::function<std::string()> make) { attacks.push_back({name, std::move(make)}); };
  const std::string x = graph_value(graph_field::kInput, "x"), y = wrapped(graph_field::kOutput, wrapped(value_info_field::kName, "y"));
  const auto one = [=](const std::string& initializers, const std::string& op, const Names& inputs, const std::string& attributes = {},
                       int opset = 13) {
    return [=] { return model_around(x + initializers + many_inputs(op, inputs, "y", attributes) + y, {}, opset); };
  };
  const std::int64_t huge = std::int64_t{1} << 62, big = std::int64_t{1} << 40;
  add("ConstantOfShape_huge", one(ints_tensor("s", {huge, huge, huge}), "ConstantOfShape", {"s"}));
  add("ConstantOfShape_big", one(ints_tensor("s", {big}), "ConstantOfShape", {"s"}));
  add("ConstantOfShape_negative", one(ints_tensor("s", {-1}), "ConstantOfShape", {"s"}));
  add("Expand_big", one(ints_tensor("s", {big, 2}), "Expand", {"x", "s"}));
  add("Tile_big", one(ints_tensor("s", {big}), "Tile", {"x", "s"}));
  add("Tile_overflow", one(ints_tensor("s", {huge}), "Tile", {"x", "s"}));
  add("Range_big", one(scalar_tensor("a", 0) + scalar_tensor("b", huge) + scalar_tensor("c", 1), "Range", {"a", "b", "c"}));
  add("Range_of_zero_steps", one(scalar_tensor("a", 0) + scalar_tensor("b", 5) + scalar_tensor("c", 0), "Range", {"a", "b", "c"}));
  add("Pad_big", one(ints_tensor("s", {big, big}), "Pad", {"x", "s"}));
  add("Pad_overflow", one(ints_tensor("s", {huge, huge}), "Pad", {"x", "s"}));
  add("OneHot_big", one(ints_tensor("i", {1, 2}) + scalar_tensor("d", big) + ints_tensor("v", {0, 1}), "OneHot", {"i", "d", "v"}));
  add("EyeLike_big", one(ints_tensor("s", {1 << 20, 1 << 20}) + many_inputs("ConstantOfShape", {"s"}, "e"), "EyeLike", {"e"}));
  add("TopK_big", one(ints_tensor("k", {huge}), "TopK", {"x", "k"}));
  add("Gather_out_of_range", one(ints_tensor("i", {huge, -huge}), "Gather", {"x", "i"}));
  add("Reshape_wrong", one(ints_tensor("s", {-1, huge, huge}), "Reshape", {"x", "s"}));
  add("Unsqueeze_far", one(ints_tensor("s", {huge}), "Unsqueeze", {"x", "s"}));
  add("Slice_extremes", one(ints_tensor("a", {std::numeric_limits<std::int64_t>::min()}) +
                                ints_tensor("b", {std::numeric_limits<std::int64_t>::max()}) + ints_tensor("s", {std::numeric_limits<std::int64_t>::min()}) +
                                ints_tensor("c", {0}),
                            "Slice", {"x", "a", "b", "c", "s"}));
  add("Transpose_far", one("", "Transpose", {"x"}, typed_attribute("perm", attribute_type::kInts, attribute_of_int("", 0).substr(0, 0) + std::string("\x40\x7f"))));
  add("Softmax_far", one("", "Softmax", {"x"}, attribute_of_int("axis", huge)));
  add("Concat_far", one("", "Concat", {"x", "x"}, attribute_of_int("axis", -huge)));
  add("Flatten_far", one("", "Flatten", {"x"}, attribute_of_int("axis", huge)));
  add("Split_far", one(ints_tensor("s", {huge, huge}), "Split", {"x", "s"}));
  add("outer_product", [=] {
    return model_around(x + ints_tensor("s", {1 << 18, 1}) + ints_tensor("t", {1, 1 << 18}) + many_inputs("ConstantOfShape", {"s"}, "a") +
                        many_inputs("ConstantOfShape", {"t"}, "b") + many_inputs("Mul", {"a", "b"}, "y") + y);
  });
  add("MatMul_outer", [=] {
    return model_around(x + ints_tensor("s", {1 << 18, 1}) + ints_tensor("t", {1, 1 << 18}) + many_inputs("ConstantOfShape", {"s"}, "a") +
                        many_inputs("ConstantOfShape", {"t"}, "b") + many_inputs("MatMul", {"a", "b"}, "y") + y);
  });
  add("doubling_concats", [=] {  // 2^60 elements
    std::string graph = x;
    for (int i = 0; i < 60; ++i)
      graph += many_inputs("Concat", {i == 0 ? "x" : fmt::format("c{}", i - 1), i == 0 ? "x" : fmt::format("c{}", i - 1)}, fmt::format("c{}", i),
                           attribute_of_int("axis", 0));
    return model_around(graph + many_inputs("Neg", {"c59"}, "y") + y);
  });
  add("doubling_constants", [=] {  // the same from a constant, which folding could follow
    std::string graph = x + ints_tensor("c", {1, 2, 3, 4});
    for (int i = 0; i < 60; ++i)
      graph += many_inputs("Concat", {i == 0 ? "c" : fmt::format("c{}", i - 1), i == 0 ? "c" : fmt::format("c{}", i - 1)}, fmt::format("c{}", i),
                           attribute_of_int("axis", 0));
    return model_around(graph + many_inputs("Neg", {"c59"}, "y") + y);
  });
  add("adding_to_itself", [=] {  // a tree of 2^1000 leaves for who walks it without a memory
    std::string graph = x;
    for (int i = 0; i < 1000; ++i)
      graph += many_inputs("Add", {i == 0 ? "x" : fmt::format("c{}", i - 1), i == 0 ? "x" : fmt::format("c{}", i - 1)}, fmt::format("c{}", i));
    return model_around(graph + many_inputs("Neg", {"c999"}, "y") + y);
  });
  add("many_large_constants", [=] {  // 20,000 times 64 KB, each cheap by itself
    std::string graph = x + ints_tensor("s", {8192});
    Names all;
    for (int i = 0; i < 20000; ++i) {
      graph += many_inputs("ConstantOfShape", {"s"}, fmt::format("k{}", i));
      all.push_back(fmt::format("k{}", i));
    }
    return model_around(graph + many_inputs("Sum", all, "y") + y);
  });
  add("many_tiles", [=] {
    std::string graph = graph_value(graph_field::kInput, "x", 7, {1}) + ints_tensor("c", {1}) + ints_tensor("s", {8192});
    for (int i = 0; i < 20000; ++i)
      graph += many_inputs("Tile", {"c", "s"}, fmt::format("k{}", i)) + many_inputs("Add", {i == 0 ? "x" : fmt::format("a{}", i - 1), fmt::format("k{}", i)}, fmt::format("a{}", i));
    return model_around(graph + many_inputs("Neg", {"a19999"}, "y") + y);
  });
  add("Conv_of_a_huge_kernel", one(graph_value(graph_field::kInput, "v", 1, {1, 1, 1 << 15, 1 << 15}) + graph_value(graph_field::kInput, "w", 1, {1, 1, 1 << 15, 1 << 15}),
                                   "Conv", {"v", "w"},
                                   typed_attribute("pads", attribute_type::kInts, repeated(std::string("\x40\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10), 40))));
  add("MaxPool_extremes", one(graph_value(graph_field::kInput, "v", 1, {1, 1, 4, 4}), "MaxPool", {"v"},
                              typed_attribute("kernel_shape", attribute_type::kInts, repeated(std::string("\x40\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10), 20)) +
                                  typed_attribute("strides", attribute_type::kInts, std::string("\x40\0\x40\0", 4))));
  add("dimensions_that_overflow", [=] {
    return model_around(graph_value(graph_field::kInput, "x", 1, {huge, huge}) + many_inputs("Flatten", {"x"}, "y") + y);
  });
  add("Loop_of_2_63_trips", [=] {
    const std::string body = many_inputs("Identity", {"c_in"}, "c_out") + many_inputs("Identity", {"v_in"}, "v_out") +
                             graph_value(graph_field::kInput, "i", 7, {}) + graph_value(graph_field::kInput, "c_in", 9, {}) +
                             graph_value(graph_field::kInput, "v_in", 1, {2}) + graph_value(graph_field::kOutput, "c_out", 9, {}) +
                             graph_value(graph_field::kOutput, "v_out", 1, {2});
    return model_around(x + scalar_tensor("trips", std::numeric_limits<std::int64_t>::max()) +
                        wrapped(graph_field::kInitializer, flat(raw_tensor("go", 9, {}, "\1"))) +
                        many_inputs("Loop", {"trips", "go", "x"}, "y", typed_attribute("body", attribute_type::kGraph, wrapped(attribute_field::kGraph, body))) + y);
  });
  return attacks;
}

}  // namespace bevel::onnx::testing
