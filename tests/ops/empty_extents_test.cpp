// Tensors without elements whose other extents are huge: they take no byte of a file, and a loop over those extents would never end,
// nor would memory suffice for one number for each. Every operator must see that there is nothing to do, or refuse.
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "tests/common/node_case.h"

#include "lib/eval/evaluator.h"
#include "lib/ops/op.h"

namespace {

using namespace bevel;
using testing::Case;
using Ints = std::vector<std::int64_t>;

constexpr std::int64_t kHuge = std::int64_t{1} << 40;
constexpr unsigned kSeconds = 120;  // far beyond what the cases take together, and far below what one endless loop would

Tensor empty(Dims dims, DType dtype = DType::float32) { return Tensor::zeros(dtype, std::move(dims)); }
Tensor ints(const Ints& values) { return Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values); }
Tensor ones(Dims dims) {
  Tensor tensor = Tensor::zeros(DType::float32, std::move(dims));
  for (float& value : tensor.mutable_values<float>()) value = 1;
  return tensor;
}

Case at(std::int64_t opset, std::string op, std::string domain = "") {
  Case test(std::move(op));
  test.opset = opset;
  test.node.domain = std::move(domain);
  return test;
}

// SIGALRM ends the program.
struct Deadline {
  Deadline() { alarm(kSeconds); }
  ~Deadline() { alarm(0); }
};

}  // namespace

TEST_CASE("recurrent operators without samples, or with states of nothing") {
  const Deadline deadline;
  for (const auto& [op, gates] : {std::pair("RNN", 1), std::pair("GRU", 3), std::pair("LSTM", 4)}) {
    INFO(op);
    CHECK(Case(op).in(empty({kHuge, 0, 1})).in(ones({1, gates, 1})).in(ones({1, gates, 1})).outputs(2).result().dims() ==
          Dims{kHuge, 1, 0, 1});
    CHECK(Case(op).in(empty({kHuge, 1, 0})).in(empty({1, 0, 0})).in(empty({1, 0, 0})).outputs(2).result(1).dims() == Dims{1, 1, 0});
    CHECK(Case(op).in(empty({0, kHuge, 1})).in(ones({1, gates, 1})).in(ones({1, gates, 1})).error().find("would take more") !=
          std::string::npos);
  }
}

TEST_CASE("attention without queries, or with values of nothing") {
  const Deadline deadline;
  CHECK(at(24, "Attention").in(empty({kHuge, 1, 0, 4})).in(empty({kHuge, 1, 0, 4})).in(empty({kHuge, 1, 0, 4})).result().dims() ==
        Dims{kHuge, 1, 0, 4});
  CHECK(at(28, "FlexAttention", "ai.onnx.preview").in(empty({kHuge, 1, 0, 4})).in(empty({kHuge, 1, 0, 4})).in(empty({kHuge, 1, 0, 4}))
            .result().dims() == Dims{kHuge, 1, 0, 4});
  CHECK(at(28, "LinearAttention").attr("q_num_heads", kHuge).attr("kv_num_heads", kHuge).attr("update_rule", std::string("linear"))
            .in(empty({1, 1, 0})).in(empty({1, 1, 0})).in(empty({1, 1, 0})).result().dims() == Dims{1, 1, 0});
  CHECK(at(28, "LinearAttention").attr("q_num_heads", std::int64_t{1}).attr("kv_num_heads", std::int64_t{1}).attr("update_rule", std::string("linear"))
            .in(empty({1, 0, 0})).in(empty({1, 0, 0})).in(empty({1, 0, kHuge})).result().dims() == Dims{1, 0, kHuge});
  CHECK(at(23, "RotaryEmbedding").attr("num_heads", kHuge).in(empty({1, 1, 0})).in(empty({1, 1, 0})).in(empty({1, 1, 0})).result().dims() ==
        Dims{1, 1, 0});
  CHECK(at(24, "TensorScatter").in(empty({kHuge, 0, 1})).in(empty({kHuge, 0, 1})).result().dims() == Dims{kHuge, 0, 1});
}

TEST_CASE("convolutions and normalizations of nothing") {
  const Deadline deadline;
  CHECK(at(28, "CausalConvWithState").in(empty({kHuge, 1, 0})).in(ones({1, 1, 1})).outputs(2).result(1).dims() == Dims{kHuge, 1, 0});
  CHECK(at(22, "DeformConv").attr("auto_pad", std::string("SAME_UPPER")).in(empty({kHuge, 1, 0})).in(ones({1, 1, 3})).in(empty({kHuge, 3, 0}))
            .result().dims() == Dims{kHuge, 1, 0});
  CHECK(at(23, "RMSNormalization").attr("axis", std::int64_t{1}).in(empty({kHuge, 0})).in(empty({0})).result().dims() == Dims{kHuge, 0});
}

