/* A bare board under QEMU (mps2-an386, a Cortex-M4 with FPU): text and exit by semihosting, instructions by SysTick.
 * With `-icount shift=0` an instruction takes 1 ns of the machine's time and the processor clock is 25 MHz: a tick is 40
 * instructions, whatever the host does. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

void board_print(const char* text);
void board_start_count(void);
unsigned long long board_stop_count(void); /* instructions since the start, to within 40 */
void board_paint_stack(void);
unsigned long long board_stack_used(void); /* bytes below the painting call's frame */

#endif
