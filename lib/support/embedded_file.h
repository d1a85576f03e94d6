// A file of the source tree in the program: scripts/embed.cmake writes arrays of them, ended by an entry of null pointers.
#pragma once

// In no namespace, as the generated sources are. `path` is relative to what was embedded: the source tree, or its folder of records.
struct EmbeddedFile {
  const char* path;
  const char* text;
};

extern const EmbeddedFile bevel_embedded_devices[];  // lib/target/devices/*.json
extern const EmbeddedFile bevel_embedded_runtime[];  // the runtime's C, for lib/emit
