#include "board.h"

#define SYST_CSR (*(volatile uint32_t*)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t*)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t*)0xe000e018u)
#define INSTRUCTIONS_PER_TICK 40u
#define RELOAD 0x00ffffffu
#define PAINT 0xa5a5a5a5u

extern uint32_t stack_limit, stack_top, data_load, data_start, data_end, bss_start, bss_end;
int main(void);

static volatile uint32_t wraps;
static uint32_t* painted_to;

static int semihosting(int operation, const void* argument) {
  register int r0 __asm__("r0") = operation;
  register const void* r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void board_print(const char* text) { semihosting(0x04 /* SYS_WRITE0 */, text); }

static void board_exit(int code) {
  const uint32_t block[2] = {0x20026u /* ADP_Stopped_ApplicationExit */, (uint32_t)code};
  semihosting(0x20 /* SYS_EXIT_EXTENDED */, block);
  for (;;) {
  }
}

static void systick(void) { wraps = wraps + 1; }

void board_start_count(void) {
  wraps = 0;
  SYST_CSR = 0;
  SYST_RVR = RELOAD;
  SYST_CVR = 0;
  SYST_CSR = 7; /* processor clock, interrupt, on */
}

unsigned long long board_stop_count(void) {
  const uint32_t left = SYST_CVR;
  SYST_CSR = 0;
  return ((unsigned long long)wraps * (RELOAD + 1u) + (RELOAD - left)) * INSTRUCTIONS_PER_TICK;
}

void board_paint_stack(void) {
  uint32_t here;
  painted_to = &here - 8; /* below this frame and what the loop may push */
  for (uint32_t* word = &stack_limit; word < painted_to; ++word) *word = PAINT;
}

unsigned long long board_stack_used(void) {
  const uint32_t* word = &stack_limit;
  while (word < painted_to && *word == PAINT) ++word;
  return (unsigned long long)((const char*)painted_to - (const char*)word);
}

static void reset(void) {
  for (uint32_t *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
  for (uint32_t* word = &bss_start; word < &bss_end;) *word++ = 0;
#if defined(__ARM_FP)
  *(volatile uint32_t*)0xe000ed88u |= 0xfu << 20; /* CPACR: the FPU's two coprocessors */
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
  board_exit(main());
}

static void fault(void) {
  board_print("fault\n");
  board_exit(99);
}

typedef void (*handler)(void);
__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)(uintptr_t)&stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, systick};
