// Strings, n-grams, ai.onnx.ml and training steps: what ONNX's node tests leave out.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using Catch::Matchers::Contains;
using testing::Case;
using testing::parsed;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;
using Strings = std::vector<std::string>;

Tensor list(const Ints& values) { return Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values); }
Tensor floats(Dims dims, const Floats& values) { return Tensor::of<float>(std::move(dims), values); }
Tensor strings(const Strings& values) { return Tensor::of_strings({static_cast<std::int64_t>(values.size())}, values); }
Tensor bytes(const std::vector<std::uint8_t>& values) { return Tensor::of<std::uint8_t>({static_cast<std::int64_t>(values.size())}, values); }

Case at(const std::string& op, std::int64_t opset, const std::string& domain = "") {
  Case node(op);
  node.opset = opset;
  node.node.domain = domain;
  return node;
}

}  // namespace

TEST_CASE("StringNormalizer maps the case of all of Unicode, by language, and compares whole elements") {
  const auto changed = [](const std::string& action, const std::string& locale, const std::string& text) {
    return at("StringNormalizer", 10).attr("case_change_action", action).attr("locale", locale).in(strings({text})).result().strings()[0];
  };
  CHECK(changed("UPPER", "en_US", "Straße ǆ") == "STRASSE Ǆ");
  CHECK(changed("LOWER", "en_US", "ΣΊΣΥΦΟΣ I") == "σίσυφος i");
  CHECK(changed("LOWER", "tr", "I") == "ı");
  CHECK(changed("LOWER", "no such locale", "I") == "i");
  CHECK(changed("NONE", "", "ÉI") == "ÉI");
  const Strings words = {"Été", "the", "THE end", "été", ""};
  const auto without = [&](std::int64_t sensitive) {
    return at("StringNormalizer", 10).attr("is_case_sensitive", sensitive).attr("stopwords", Strings{"ÉTÉ", "The"}).in(strings(words)).result().strings();
  };
  CHECK(without(0) == Strings{"THE end", ""});
  CHECK(without(1) == words);
  const Tensor nothing = at("StringNormalizer", 10).attr("stopwords", Strings{"a"}).in(Tensor::of_strings({1, 2}, {"a", "A"})).result();
  CHECK(nothing.dims() == Dims{1, 1});
  CHECK(nothing.strings() == Strings{""});
  CHECK_THAT(at("StringNormalizer", 10).attr("case_change_action", std::string("TITLE")).in(strings({"a"})).error(), Contains("TITLE"));
  CHECK_THAT(at("StringNormalizer", 10).in(Tensor::of_strings({2, 1}, {"a", "b"})).error(), Contains("[1, C]"));
}

TEST_CASE("StringSplit at white space of any script, with limits, and of empty strings") {
  const auto split = [](const Strings& texts, const std::string& delimiter, std::int64_t most) {
    Case node = at("StringSplit", 20);
    return node.outputs(2).attr("delimiter", delimiter).attr("maxsplit", most).in(strings(texts));
  };
  CHECK(split({" a\t\u3000b\n c  "}, "", -1).result().strings() == Strings{"a", "b", "c"});
  CHECK(split({"  a b  c  ", "d"}, "", 1).result().strings() == Strings{"a", "b  c", "d", ""});
  CHECK(split({"a b", " "}, "", 0).result().strings() == Strings{"a b", ""});
  CHECK(split({"a--b--c", ""}, "--", 1).result().strings() == Strings{"a", "b--c", "", ""});
  CHECK(split({"a--b--c", ""}, "--", 1).result(1).as_int64s() == Ints{2, 0});
  CHECK(split({"ab"}, "b", std::numeric_limits<std::int64_t>::max()).result().strings() == Strings{"a", ""});
  CHECK(split({"\xFF x"}, "", -1).result().strings() == Strings{"\xFF", "x"});
  // One long row makes all of them wide: refused before it is built.
  Strings wide(2000);
  wide[0] = std::string(4000, '-');
  CHECK_THAT(split(wide, "-", -1).error(), Contains("more than"));
}

TEST_CASE("StringConcat counts the bytes that broadcasting multiplies") {
  CHECK(at("StringConcat", 20).in(Tensor::of_strings({2, 1}, {"a", "b"})).in(strings({"x", "y"})).result().strings() == Strings{"ax", "ay", "bx", "by"});
  CHECK_THAT(at("StringConcat", 20).in(Tensor::of_strings({100, 1}, Strings(100, std::string(200, 'a')))).in(strings(Strings(100, "b"))).error(), Contains("more than"));
  CHECK_THAT(at("StringConcat", 20).in(strings({"a", "b"})).in(strings({"a", "b", "c"})).error(), Contains("broadcast"));
  CHECK_THAT(at("StringConcat", 20).in(strings({"a"})).in(list({1})).error(), Contains("expected string"));
}