TEST_CASE("selections and trees over nothing") {
  const Deadline deadline;
  CHECK(Case("NonMaxSuppression").in(empty({kHuge, 0, 4})).in(empty({kHuge, 1, 0})).in(ints({5})).result().dims() == Dims{0, 3});
  CHECK(Case("Unique").attr("axis", std::int64_t{0}).in(empty({4, kHuge, 0})).result().dims() == Dims{1, kHuge, 0});
  Case trees = at(5, "TreeEnsemble", "ai.onnx.ml");
  trees.attr("n_targets", std::int64_t{1} << 62).attr("nodes_modes", Tensor::zeros(DType::uint8, {1})).attr("nodes_splits", ones({1}));
  trees.attr("leaf_weights", ones({1})).attr("leaf_targetids", Ints{0}).attr("tree_roots", Ints{0}).attr("nodes_featureids", Ints{0});
  for (const char* list : {"nodes_trueleafs", "nodes_falseleafs"}) trees.attr(list, Ints{1});
  for (const char* list : {"nodes_truenodeids", "nodes_falsenodeids"}) trees.attr(list, Ints{0});
  CHECK(trees.in(empty({0, 1})).result().dims() == Dims{0, std::int64_t{1} << 62});
}

TEST_CASE("GridSample reads no more elements for an output than real images have neighbours") {
  const Deadline deadline;
  const auto sampled = [](std::size_t axes, const char* mode) {
    Dims x(axes + 2, 1), grid(axes + 1, 1);
    grid.push_back(static_cast<std::int64_t>(axes));
    return at(20, "GridSample").attr("mode", std::string(mode)).attr("padding_mode", std::string("border")).in(ones(x)).in(ones(grid));
  };
  CHECK(sampled(60, "linear").error().find("60 spatial axes") != std::string::npos);
  CHECK(sampled(9, "cubic").error().find("9 spatial axes") != std::string::npos);
  CHECK(sampled(8, "linear").floats() == std::vector<float>{1});
  CHECK(sampled(60, "nearest").floats() == std::vector<float>{1});
}

TEST_CASE("strings count against the memory for results as numbers do") {
  const Tensor names = Tensor::of_strings({2}, {"a", "b"});
  Case many("Expand");
  CHECK(many.in(Tensor::of_strings({1}, {"a"})).in(ints({kHuge})).error().find("would take more") != std::string::npos);
  Case gathered("Gather");
  CHECK(gathered.attr("axis", std::int64_t{1}).in(empty({kHuge, 0}, DType::string)).in(empty({0}, DType::int64)).result().size() == 0);
  Case reduced("ReduceMax");
  CHECK(!reduced.in(empty({1, 0, kHuge}, DType::string)).in(ints({1})).run().has_value());
  CHECK(Case("Gather").in(names).in(ints({1, 0})).result().strings() == std::vector<std::string>{"b", "a"});
}

