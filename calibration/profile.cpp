// Profiles as files. Compact and deterministic:
//
//   bevel-profile/1\n
//   {"data":"...","model":"...","samples":100}\n        hashes in hex
//   varint values, then for each, by name:
//     varint length, name; minimum and maximum as float32 bits (little-endian); varint zeros; varint bins, then for each bin
//     varint distance to the bin before (minus one after the first), varint count
//   64 hex digits: SHA-256 of everything before them
//
// A varint has 7 bits a byte, lowest first, in its shortest form. Whatever a reader meets that a writer would not have written
// is refused: two files are equal exactly when their profiles are.
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "calibration/calibration.h"
#include "lib/support/strict_json.h"
#include "lib/support/atomic_file.h"
#include "lib/support/hash.h"
#include "lib/support/mapped_file.h"

namespace bevel::calibration {
namespace {

constexpr std::string_view kMagic = "bevel-profile/1\n";
constexpr std::size_t kChecksumDigits = 64;
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 62;  // of all values counted in one histogram
constexpr std::uint32_t kBins = 1u << (32 - data::Histogram::kShift);

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  out += static_cast<char>(value);
}
void put_float(std::string& out, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(bits >> shift & 0xFF);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool varint(std::uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 63 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(bytes_.front());
      bytes_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return byte != 0 || shift == 0;
    }
    return false;
  }
  bool text(std::string& out) {
    std::uint64_t length = 0;
    if (!varint(length) || length > bytes_.size()) return false;
    out = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return true;
  }
  bool finite(float& out) {
    if (bytes_.size() < 4) return false;
    std::uint32_t bits = 0;
    for (int i = 0; i < 4; ++i) bits |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
    bytes_.remove_prefix(4);
    out = std::bit_cast<float>(bits);
    return std::isfinite(out);
  }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

bool read_value(Reader& reader, data::ValueStatistics& value) {
  std::uint64_t zeros = 0, count = 0;
  if (!reader.finite(value.minimum) || !reader.finite(value.maximum) || !reader.varint(zeros) || !reader.varint(count)) {
    return false;
  }
  // Each bin takes two bytes at least: a claim beyond that is refused before anything is allocated.
  if (zeros > kMaxCount || count > kBins || count > reader.left() / 2) return false;
  std::uint64_t total = zeros, index = 0;
  value.histogram.set_zeros(zeros);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t distance = 0, counted = 0;
    if (!reader.varint(distance) || !reader.varint(counted) || distance >= kBins) return false;
    index += distance + (i > 0);
    if (index >= kBins || counted == 0 || counted > kMaxCount - total) return false;
    if (!std::isfinite(data::Histogram::bin(static_cast<std::uint32_t>(index)).low)) return false;
    total += counted;
    value.histogram.add_to_bin(static_cast<std::uint32_t>(index), counted);
  }
  if (total == 0) return value.minimum == 0 && value.maximum == 0;
  // The extremes lie in the outermost bins.
  data::Histogram ends;
  ends.add(value.minimum);
  ends.add(value.maximum);
  for (const auto& [bin, unused] : ends.bins()) {
    if (!value.histogram.has_bin(bin)) return false;
  }
  return value.minimum <= value.maximum && (ends.zeros() == 0 || zeros > 0);
}

Result<Profile> read_header(std::string_view line, const std::string& name) {
  BEVEL_TRY(const nlohmann::json header, parse_strict_json(line, name));
  Profile profile;
  const bool sound = header.is_object() && header.size() == 3 && header.contains("model") && header["model"].is_string() &&
                     header.contains("data") && header["data"].is_string() && header.contains("samples") &&
                     header["samples"].is_number_unsigned();
  if (!sound) return fail_input("{}: the profile's header is not {{\"data\", \"model\", \"samples\"}}", name);
  profile.model_hash = header["model"].get<std::string>();
  profile.data_hash = header["data"].get<std::string>();
  profile.statistics.samples = header["samples"].get<std::uint64_t>();
  return profile;
}

