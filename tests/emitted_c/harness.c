/* Runs emitted C on test vectors and compares every output byte. config.h, written by scripts/check-emitted-c, names the
 * model's ports. On Cortex-M it also reports the instructions of an inference and the stack it took (tests/cortex_m/). */
#include "config.h"

#include <stdint.h>
#include <string.h>

extern const unsigned char bevel_inputs[], bevel_inputs_end[], bevel_outputs[], bevel_outputs_end[];

#ifdef BEVEL_CORTEX_M
#include "board.h"
#else
#include <stdio.h>
#include <time.h>
static void board_print(const char* text) { fputs(text, stdout); }
static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }
#endif

static void print_number(const char* label, unsigned long long value) {
  char text[24];
  int at = (int)sizeof text;
  text[--at] = '\0';
  do {
    text[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  board_print(label);
  board_print(text + at);
}

static _Alignas(16) unsigned char arena[CONFIG_ARENA_BYTES];
static _Alignas(16) unsigned char state[CONFIG_STATE_BYTES + 1];

int main(void) {
  const unsigned char *x = bevel_inputs, *want = bevel_outputs;
  unsigned long long samples = 0, differing = 0;
  memset(arena, 0x5a, sizeof arena);
  CONFIG_RESET(state);
#ifdef BEVEL_CORTEX_M
  unsigned long long instructions = 0;
  board_paint_stack();
#else
  const double start = seconds();
#endif
  for (; x < bevel_inputs_end; ++samples) {
    for (int i = 0; i < CONFIG_INPUTS; ++i) {
      memcpy(arena + config_inputs[i].offset, x, config_inputs[i].bytes);
      x += config_inputs[i].bytes;
    }
#ifdef BEVEL_CORTEX_M
    board_start_count();
#endif
    CONFIG_INFER(arena, state);
#ifdef BEVEL_CORTEX_M
    instructions = board_stop_count();
#endif
    for (int i = 0; i < CONFIG_OUTPUTS; ++i) {
      const unsigned char* y = arena + config_outputs[i].offset;
      for (unsigned b = 0; b < config_outputs[i].bytes; ++b) differing += y[b] != want[b];
      want += config_outputs[i].bytes;
    }
  }
  print_number("samples=", samples);
  print_number(" differing_bytes=", differing);
#ifdef BEVEL_CORTEX_M
  print_number(" instructions=", instructions);
  print_number(" stack=", board_stack_used());
#else
  print_number(" microseconds=", (unsigned long long)((seconds() - start) * 1e6 / (samples ? (double)samples : 1)));
#endif
  board_print("\n");
  return samples == 0 || differing != 0 || want != bevel_outputs_end;
}
