#include "lib/emit/amalgamate.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "lib/runtime/bevel_runtime.h"
#include "lib/support/check.h"
#include "lib/support/embedded_file.h"

namespace bevel::emit {
namespace {

constexpr std::string_view kOwnInclude = "#include \"";
constexpr std::string_view kKernelsHeader = "lib/runtime/bevel_kernels.h";

std::string_view embedded(std::string_view path) {
  for (const EmbeddedFile* file = bevel_embedded_runtime; file->path; ++file) {
    if (path == file->path) return file->text;
  }
  return {};
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Appends a file: its own includes in place and once, system includes dropped (the caller writes them), the include guard and
// the part that is not for emitted code (#ifndef BVL_EMITTED to the end) left out.
Result<void> append_file(std::string_view path, std::set<std::string, std::less<>>& done, std::string& out) {
  if (path == kKernelsHeader || !done.emplace(path).second) return {};
  const std::string_view text = embedded(path);
  if (text.empty()) return fail(ExitCode::internal, "the binary does not carry {}", path);
  const std::vector<std::string_view> lines = lines_of(text);
  const bool header = path.ends_with(".h");
  std::size_t end = lines.size();
  if (header) {  // the guard's #endif is the last line that is not empty
    while (end > 0 && lines[end - 1] != "#endif") --end;
    BEVEL_CHECK(end > 0);
    --end;
  }
  bool guard = header, blank = true;
  for (std::size_t i = 0; i < end; ++i) {
    const std::string_view line = lines[i];
    if (line == "#ifndef BVL_EMITTED") break;
    if (guard && line.starts_with("#ifndef BEVEL_")) {
      ++i;  // its #define
      guard = false;
      continue;
    }
    if (line.starts_with("#include <")) continue;
    if (line.starts_with(kOwnInclude)) {
      const std::string_view target = line.substr(kOwnInclude.size(), line.rfind('"') - kOwnInclude.size());
      BEVEL_TRY_STATUS(append_file(target, done, out));
      continue;
    }
    if (line.empty() && blank) continue;
    blank = line.empty();
    out += line;
    out += '\n';
  }
  if (!blank) out += '\n';
  return {};
}

// The anonymous enumerations of bevel_kernels.h (operations of binary, unary and reduce kernels).
std::string enumerations(const std::string& code) {
  std::string out;
  bool inside = false;
  std::string block;
  for (std::string_view line : lines_of(embedded(kKernelsHeader))) {
    if (line.starts_with("enum {")) inside = true;
    if (!inside) continue;
    block += line;
    block += '\n';
    if (line.find("};") == std::string_view::npos) continue;
    const std::size_t name = block.find("BVL_");
    const std::string prefix = block.substr(name, block.find('_', name + 4) + 1 - name);
    if (code.find(prefix) != std::string::npos) out += block + "\n";
    block.clear();
    inside = false;
  }
  return out;
}

std::string parameter_struct(bvl_kernel kernel) {
  std::string out = "typedef struct {\n";
  for (const ParamField& field : kernel_fields(kernel)) {
    out += field.type == 'f' ? "  float " : "  int32_t ";
    out += field.name;
    out += field.type == 'a' ? "[8];\n" : ";\n";
  }
  return out + "} bvl_" + bvl_kernel_name(kernel) + "_params;\n\n";
}

// One definition at file scope: a function with its comment, or anything else.
struct Block {
  std::string text;
  std::string function;  // of static inline functions: the name
};

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

bool calls(std::string_view text, std::string_view function) {
  for (std::size_t at = text.find(function); at != std::string_view::npos; at = text.find(function, at + 1)) {
    const bool starts = at == 0 || !is_word(text[at - 1]);
    if (starts && text.substr(at + function.size(), 1) == "(") return true;
  }
  return false;
}

// Splits at `static inline` functions, each with the comment in front of it; the rest stays as it is.
std::vector<Block> blocks_of(const std::string& code) {
  constexpr std::string_view kFunction = "static inline ";
  std::vector<Block> blocks(1);
  const std::vector<std::string_view> lines = lines_of(code);
  std::size_t comment = lines.size();  // where the comment that ends in the last line began
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (!lines[i].starts_with(kFunction)) {
      if (lines[i].starts_with("/*")) comment = i;
      else if (lines[i].empty() || !(comment < i && lines[i].starts_with(" *"))) comment = lines.size();
      blocks.back().text += lines[i];
      blocks.back().text += '\n';
      continue;
    }
    Block function;
    for (std::size_t k = std::min(comment, i); k < i; ++k) {
      function.text += lines[k];
      function.text += '\n';
    }
    blocks.back().text.resize(blocks.back().text.size() - function.text.size());
    const std::size_t open = lines[i].find('(');
    std::size_t start = open;
    while (start > 0 && is_word(lines[i][start - 1])) --start;
    function.function = lines[i].substr(start, open - start);
    const bool one_line = lines[i].back() == '}';
    function.text += lines[i];
    function.text += '\n';
    while (!one_line && ++i < lines.size()) {
      function.text += lines[i];
      function.text += '\n';
      if (lines[i] == "}") break;
    }
    blocks.push_back(std::move(function));
    blocks.emplace_back();
    comment = lines.size();
  }
  return blocks;
}

// Leaves out static inline functions that nothing kept calls: clang warns of them, and readers need not see them.
std::string without_unused(const std::string& code) {
  std::vector<Block> blocks = blocks_of(code);
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].function.empty() || blocks[i].text.empty()) continue;
      const bool used = std::any_of(blocks.begin(), blocks.end(), [&](const Block& other) {
        return other.function != blocks[i].function && calls(other.text, blocks[i].function);
      });
      if (!used) {
        blocks[i].text.clear();
        changed = true;
      }
    }
  }
  std::string out;
  bool blank = true;
  for (const Block& block : blocks) {
    for (std::string_view line : lines_of(block.text)) {
      if (line.empty() && blank) continue;
      blank = line.empty();
      out += line;
      out += '\n';
    }
  }
  return out;
}

}  // namespace