std::set<std::string> hashes_of(const std::string& joined) {
  std::set<std::string> hashes;
  for (std::size_t begin = 0; begin <= joined.size();) {
    const std::size_t end = std::min(joined.find('+', begin), joined.size());
    hashes.insert(joined.substr(begin, end - begin));
    begin = end + 1;
  }
  return hashes;
}

using Visit = std::function<void(std::string name, data::ValueStatistics value)>;

// Hands over each value as it is read; the profile returned has none of them.
Result<Profile> read_values(const std::filesystem::path& path, const Visit& visit);

// Answers from values in memory, or, given a file, from what it holds of each request: most of a profile is for other recipes.
class ProfileMeasure final : public data::Measure {
 public:
  explicit ProfileMeasure(Profile profile, std::filesystem::path file = {})
      : profile_(std::move(profile)), file_(std::move(file)) {}
  Result<data::Statistics> measure(const Model& model, const data::Request& request) override {
    if (!request.moments.empty() || !request.rows.empty() || !request.channels.empty()) {
      return fail(ExitCode::usage, "the profile holds no second moments, rows or channels: they are measured on samples. Give the calibration data "
                                   "with --calib instead of the profile");
    }
    if (const std::string hash = model_hash(model); hash != profile_.model_hash) {
      return fail_input("the profile was made of another model (hash {}, this one's is {}); calibrate this model anew",
                        printable(profile_.model_hash.substr(0, 12)), hash.substr(0, 12));
    }
    if (request.max_samples && *request.max_samples < profile_.statistics.samples) {
      return fail_input("the profile sums {} samples; its first {} cannot be told apart", profile_.statistics.samples,
                        *request.max_samples);
    }
    data::Statistics statistics;
    statistics.samples = profile_.statistics.samples;
    const std::set<std::string> wanted(request.values.begin(), request.values.end());
    const auto take = [&](const std::string& name, data::ValueStatistics value) {
      if (wanted.contains(name)) statistics.values.insert_or_assign(name, std::move(value));
    };
    if (!file_.empty()) {
      BEVEL_TRY(const Profile again, read_values(file_, take));
      if (again.model_hash != profile_.model_hash || again.data_hash != profile_.data_hash)
        return fail_input("{}: the profile changed while it was in use", printable(file_.string()));
    } else {
      for (const std::string& name : wanted) {
        const auto found = profile_.statistics.values.find(name);
        if (found != profile_.statistics.values.end()) take(name, found->second);
      }
    }
    for (const std::string& name : request.values) {
      if (!statistics.values.contains(name)) {
        return fail_input("the profile does not hold the value \"{}\": in some sample it was empty, NaN or infinite, or the profile is of an "
                          "earlier version. Give the samples with --calib instead of the profile, or keep the nodes beside that value "
                          "in float with --keep-float", printable(name));
      }
    }
    return statistics;
  }

 private:
  Profile profile_;
  std::filesystem::path file_;
};

}  // namespace

Status write_profile(const Profile& profile, const std::filesystem::path& path) {
  const nlohmann::json header = {
      {"data", profile.data_hash}, {"model", profile.model_hash}, {"samples", profile.statistics.samples}};
  std::string out = std::string(kMagic) + header.dump() + "\n";
  put_varint(out, profile.statistics.values.size());
  for (const auto& [name, value] : profile.statistics.values) {
    put_varint(out, name.size());
    out += name;
    put_float(out, value.minimum);
    put_float(out, value.maximum);
    put_varint(out, value.histogram.zeros());
    put_varint(out, value.histogram.bins().size());
    std::uint32_t next = 0;
    for (const auto& [index, count] : value.histogram.bins()) {
      put_varint(out, index - next);
      put_varint(out, count);
      next = index + 1;
    }
  }
  out += sha256_hex(out);
  return write_file_atomically(path, out);
}