TEST_CASE("RegexFullMatch refuses what RE2 does and is linear in the text") {
  const auto match = [](const std::string& pattern, const Strings& texts) {
    return at("RegexFullMatch", 20).attr("pattern", pattern).in(strings(texts));
  };
  CHECK(match("(a*)*b", {std::string(5000, 'a'), std::string(5000, 'a') + "b"}).result().as_int64s() == Ints{0, 1});
  CHECK(match("é+", {"éé", "e"}).result().as_int64s() == Ints{1, 0});
  CHECK_THAT(match("(", {"a"}).error(), Contains("RE2"));
  CHECK_THAT(match("(a)\\1", {"aa"}).error(), Contains("RE2"));
  CHECK_THAT(match("((a{1000}){1000}){1000}", {"aa"}).error(), Contains("RE2"));
  CHECK_THAT(at("RegexFullMatch", 20).in(strings({"a"})).error(), Contains("pattern"));
}

namespace {

Case n_grams(const std::string& mode) {
  return at("TfIdfVectorizer", 9).attr("mode", mode).attr("min_gram_length", std::int64_t{1}).attr("max_gram_length", std::int64_t{2})
      .attr("max_skip_count", std::int64_t{1}).attr("ngram_counts", Ints{0, 2}).attr("ngram_indexes", Ints{3, 0, 1})
      .attr("weights", Floats{10, 20, 30}).attr("pool_int64s", Ints{2, 3, 2, 3});
}

}  // namespace

TEST_CASE("TfIdfVectorizer weighs by the n-gram, not by its column") {
  // 2 twice, 3 once; the pair (2, 3) once side by side and once with a skip.
  CHECK(n_grams("TF").in(list({2, 2, 3})).floats() == Floats{1, 2, 0, 2});
  CHECK(n_grams("TFIDF").in(list({2, 2, 3})).floats() == Floats{20, 60, 0, 20});
  CHECK(n_grams("IDF").in(list({2, 2, 3})).floats() == Floats{20, 30, 0, 10});
  CHECK(n_grams("TF").in(Tensor::of<std::int64_t>({2, 0}, Ints{})).result().dims() == Dims{2, 4});
  CHECK(n_grams("TF").attr("max_skip_count", std::numeric_limits<std::int64_t>::max()).in(list({2, 9, 9, 3})).floats() == Floats{1, 1, 0, 1});
}

TEST_CASE("TfIdfVectorizer refuses a pool that does not fit its lists") {
  CHECK_THAT(n_grams("TFX").in(list({2})).error(), Contains("TFX"));
  CHECK_THAT(n_grams("TF").attr("ngram_indexes", Ints{3, 0, -1}).in(list({2})).error(), Contains("-1"));
  CHECK_THAT(n_grams("TF").attr("ngram_indexes", Ints{3, std::int64_t{1} << 50, 1}).in(list({2})).error(), Contains("more than"));
  CHECK_THAT(n_grams("TF").attr("ngram_indexes", Ints{3, 0}).attr("weights", Floats{}).in(list({2})).error(), Contains("more n-grams"));
  CHECK_THAT(n_grams("TF").attr("ngram_counts", Ints{0, 9}).in(list({2})).error(), Contains("ngram_counts"));
  CHECK_THAT(n_grams("TF").attr("ngram_counts", Ints{0, 1}).in(list({2})).error(), Contains("ngram_counts"));
  CHECK_THAT(n_grams("TF").attr("weights", Floats{1}).in(list({2})).error(), Contains("1 weights"));
  CHECK_THAT(n_grams("TF").attr("min_gram_length", std::int64_t{0}).in(list({2})).error(), Contains("min_gram_length"));
  CHECK_THAT(n_grams("TF").in(strings({"a"})).error(), Contains("integers"));
}

TEST_CASE("LabelEncoder: NaN and zero keys, repeated keys, the form of opset 1") {
  const auto encoder = [] { return at("LabelEncoder", 4, "ai.onnx.ml"); };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(encoder().attr("keys_floats", Floats{nan, 0, 1, 1}).attr("values_int64s", Ints{7, 8, 9, 10}).in(floats({4}, {1, -0.0f, -nan, 2})).result().as_int64s() ==
        Ints{10, 8, 7, -1});
  CHECK(encoder().attr("keys_int64s", Ints{1}).attr("values_strings", Strings{"one"}).in(list({1, 2})).result().strings() == Strings{"one", "_Unused"});
  CHECK(at("LabelEncoder", 1, "ai.onnx.ml").attr("classes_strings", Strings{"a", "b"}).in(strings({"b", "z"})).result().as_int64s() == Ints{1, -1});
  CHECK(at("LabelEncoder", 1, "ai.onnx.ml").attr("classes_strings", Strings{"a", "b"}).attr("default_string", std::string("?")).in(list({1, 2})).result().strings() ==
        Strings{"b", "?"});
  CHECK_THAT(encoder().attr("keys_int64s", Ints{1, 2}).attr("values_int64s", Ints{1}).in(list({1})).error(), Contains("2 keys and 1 values"));
  CHECK_THAT(encoder().attr("keys_int64s", Ints{1}).in(list({1})).error(), Contains("values_"));
  CHECK_THAT(encoder().attr("keys_int64s", Ints{1}).attr("values_int64s", Ints{1}).in(strings({"a"})).error(), Contains("keys are int64"));
}

