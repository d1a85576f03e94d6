// Device records and budgets.
#include <catch2/catch.hpp>
#include <cstdio>
#include <fstream>

#include "lib/target/target.h"

using namespace bevel;
using namespace bevel::target;

TEST_CASE("every bundled record is complete and states its sources") {
  const std::vector<std::string> expected = {"esp32s3", "nrf52840", "rp2040", "rpi4", "stm32h743", "stm32l4r5", "x86-64"};
  REQUIRE(device_names() == expected);
  for (const std::string& name : expected) {
    INFO(name);
    const auto device = find_device(name);
    REQUIRE(device);
    CHECK(device->name == name);
    CHECK_FALSE(device->summary.empty());
    CHECK_FALSE(device->isa.empty());
    for (const Figure* figure : {&device->ram_bytes, &device->flash_bytes, &device->clock_hz, &device->active_watts,
                                 &device->step_overhead_cycles}) {
      CHECK(figure->value > 0);
      CHECK_FALSE(figure->source.empty());
    }
    CHECK(device->cycles.size() == 16);
    for (const auto& [key, figure] : device->cycles) {
      INFO(key);
      CHECK(figure.value > 0);
      CHECK_FALSE(figure.source.empty());
    }
    // Float is never modelled cheaper than 8 bits.
    CHECK(device->cycles.at("conv.float32").value >= device->cycles.at("conv.int8").value);
  }
  CHECK(find_device("x86-64")->activation_dtype == "uint8");
  CHECK(find_device("stm32h743")->activation_dtype == "int8");
}

TEST_CASE("a figure is confirmed by a document or a count, or the record says that it is not") {
  for (const std::string& name : device_names()) {
    const auto device = find_device(name);
    REQUIRE(device);
    const auto check = [&](const std::string& figure, const Figure& value) {
      INFO(name << ": " << figure << ": " << value.source);
      const bool estimate = value.source.rfind("estimate", 0) == 0;
      CHECK_FALSE((estimate && value.confirmed));
      if (value.source.find("counted under QEMU") != std::string::npos && !estimate) CHECK(value.confirmed);
    };
    check("ram_bytes", device->ram_bytes);
    check("flash_bytes", device->flash_bytes);
    check("clock_hz", device->clock_hz);
    check("active_watts", device->active_watts);
    check("step_overhead_cycles", device->step_overhead_cycles);
    for (const auto& [family, figure] : device->cycles) check(family, figure);
  }
  // ST DS12110 Rev 10, table 130: 110 mA at 480 MHz.
  CHECK(find_device("stm32h743")->active_watts.confirmed);
  CHECK(find_device("stm32h743")->active_watts.value == Approx(0.110 * 3.3));
  CHECK_FALSE(find_device("x86-64")->active_watts.confirmed);
  CHECK(find_device("rp2040")->cycles.at("conv.int8").confirmed);
  CHECK_FALSE(find_device("stm32h743")->cycles.at("conv.int8").confirmed);
}

TEST_CASE("an unknown target is a usage error that lists the known ones and the nearest") {
  const auto device = find_device("stm32h745");
  REQUIRE_FALSE(device);
  CHECK(device.error().code == ExitCode::usage);
  CHECK(device.error().message.find("did you mean 'stm32h743'") != std::string::npos);
  CHECK(device.error().message.find("rp2040") != std::string::npos);
  CHECK(find_device("toaster").error().message.find("did you mean") == std::string::npos);
}

TEST_CASE("a record by path: read, or refused with the file and the key") {
  const std::string path = "./target_test_device.json";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  CHECK(find_device("./no/such/device.json").error().code == ExitCode::input);
  write("{");
  CHECK(find_device(path).error().message.find("not JSON") != std::string::npos);
  write("[1]");
  CHECK(find_device(path).error().message.find("expected a JSON object") != std::string::npos);
  write(R"({"format": "bevel-device/1", "format": "bevel-device/1"})");
  CHECK(find_device(path).error().message.find("\"format\" appears twice") != std::string::npos);
  write(R"({"format": "bevel-device/2"})");
  CHECK(find_device(path).error().message.find("bevel-device/1") != std::string::npos);
  std::string record;
  {
    std::ifstream file(std::string(BEVEL_SOURCE_DIR) + "/lib/target/devices/rp2040.json");
    record.assign(std::istreambuf_iterator<char>(file), {});
  }
  REQUIRE_FALSE(record.empty());
  write(record);
  const auto own = find_device(path);
  REQUIRE(own);
  CHECK(own->ram_bytes.value == find_device("rp2040")->ram_bytes.value);
  const auto broken = [&](const std::string& from, const std::string& to) {
    std::string text = record;
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    write(text.replace(at, from.size(), to));
    const auto device = find_device(path);
    REQUIRE_FALSE(device);
    CHECK(device.error().code == ExitCode::input);
    CHECK(device.error().message.find(path) != std::string::npos);
    return device.error().message;
  };
  CHECK(broken("\"ram_bytes\"", "\"ram\"").find("unknown key 'ram'") != std::string::npos);
  CHECK(broken("\"value\": 270336", "\"value\": -1").find("ram_bytes") != std::string::npos);
  CHECK(broken("\"value\": 270336", "\"value\": \"much\"").find("ram_bytes") != std::string::npos);
  CHECK(broken("\"conv.int8\"", "\"conv.int9\"").find("conv.int8") != std::string::npos);
  CHECK(broken("\"confirmed\": true", "\"confirmed\": 1").find("'confirmed' (number)") != std::string::npos);
  CHECK(broken("\"confirmed\": true", "\"sure\": true").find("'sure'") != std::string::npos);
  CHECK(broken("\"activation_dtype\": \"int8\"", "\"activation_dtype\": \"int4\"").find("int4") != std::string::npos);
  std::remove(path.c_str());
}

TEST_CASE("budgets: units, repetition, nonsense") {
  const auto budget = parse_budget("ram=64K,flash=1.5M,latency=50ms,energy=2mJ");
  REQUIRE(budget);
  CHECK(budget->ram_bytes == 65536);
  CHECK(budget->flash_bytes == 1572864);
  CHECK(*budget->latency_seconds == Approx(0.05));
  CHECK(*budget->energy_joules == Approx(0.002));
  CHECK(parse_budget("ram=1000")->ram_bytes == 1000);
  for (const char* text : {"", "ram", "ram=", "ram=K", "ram=-1K", "ram=64X", "ram=64K,", "ram=1K,ram=2K", "speed=3", "latency=5",
                           "ram=nan", "ram=inf", "ram=1e30", "ram=0"}) {
    INFO(text);
    const auto wrong = parse_budget(text);
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == ExitCode::usage);
  }
  const auto device = find_device("nrf52840");
  const Budget filled = device_budget(*device, *parse_budget("ram=8K"));
  CHECK(filled.ram_bytes == 8192);
  CHECK(filled.flash_bytes == 1048576);
  CHECK_FALSE(filled.latency_seconds.has_value());
}