namespace {

Result<Profile> read_values(const std::filesystem::path& path, const Visit& visit) {
  const std::string name = path.string();
  BEVEL_TRY(const auto file, MappedFile::open(path));
  const std::string_view content(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  if (!content.starts_with(kMagic) || content.size() < kMagic.size() + kChecksumDigits) {
    return fail_input("{}: not a calibration profile: it does not start with \"bevel-profile/1\"", name);
  }
  const std::string_view body = content.substr(0, content.size() - kChecksumDigits);
  if (sha256_hex(body) != content.substr(body.size())) {
    return fail_input("{}: the profile does not match its checksum: it was cut off or changed", name);
  }
  const std::string_view after = body.substr(kMagic.size());
  const std::size_t line = after.find('\n');
  if (line == std::string_view::npos) return fail_input("{}: the profile's header line never ends", name);
  BEVEL_TRY(Profile profile, read_header(after.substr(0, line), name));
  Reader reader(after.substr(line + 1));
  std::uint64_t values = 0;
  bool sound = reader.varint(values) && values <= reader.left();
  std::string last;
  for (std::uint64_t i = 0; sound && i < values; ++i) {
    std::string value_name;
    data::ValueStatistics value;
    sound = reader.text(value_name) && read_value(reader, value);
    sound = sound && (i == 0 || last < value_name);
    last = value_name;
    if (sound) visit(std::move(value_name), std::move(value));
  }
  if (!sound || reader.left() != 0) return fail_input("{}: the profile's statistics are not well-formed", name);
  return profile;
}

}  // namespace

Result<Profile> read_profile(const std::filesystem::path& path) {
  std::map<std::string, data::ValueStatistics> values;
  BEVEL_TRY(Profile profile, read_values(path, [&](std::string name, data::ValueStatistics value) {
    values.emplace_hint(values.end(), std::move(name), std::move(value));
  }));
  profile.statistics.values = std::move(values);
  return profile;
}

Result<bool> reads_back(const Profile& profile, const std::filesystem::path& path) {
  std::size_t equal = 0, read = 0;
  BEVEL_TRY(const Profile header, read_values(path, [&](const std::string& name, const data::ValueStatistics& value) {
    const auto found = profile.statistics.values.find(name);
    ++read;
    equal += found != profile.statistics.values.end() && found->second == value;
  }));
  return header.model_hash == profile.model_hash && header.data_hash == profile.data_hash &&
         header.statistics.samples == profile.statistics.samples && read == profile.statistics.values.size() && equal == read;
}

Result<Profile> merge(const Profile& a, const Profile& b) {
  if (a.model_hash != b.model_hash) return fail_input("the profiles are of different models and cannot be merged");
  std::set<std::string> hashes = hashes_of(a.data_hash);
  for (const std::string& hash : hashes_of(b.data_hash)) {
    if (!hashes.insert(hash).second) return fail_input("the profiles hold the same data ({})", printable(hash.substr(0, 12)));
  }
  Profile merged = a;
  merged.data_hash.clear();
  for (const std::string& hash : hashes) merged.data_hash += (merged.data_hash.empty() ? "" : "+") + hash;
  merged.statistics.samples += b.statistics.samples;
  for (const auto& [name, value] : b.statistics.values) {
    const auto found = merged.statistics.values.find(name);
    if (found == merged.statistics.values.end()) {
      return fail_input("only one of the profiles holds the value \"{}\"", printable(name));
    }
    data::merge(found->second, value);
  }
  if (merged.statistics.values.size() != b.statistics.values.size()) {
    return fail_input("the profiles hold different values and cannot be merged");
  }
  return merged;
}

std::unique_ptr<data::Measure> measure_from_profile(Profile profile) {
  return std::make_unique<ProfileMeasure>(std::move(profile));
}

Result<StoredMeasure> open_profile(const std::filesystem::path& path) {
  BEVEL_TRY(Profile header, read_values(path, [](const std::string&, const data::ValueStatistics&) {}));
  StoredMeasure stored;
  stored.samples = header.statistics.samples;
  stored.data_hash = header.data_hash;
  stored.measure = std::make_unique<ProfileMeasure>(std::move(header), path);
  return stored;
}

}  // namespace bevel::calibration