std::vector<ParamField> kernel_fields(bvl_kernel kernel) {
  switch (kernel) {
#define BEVEL_FIELD_I(name) {'i', #name},
#define BEVEL_FIELD_F(name) {'f', #name},
#define BEVEL_FIELD_A(name) {'a', #name},
#define BEVEL_CASE(id, NAME, name, version) \
  case BVL_KERNEL_##NAME:                   \
    return {BVL_##NAME##_FIELDS(BEVEL_FIELD_I, BEVEL_FIELD_F, BEVEL_FIELD_A)};
    BVL_KERNELS(BEVEL_CASE)
#undef BEVEL_CASE
#undef BEVEL_FIELD_I
#undef BEVEL_FIELD_F
#undef BEVEL_FIELD_A
  }
  return {};
}

Result<std::string> amalgamate_kernels(const std::vector<bvl_kernel>& kernels) {
  std::string structs, code;
  std::set<std::string, std::less<>> done;
  BEVEL_TRY_STATUS(append_file("lib/runtime/kernels/bevel_kernel_common.h", done, code));
  for (const bvl_kernel kernel : kernels) {
    const char* name = bvl_kernel_name(kernel);
    if (!name) return fail(ExitCode::internal, "kernel {} is unknown", static_cast<int>(kernel));
    BEVEL_TRY_STATUS(append_file(std::string("lib/runtime/kernels/") + name + ".c", done, code));
  }
  // The kernels' own parameters, and those of another kernel whose fields they share.
  const auto add_struct = [&](bvl_kernel kernel, const char* name) {
    const bool own = std::find(kernels.begin(), kernels.end(), kernel) != kernels.end();
    if (own || code.find(std::string("bvl_") + name + "_params") != std::string::npos) structs += parameter_struct(kernel);
  };
#define BEVEL_ADD_STRUCT(id, NAME, name, version) add_struct(BVL_KERNEL_##NAME, #name);
  BVL_KERNELS(BEVEL_ADD_STRUCT)
#undef BEVEL_ADD_STRUCT
  // Kernels stay functions of their own, never specialized for one caller: the same code, size and warnings for every model.
  constexpr std::string_view kLinkage =
      "#if defined(__GNUC__) && !defined(__clang__)\n#define BVL_LINKAGE static __attribute__((noinline, noclone))\n"
      "#else\n#define BVL_LINKAGE static\n#endif\n\n";
  return std::string(kLinkage) + structs + enumerations(code) + without_unused(code);
}

}  // namespace bevel::emit