TEST_CASE("a list longer than any may be is an error of the node that asks for it, whatever the cap") {
  constexpr std::int64_t kTooLong = std::int64_t{1} << 58;  // strings of 32 bytes take 2^63
  Case alone("Expand");
  alone.cap = UINT64_MAX;
  CHECK(alone.in(Tensor::of_strings({1}, {"a"})).in(ints({kTooLong})).error().find("the machine has no memory") == 0);
  eval::EvalOptions options;
  options.max_memory_bytes = UINT64_MAX;
  const auto evaluator = eval::Evaluator::create(testing::parsed(R"(<ir_version: 10, opset_import: ["" : 18]>
g (string[1] x, int64[1] shape) => (string[n] y) { y = Expand (x, shape) })"), options);
  REQUIRE(evaluator.has_value());
  const auto outputs = (*evaluator)->run(std::vector<Datum>{Tensor::of_strings({1}, {"a"}), ints({kTooLong})});
  REQUIRE(!outputs.has_value());
  CHECK(outputs.error().code == ExitCode::input);
  CHECK(outputs.error().message.find("(Expand)") != std::string::npos);
  CHECK(outputs.error().message.find("the machine has no memory") != std::string::npos);
}

TEST_CASE("one chain that is the path of every root is walked once per row") {
  const Deadline deadline;
  constexpr std::size_t kNodes = 200'000;  // roots x nodes: 4 * 10^10 steps
  Ints next(kNodes), leaf(kNodes, 0), roots(kNodes);
  for (std::size_t i = 0; i < kNodes; ++i) next[i] = static_cast<std::int64_t>(i + 1), roots[i] = static_cast<std::int64_t>(i);
  next.back() = 0, leaf.back() = 1;
  const auto count = static_cast<std::int64_t>(kNodes);
  Case trees = at(5, "TreeEnsemble", "ai.onnx.ml");
  trees.cap = 1 << 24;
  trees.attr("nodes_modes", Tensor::zeros(DType::uint8, {count})).attr("nodes_splits", ones({count})).attr("tree_roots", roots);
  trees.attr("leaf_weights", ones({1})).attr("leaf_targetids", Ints{0}).attr("nodes_featureids", Ints(kNodes, 0));
  for (const char* list : {"nodes_trueleafs", "nodes_falseleafs"}) trees.attr(list, leaf);
  for (const char* list : {"nodes_truenodeids", "nodes_falsenodeids"}) trees.attr(list, next);
  CHECK(trees.in(ones({2, 1})).floats() == std::vector<float>{kNodes, kNodes});
}

TEST_CASE("samples among many classes, and n-grams with many skips") {
  const Deadline deadline;
  // All weight is on the last class: a scan would take 10^6 x 10^6 steps.
  Tensor classes = Tensor::zeros(DType::float32, {1, 1'000'000});
  for (float& value : classes.mutable_values<float>()) value = -HUGE_VALF;
  classes.mutable_values<float>().back() = 0;
  Case drawn("Multinomial");
  drawn.cap = 1 << 24;
  const Tensor samples = drawn.attr("sample_size", std::int64_t{1'000'000}).in(std::move(classes)).result();
  const auto found = samples.values<std::int32_t>();
  CHECK(std::count(found.begin(), found.end(), 999'999) == 1'000'000);
  const auto grams = [](std::int64_t length, std::int64_t skips) {
    Case test = at(9, "TfIdfVectorizer");
    test.attr("mode", std::string("TF")).attr("min_gram_length", std::int64_t{1}).attr("max_gram_length", std::int64_t{2}).attr("max_skip_count", skips);
    test.attr("ngram_counts", Ints{0, 1}).attr("ngram_indexes", Ints{0, 1}).attr("pool_int64s", Ints{0, 0, 0});
    return test.in(Tensor::zeros(DType::int64, {length}));
  };
  CHECK(grams(1'000'000, INT64_MAX).error().find("look-ups") != std::string::npos);
  CHECK(grams(1'000'000, 1000).error().find("look-ups") != std::string::npos);
  CHECK(grams(100'000, 1).floats() == std::vector<float>{100'000, 199'997});
  CHECK(grams(3, INT64_MAX).floats() == std::vector<float>{3, 3});
}

TEST_CASE("an einsum of many operands") {
  const Deadline deadline;
  constexpr std::size_t kOperands = 500'000;  // the labels of all later ones, for each: 10^11
  Case test("Einsum");
  std::string equation = "a";
  for (std::size_t i = 1; i < kOperands; ++i) equation += ",a";
  for (std::size_t i = 0; i < kOperands; ++i) test.in(ones({1}));
  CHECK(test.attr("equation", equation + "->a").floats() == std::vector<float>{1});
}

TEST_CASE("pooling of images without rows") {
  const Deadline deadline;
  for (const char* op : {"MaxPool", "AveragePool"}) {
    Case pool = at(19, op);
    pool.attr("kernel_shape", Ints{1}).attr("auto_pad", std::string("SAME_UPPER")).in(empty({kHuge, 1, 0}));
    CHECK(pool.result().dims() == Dims{kHuge, 1, 0});
  }
}

// Whatever the operands: no exception, no endless loop. Most are refused; what is computed has no element or few.
TEST_CASE("every operator takes or refuses empty operands with huge extents") {
  const Deadline deadline;
  const std::vector<Dims> shapes = {{kHuge, 0}, {0, kHuge}, {kHuge, 0, 4}, {kHuge, 1, 0}, {kHuge, 0, 1, 1}, {1, kHuge, 0, 2}, {kHuge, 1, 0, 1}, {0}, {1}};
  std::size_t results = 0;
  for (const ops::OpRecord* record : ops::all_ops()) {
    if (record->evaluate == nullptr) continue;
    const std::size_t least = static_cast<std::size_t>(std::max(record->min_inputs, 1));
    const std::size_t most = record->max_inputs < 0 ? least + 2 : static_cast<std::size_t>(record->max_inputs);
    for (std::size_t count = least; count <= std::min(most, least + 2); ++count) {
      for (const DType dtype : {DType::float32, DType::int64, DType::string}) {
        for (std::size_t first = 0; first < shapes.size(); ++first) {
          for (std::size_t step = 0; step < shapes.size(); ++step) {
            Case test = at(record->domain.empty() ? ops::kNewestOpset : std::max(1, record->since), std::string(record->name), std::string(record->domain));
            for (std::size_t i = 0; i < count; ++i) test.in(empty(shapes[(first + i * step) % shapes.size()], dtype));
            if (step % 2 == 1) {  // what some operators require; others leave unread what they do not know
              test.attr("axis", std::int64_t{1}).attr("size", std::int64_t{3}).attr("num_groups", std::int64_t{1}).attr("blocksize", std::int64_t{1});
              test.attr("kernel_shape", Ints(count == 1 ? 1 : 2, 1)).attr("mode", std::string("linear")).attr("sample_size", std::int64_t{2});
              test.attr("num_heads", kHuge).attr("q_num_heads", kHuge).attr("kv_num_heads", kHuge).attr("hidden_size", std::int64_t{1});
            }
            INFO(record->name << " of " << count << " operands, first shape " << first << ", step " << step);
            bool done = true;
            try {
              const auto outputs = test.run();
              results += outputs ? 1 : 0;
              done = outputs || outputs.error().message.find("the machine has no memory") == std::string::npos;
            } catch (const std::exception&) {
              done = false;
            }
            CHECK(done);
          }
        }
      }
    }
  }
  CHECK(results > 1000);  // else nothing was tried
}