TEST_CASE("Binarizer and ArrayFeatureExtractor on integers, vectors and wrong places") {
  CHECK(at("Binarizer", 1, "ai.onnx.ml").attr("threshold", 2.0f).in(list({1, 2, 3})).result().as_int64s() == Ints{0, 0, 1});
  const auto extract = [](Tensor x, const Ints& places) { return at("ArrayFeatureExtractor", 1, "ai.onnx.ml").in(std::move(x)).in(list(places)); };
  CHECK(extract(strings({"a", "b"}), {1, 1, 0}).result().dims() == Dims{1, 3});
  CHECK(extract(strings({"a", "b"}), {1, 1, 0}).result().strings() == Strings{"b", "b", "a"});
  CHECK_THAT(extract(list({1, 2}), {2}).error(), Contains("out of range"));
  CHECK_THAT(extract(list({1, 2}), {-1}).error(), Contains("out of range"));
}

namespace {

// One tree, x[0] <= 1 ? leaf 0 : (x[1] in {5, 6} ? leaf 1 : leaf 2); and a tree of one leaf.
Case trees() {
  return at("TreeEnsemble", 5, "ai.onnx.ml").attr("n_targets", std::int64_t{2}).attr("tree_roots", Ints{0, 2})
      .attr("nodes_modes", bytes({0, 6, 0})).attr("nodes_featureids", Ints{0, 1, 0}).attr("nodes_splits", floats({3}, {1, 0, 0}))
      .attr("nodes_trueleafs", Ints{1, 1, 1}).attr("nodes_truenodeids", Ints{0, 1, 3})
      .attr("nodes_falseleafs", Ints{0, 1, 1}).attr("nodes_falsenodeids", Ints{1, 2, 3})
      .attr("leaf_targetids", Ints{0, 1, 0, 1}).attr("leaf_weights", floats({4}, {1, 2, 4, 8}))
      .attr("membership_values", floats({3}, {5, 6, std::numeric_limits<float>::quiet_NaN()}));
}
const Tensor kRows = floats({3, 2}, {1, 0, 2, 6, 2, 7});

}  // namespace

TEST_CASE("TreeEnsemble sums, averages and takes extremes of the leaves reached") {
  CHECK(trees().in(kRows).floats() == Floats{1, 8, 0, 10, 4, 8});
  CHECK(trees().attr("aggregate_function", std::int64_t{0}).in(kRows).floats() == Floats{0.5f, 4, 0, 5, 2, 4});
  CHECK(trees().attr("aggregate_function", std::int64_t{2}).in(kRows).floats() == Floats{1, 8, 0, 2, 4, 8});
  CHECK(trees().attr("aggregate_function", std::int64_t{3}).in(kRows).floats() == Floats{1, 8, 0, 8, 4, 8});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(trees().in(floats({1, 2}, {nan, nan})).floats() == Floats{4, 8});
  CHECK(trees().attr("nodes_missing_value_tracks_true", Ints{1, 0, 0}).in(floats({1, 2}, {nan, nan})).floats() == Floats{1, 8});
  const auto transformed = [](std::int64_t kind) { return trees().attr("post_transform", kind).attr("leaf_weights", floats({4}, {0.25f, 0, 0, 0.75f})).in(floats({1, 2}, {1, 0})).floats(); };
  CHECK(transformed(1)[1] == Approx(1 / (1 + std::exp(-0.5))));
  CHECK(transformed(2)[0] == Approx(1 / (1 + std::exp(-0.25))));
  CHECK(transformed(3)[1] == Approx(1 / (1 + std::exp(-0.5))));
  CHECK(transformed(4)[1] == Approx(0.6744897502));  // the upper quartile
  CHECK(transformed(4)[0] == Approx(-0.6744897502));
}

TEST_CASE("TreeEnsemble: trees share nodes and roots, each row its own way through them") {
  CHECK(trees().attr("tree_roots", Ints{1, 0, 1, 0}).in(kRows).floats() == Floats{10, 0, 0, 8, 16, 0});
  CHECK_THAT(trees().attr("tree_roots", Ints{2, 0}).attr("nodes_falseleafs", Ints{0, 0, 1}).attr("nodes_falsenodeids", Ints{1, 0, 3}).in(kRows).error(), Contains("circle"));
}

TEST_CASE("TreeEnsemble refuses circles and every index beyond its lists") {
  CHECK_THAT(trees().attr("nodes_trueleafs", Ints{0, 1, 1}).in(kRows).error(), Contains("circle"));
  CHECK_THAT(trees().attr("nodes_truenodeids", Ints{4, 1, 3}).in(kRows).error(), Contains("4 leaves"));
  CHECK_THAT(trees().attr("nodes_falsenodeids", Ints{3, 2, 3}).in(kRows).error(), Contains("3 nodes"));
  CHECK_THAT(trees().attr("nodes_falsenodeids", Ints{-1, 2, 3}).in(kRows).error(), Contains("nodes_falsenodeids"));
  CHECK_THAT(trees().attr("tree_roots", Ints{3}).in(kRows).error(), Contains("tree_roots"));
  CHECK_THAT(trees().attr("leaf_targetids", Ints{0, 2, 0, 1}).in(kRows).error(), Contains("leaf_targetids"));
  CHECK_THAT(trees().attr("nodes_featureids", Ints{0, 2, 0}).in(kRows).error(), Contains("2 features"));
  CHECK_THAT(trees().attr("nodes_splits", floats({2}, {1, 0})).in(kRows).error(), Contains("nodes_splits"));
  CHECK_THAT(trees().attr("nodes_modes", bytes({0, 7, 0})).in(kRows).error(), Contains("nodes_modes"));
  CHECK_THAT(trees().attr("membership_values", floats({2}, {5, 6})).in(kRows).error(), Contains("membership_values"));
  CHECK_THAT(trees().attr("n_targets", std::int64_t{1} << 60).in(kRows).error(), Contains("more than"));
  CHECK_THAT(trees().attr("n_targets", std::int64_t{0}).in(kRows).error(), Contains("n_targets"));
  CHECK_THAT(trees().in(floats({2}, {1, 2})).error(), Contains("rank"));
}

TEST_CASE("training steps refuse operands that do not belong together") {
  const auto step = [](const std::string& op, std::size_t operands, const Tensor& last) {
    Case node = at(op, 1, "ai.onnx.preview.training");
    node.outputs(op == "Adam" ? 3 : 2).in(Tensor::scalar(0.5f)).in(Tensor::scalar(std::int64_t{1}));
    for (std::size_t i = 0; i + 1 < operands; ++i) node.in(floats({2}, {1, 2}));
    return node.in(last);
  };
  const Tensor state = floats({2}, {0, 3});
  // H' = {1, 7}; x' = x - r * g / (sqrt(H') + epsilon).
  CHECK(step("Adagrad", 3, state).floats(1) == Floats{1, 7});
  CHECK(step("Adagrad", 3, state).floats(0)[1] == Approx(2 - 0.5 * 2 / (std::sqrt(7.0) + 1e-6)));
  CHECK_THAT(step("Adagrad", 3, floats({1}, {0})).error(), Contains("[1]"));
  CHECK_THAT(step("Adagrad", 4, state).error(), Contains("multiple of 3"));
  CHECK_THAT(step("Adam", 5, state).error(), Contains("multiple of 4"));
  CHECK_THAT(step("Momentum", 3, state).error(), Contains("alpha"));
  CHECK_THAT(step("Adagrad", 3, list({1, 2})).error(), Contains("int64"));
}

TEST_CASE("a model of other domains alone needs no version of ONNX's own") {
  const std::string text = R"(<ir_version: 8, opset_import: ["ai.onnx.ml" : 1]> g (float[N] x) => (float[?] y) { y = ai.onnx.ml.Binarizer <threshold = 0.5> (x) })";
  const auto evaluator = eval::Evaluator::create(parsed(text));
  INFO((evaluator ? std::string() : evaluator.error().message));
  REQUIRE(evaluator.has_value());
  CHECK(to_string((*evaluator)->model().graph.value((*evaluator)->model().graph.outputs()[0]).type) == "float[N]");
  const std::vector<Datum> inputs{floats({2}, {0.5f, 0.75f})};
  const auto outputs = (*evaluator)->run(inputs);
  REQUIRE(outputs.has_value());
  CHECK((*outputs)[0].tensor()->as_floats() == Floats{0, 1});
  // With an operator of ONNX's own it does.
  const std::string mixed = R"(<ir_version: 8, opset_import: ["ai.onnx.ml" : 1]> g (float[N] x) => (float[?] y) { y = Relu (x) })";
  CHECK(eval::cannot_evaluate(parsed(mixed)).has_value());
}
